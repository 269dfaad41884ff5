"""The network of the forecaster: standardised inputs, a stack of recurrent layers, a head."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gatestack.nn.stack import StackState
from gatestack.tasks.forecast.distributions import Start, make_distribution
from gatestack.tasks.forecast.embeddings import CategoryEmbeddings
from gatestack.tasks.forecast.head import ForecastHead, OriginInputs
from gatestack.tasks.forecast.options import Architecture
from gatestack.tasks.forecast.panel import Chunk
from gatestack.tasks.layers import make_stack

__all__ = ["ForecastNetwork", "NetworkShape"]


@dataclass(frozen=True, kw_only=True)
class NetworkShape:
    """The sizes of a forecaster's network, fixed when it is fitted.

    Attributes:
        horizon: steps ahead.
        window: steps that a training example reads.
        seasons: lengths in steps.
        widths: width of each layer, lowest first.
        quantiles: number of quantiles.
        past: number of past columns.
        known: number of future columns and calendar features.
        static: number of static columns.
        flags: give the network a second input per column that says where a value is real.
        categories: for each past and known column its number of categories, 0 where it holds numbers; empty
            where all do.
        static_categories: the same for the static columns.
    """

    horizon: int
    window: int
    seasons: tuple[int, ...]
    widths: tuple[int, ...]
    quantiles: int
    past: int
    known: int
    static: int
    flags: bool
    categories: tuple[int, ...] = ()
    static_categories: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give the sizes as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, sizes: dict[str, Any]) -> NetworkShape:
        """Read what `to_dict` gave."""
        found: dict[str, Any] = {
            name: tuple(size) if isinstance(size, list) else size for name, size in sizes.items()
        }
        return cls(**found)

    def of_columns(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Give the number of categories of each past, known and static column, 0 where it holds numbers."""
        counts = self.categories or (0,) * (self.past + self.known)
        return counts[: self.past], counts[self.past :], self.static_categories or (0,) * self.static


