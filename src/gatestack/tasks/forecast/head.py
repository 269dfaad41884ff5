"""From states to the next steps: the head of the forecaster, aligned by construction.

For the forecast made at step t of the value k steps ahead, with m each season and
φ(k) = m ⌈k / m⌉ - k the steps back from t to the last known step of the same phase as t + k,

    z_k = W_h h_t + b_h + Σ_m W_m h_{t-φ(k)} + W_x x_{t+k} + W_v v_k + W_s u + e_k
    a_k = b_k + A_k · (y_t … y_{t-window+1}, ȳ_t)                    linear autoregression
    g_k = W_q GELU(z_k) + b_q                                        raw numbers, zeros before training

of which `gatestack.tasks.forecast.distributions` makes what is said of the step; where y are the last
values, ȳ the mean of all so far (`long_level`), v_k the last value, ȳ, a_k and the values at the same phase
of the last two seasons m, all minus `level_t` and divided by `scale_t`; x_{t+k} is what is known of step
t + k; u are the static columns; e_k is learned for each step ahead. The spread, the autoregression's mean
absolute error k steps ahead, is the unit of g_k, so that what is learned starts small where little is left
to learn. A, b and the spread are fitted beforehand and do not train. Step 1 therefore reads the state and
the value of step t itself.

Trained on steps all over a chunk: "forking sequences", Wen et al. 2017, "A Multi-Horizon Quantile Recurrent
Forecaster".
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["ForecastHead", "OriginInputs", "phase_shifts"]


class OriginInputs(NamedTuple):
    """Where forecasts are made in a chunk, with what is known there.

    Shapes: `rows` and `positions` (R,) point into the chunk's series and steps; `future` (R, horizon, known
    columns), standardised; `static` (R, static columns), standardised.
    """

    rows: Tensor
    positions: Tensor
    future: Tensor
    static: Tensor


def phase_shifts(horizon: int, season: int) -> Tensor:
    """Find how far back the last step of the same phase lies, for each step ahead.

    Returns:
        shape (horizon,), whole numbers from 0 to season - 1.

    Example:
        >>> phase_shifts(horizon=5, season=3)
        tensor([2, 1, 0, 2, 1])
    """
    ahead = torch.arange(1, horizon + 1)
    return (-ahead) % season


class ForecastHead(nn.Module):
    """What is said of the next `horizon` values at any step of a chunk; the equations stand above.

    Args:
        horizon: steps ahead, 1 or more.
        window: number of last values that the autoregression reads.
        seasons: season lengths in steps, each shorter than `window`.
        state_size: H, width of the stack's output.
        outputs: raw numbers per step ahead.
        known: columns known of the future.
        static: static columns.
        head_size: width of the hidden layer.
        dropout: share of hidden units dropped in training.
    """

    lag_weight: Tensor
    lag_bias: Tensor
    spread: Tensor

    def __init__(
        self,
        horizon: int,
        window: int,
        seasons: tuple[int, ...],
        state_size: int,
        *,
        outputs: int,
        known: int,
        static: int,
        head_size: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.horizon, self.window, self.seasons = horizon, window, seasons
        self.from_state = nn.Linear(state_size, head_size)
        self.from_phase = nn.ModuleList(nn.Linear(state_size, head_size, bias=False) for _ in seasons)
        self.from_values = nn.Linear(3 + 2 * len(seasons), head_size, bias=False)
        self.from_known = nn.Linear(known, head_size, bias=False) if known else None
        self.from_static = nn.Linear(static, head_size, bias=False) if static else None
        self.step_embedding = nn.Parameter(0.1 * torch.randn(horizon, head_size))
        self.dropout = nn.Dropout(dropout)
        # Model folders know the last layer by the name that fits the first of the distributions.
        self.to_quantiles = nn.Linear(head_size, outputs)
        # The first forecast is the autoregression; what it lacks is learned.
        nn.init.zeros_(self.to_quantiles.weight)
        nn.init.zeros_(self.to_quantiles.bias)
        # Not trained: Adam moves every weight by the learning rate, whatever its gradient, and hundreds of
        # lags that move together undo in a few steps what the closed form found.
        self.register_buffer("lag_weight", torch.zeros(window + 1, horizon))
        self.register_buffer("lag_bias", torch.zeros(horizon))
        self.register_buffer("spread", torch.ones(horizon))
        # Buffers, so that they move to the device with the weights; not stored, since they follow from sizes.
        for season in seasons:
            self.register_buffer(f"shift_{season}", phase_shifts(horizon, season), persistent=False)

    @property
    def reach(self) -> int:
        """Steps before the origin whose states are read: the longest season less one, or 0."""
        return max(self.seasons, default=1) - 1

    def start_from(self, weight: Tensor, bias: Tensor, spread: Tensor) -> None:
        """Set the linear autoregression, which is the first forecast.

        Args:
            weight: (window + 1, horizon), newest value first, last the mean of all so far.
            bias: (horizon,).
            spread: (horizon,), its mean absolute error: the unit of what is learned on top of it.
        """
        self.lag_weight.copy_(weight)
        self.lag_bias.copy_(bias)
        self.spread.copy_(spread)

    def forward(
        self, hidden: Tensor, target: Tensor, moments: Tensor, origins: OriginInputs
    ) -> tuple[Tensor, Tensor]:
        """Forecast from some steps of a chunk.

        Args:
            hidden: (N, reach + T, H), states of the chunk's steps after those of `reach` steps before it.
            target: (N, window - 1 + T), values in the user's unit.
            moments: (R, 4), at the origins.
            origins: where the R forecasts are made.

        Returns:
            The autoregression's forecast (R, horizon), in units of `scale` around `level`, and the raw
            numbers (R, horizon, outputs).
        """
        rows, positions = origins.rows[:, None], origins.positions[:, None]
        back = torch.arange(self.window, device=target.device)
        level, scale = moments[:, :1], moments[:, 1:2]
        lags = (target[rows, positions + self.window - 1 - back] - level) / scale  # (R, window)
        usual = (moments[:, 2:3] - level) / scale  # (R, 1)
        base = torch.cat([lags, usual], dim=1) @ self.lag_weight + self.lag_bias  # (R, horizon)
        values = [lags[:, :1].expand_as(base), usual.expand_as(base), base]
        states = hidden[origins.rows, origins.positions + self.reach]  # (R, H)
        z = self.from_state(states)[:, None, :] + self.step_embedding  # (R, horizon, head)
        for project, season in zip(self.from_phase, self.seasons, strict=True):
            shift = self.get_buffer(f"shift_{season}")
            # Projected before it is gathered: T steps are fewer than R origins times their horizon.
            z = z + project(hidden)[rows, positions + self.reach - shift]
            season_before = torch.where(shift + season < self.window, shift + season, shift)
            values += [lags[:, shift], lags[:, season_before]]
        z = z + self.from_values(torch.stack(values, dim=-1))
        if self.from_known is not None:
            z = z + self.from_known(origins.future)
        if self.from_static is not None:
            z = z + self.from_static(origins.static)[:, None, :]
        raw: Tensor = self.to_quantiles(self.dropout(nn.functional.gelu(z)))
        return base, raw