class ForecastNetwork(nn.Module):
    """Reads a chunk step by step and forecasts from any of its steps.

    At step t the stack reads the value and its change in units of the trailing scale, the value in units of
    the long-run scale, and the covariates, numbers standardised and categories embedded. A missing target is
    read as the last value before it, a missing covariate as its mean (0), each with a flag where the data of
    the fit had gaps. Mean and deviation of covariates and static columns are buffers, set from the training
    part.

    Args:
        shape: the sizes.
        architecture: cell, distribution, dropout, residual connections, and so on.
        levels: of the quantiles that forecasts give.
    """

    covariate_mean: Tensor
    covariate_scale: Tensor
    static_mean: Tensor
    static_scale: Tensor

    def __init__(self, shape: NetworkShape, architecture: Architecture, levels: tuple[float, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.distribution = make_distribution(architecture.distribution, levels)
        past, known, static = shape.of_columns()
        self.past, self.known = CategoryEmbeddings(past), CategoryEmbeddings(known)
        self.static = CategoryEmbeddings(static)
        self.stack = make_stack(
            shape.widths,
            architecture,
            input_size=self.input_size,
            cell=architecture.cell,
            initial_state=architecture.initial_state,
            residual=architecture.residual,
        )
        self.head = ForecastHead(
            shape.horizon,
            shape.window,
            shape.seasons,
            shape.widths[-1],
            outputs=self.distribution.outputs,
            known=self.known.width,
            static=self.static.width,
            head_size=architecture.head_size,
            dropout=architecture.dropout,
        )
        for name, size in (("covariate", shape.past + shape.known), ("static", shape.static)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))

    @property
    def input_size(self) -> int:
        """C: the value, its change, its place in the long run, covariates, static columns, and flags."""
        flags = 1 + self.shape.past + self.shape.known if self.shape.flags else 0
        return 3 + self.past.width + self.known.width + self.static.width + flags

    def forward(self, chunk: Chunk, rows: Tensor, positions: Tensor) -> Tensor:
        """Run a chunk from the first state and forecast; shapes as in `forecast`."""
        hidden, _ = self.states(chunk)
        return self.forecast(chunk, hidden, rows, positions)

    def first_state(self, rows: int) -> StackState:
        """Give the state of every layer before the first step of `rows` series."""
        nothing = self.covariate_mean.new_zeros(rows, 1, self.input_size)
        _, layers = self.stack(nothing, lengths=[0] * rows)
        first: StackState = layers
        return first

    def inputs(self, chunk: Chunk) -> Tensor:
        """Give what the stack reads, shape (N, T, C)."""
        window, steps = self.shape.window, chunk.moments.shape[1]
        value = chunk.target[:, window - 1 :]
        before = chunk.target[:, window - 2 : -1] if window > 1 else value
        covariates = self._covariates(chunk)[:, :steps]
        columns = [
            *self._values(value, before, chunk.moments),
            self.past(covariates[..., : self.shape.past]),
            self.known(covariates[..., self.shape.past :]),
            self._static(chunk)[:, None].expand(-1, steps, -1),
        ]
        if self.shape.flags:
            columns += [chunk.observed[..., None], self._covariate_flags(chunk, covariates)]
        return torch.cat(columns, dim=-1)

    def states(
        self, chunk: Chunk, state: StackState | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, StackState]:
        """Run the stack over a chunk.

        Args:
            chunk: N series of T steps.
            state: of every layer at the step before the chunk; None starts anew.
            lengths: (N,) real steps of each row; None when all T are real.

        Returns:
            The output of the last layer, (N, T, H), and the state of every layer after the last real step.
        """
        hidden, after = self.stack(self.inputs(chunk), state, lengths=lengths)
        return hidden, after

    def forecast(self, chunk: Chunk, hidden: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
        """Forecast from step `positions` of row `rows` of a chunk.

        Args:
            chunk: as given to `states`.
            hidden: (N, T, H) from `states`, or (N, reach + T, H) with the states of the steps before it.
            rows: (R,) rows of the chunk.
            positions: (R,) steps of the chunk.

        Returns:
            Parameters of the distribution, (R, horizon, parameters), in the user's unit.
        """
        moments = chunk.moments[rows, positions]
        base, raw = self.head(
            self._reaching_back(chunk, hidden),
            chunk.target,
            moments,
            self._origins(chunk, rows, positions),
        )
        # What is said is computed in the precision of the data, also where layers run in a lower one.
        start = Start(base.to(moments), self.head.spread, moments)
        return self.distribution.parameters(raw.to(moments), start)

    @staticmethod
    def _values(value: Tensor, before: Tensor, moments: Tensor) -> list[Tensor]:
        level, scale, long_level, long_scale = moments.unbind(-1)
        own = [(value - level) / scale, (value - before) / scale, (value - long_level) / long_scale]
        return [column[..., None] for column in own]

    def _reaching_back(self, chunk: Chunk, hidden: Tensor) -> Tensor:
        missing = self.head.reach + chunk.moments.shape[1] - hidden.shape[1]
        return nn.functional.pad(hidden, (0, 0, missing, 0)) if missing else hidden

    def _origins(self, chunk: Chunk, rows: Tensor, positions: Tensor) -> OriginInputs:
        ahead = positions[:, None] + 1 + torch.arange(self.shape.horizon, device=positions.device)
        future = self.known(self._covariates(chunk)[..., self.shape.past :])
        return OriginInputs(rows, positions, future[rows[:, None], ahead], self._static(chunk)[rows])

    def _covariates(self, chunk: Chunk) -> Tensor:
        standard = (chunk.covariates - self.covariate_mean) / self.covariate_scale
        if chunk.covariates_observed is None:
            return standard
        # Calendar features, the last columns, are always known.
        real = nn.functional.pad(
            chunk.covariates_observed,
            (0, standard.shape[-1] - chunk.covariates_observed.shape[-1]),
            value=True,
        )
        return torch.where(real, standard, 0.0)

    def _covariate_flags(self, chunk: Chunk, covariates: Tensor) -> Tensor:
        flags = torch.ones_like(covariates)
        if chunk.covariates_observed is not None:
            seen = chunk.covariates_observed[:, : covariates.shape[1]]
            flags[..., : seen.shape[-1]] = seen.to(flags.dtype)
        return flags

    def _static(self, chunk: Chunk) -> Tensor:
        static: Tensor = self.static((chunk.static - self.static_mean) / self.static_scale)
        return static
