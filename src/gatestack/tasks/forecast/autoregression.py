"""A linear autoregression of the scaled values, one set of weights for all series and each step ahead.

    (y_{t+k} - level_t) / scale_t = b_k + Σ_{j=0}^{window-1} A_{jk} (y_{t-j} - level_t) / scale_t

found by ridge regression towards a naive forecast: the level of the window, the last value, or the value at the
same phase of the last season. For each step ahead, the penalty and the naive forecast that predict the last fifth of
the origins best are chosen. It is a baseline, and where the network starts from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatestack.tasks.forecast.head import phase_shifts
from gatestack.tasks.forecast.panel import Panel
from gatestack.tasks.forecast.sampler import typical_weights

__all__ = ["Autoregression", "fit_autoregression", "lags_at"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_MOST_ORIGINS = 20_000
_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(frozen=True)
class Autoregression:
    """The fitted weights.

    Attributes:
        weight: (window, horizon), newest value first.
        bias: (horizon,).
    """

    weight: FloatArray
    bias: FloatArray

    def forecast(self, panel: Panel, rows: IntArray, positions: IntArray) -> FloatArray:
        """Forecast from step `positions` of the series `rows`.

        Returns:
            shape (origins, horizon), in the user's unit.
        """
        lags, level, scale = lags_at(panel, rows, positions, len(self.weight))
        return level[:, None] + scale[:, None] * (lags @ self.weight + self.bias)


def lags_at(
    panel: Panel, rows: IntArray, positions: IntArray, window: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give the scaled lags (origins, window), newest first, with level and scale (origins,)."""
    at = panel.offsets[rows] + positions
    back = np.maximum(at[:, None] - np.arange(window), panel.offsets[rows][:, None])
    level, scale = (moment.numpy()[at].astype(np.float64) for moment in (panel.level, panel.scale))
    lags = (panel.target.numpy()[back] - level[:, None]) / scale[:, None]
    return lags, level, scale


def fit_autoregression(
    panel: Panel, ends: IntArray, *, window: int, horizon: int, seasons: tuple[int, ...]
) -> Autoregression:
    """Fit on the first `ends` steps of each series.

    Args:
        panel: the series. ends: (series,) steps that may be used, targets included.
        window: lags, 1 or more. horizon: steps ahead, 1 or more. seasons: lengths, each at most `window`.

    Returns:
        The weights; those of the last value where there are too few origins to fit any.
    """
    rows, positions = _origins(ends, window, horizon)
    lags, level, scale = lags_at(panel, rows, positions, window)
    ahead = panel.offsets[rows][:, None] + positions[:, None] + np.arange(1, horizon + 1)
    whole = panel.observed.numpy()[ahead].all(axis=1)
    if whole.sum() < 10:
        last_value = np.zeros((window, horizon))
        last_value[0] = 1.0
        return Autoregression(last_value, np.zeros(horizon))
    truth = (panel.target.numpy()[ahead] - level[:, None]) / scale[:, None]
    # Errors count in the user's unit relative to the series, as in the loss of the network.
    weight = np.minimum(scale * typical_weights(panel, ends).numpy()[rows], 10.0)
    x = np.concatenate([lags, np.ones((len(lags), 1))], axis=1) * weight[:, None]
    y = truth * weight[:, None]
    late = positions >= np.quantile(positions / ends[rows], 0.8) * ends[rows]
    priors = _naive_weights(window, horizon, seasons)
    best = _choose(x, y, priors, early=whole & ~late, late=whole & late)
    solutions = [_ridge(x[whole], y[whole] - x[whole] @ prior, _PENALTIES) for prior in priors]
    weight = np.empty((window + 1, horizon))
    for step, (prior, penalty) in enumerate(best):
        weight[:, step] = priors[prior][:, step] + solutions[prior][penalty][:, step]
    return Autoregression(weight[:-1], weight[-1])


def _naive_weights(window: int, horizon: int, seasons: tuple[int, ...]) -> list[FloatArray]:
    """Give the naive forecasts as weights (window + 1, horizon): the level, the last value, each last season."""
    level, last = np.zeros((window + 1, horizon)), np.zeros((window + 1, horizon))
    last[0] = 1.0
    seasonal = []
    for season in seasons:
        weight = np.zeros((window + 1, horizon))
        weight[phase_shifts(horizon, season).numpy(), np.arange(horizon)] = 1.0
        seasonal.append(weight)
    return [level, last, *seasonal]


def _origins(ends: IntArray, window: int, horizon: int) -> tuple[IntArray, IntArray]:
    """Choose evenly spaced origins with their whole horizon inside `ends`, and a full window where there is one."""
    first = np.minimum(window, ends // 2)
    count = np.maximum(ends - horizon - first, 0)
    stride = max(1, int(np.ceil(count.sum() / _MOST_ORIGINS)))
    kept = [np.arange(begin, begin + steps, stride) for begin, steps in zip(first, count, strict=True)]
    rows = np.repeat(np.arange(len(ends)), [len(positions) for positions in kept])
    return rows, np.concatenate(kept).astype(np.int64)


def _choose(
    x: FloatArray, y: FloatArray, priors: list[FloatArray], *, early: BoolArray, late: BoolArray
) -> list[tuple[int, int]]:
    """Choose the naive forecast and the penalty of each step ahead, as indices."""
    if early.sum() < 2 or late.sum() < 1:
        return [(1, len(_PENALTIES) - 1)] * y.shape[1]
    errors = np.empty((len(priors), len(_PENALTIES), y.shape[1]))
    for number, prior in enumerate(priors):
        solutions = _ridge(x[early], y[early] - x[early] @ prior, _PENALTIES)
        for penalty, solution in enumerate(solutions):
            errors[number, penalty] = np.abs(x[late] @ (prior + solution) - y[late]).mean(axis=0)
    flat = errors.reshape(-1, y.shape[1]).argmin(axis=0)
    return [divmod(int(index), len(_PENALTIES)) for index in flat]


def _ridge(x: FloatArray, y: FloatArray, penalties: tuple[float, ...]) -> list[FloatArray]:
    """Solve for each penalty at the cost of one eigendecomposition; the last column, the bias, is hardly penalised."""
    shrink = np.ones(x.shape[1])
    shrink[-1] = 1e-3
    scaled = x / np.sqrt(shrink)
    values, vectors = np.linalg.eigh(scaled.T @ scaled / len(x))
    projected = vectors.T @ (scaled.T @ y / len(x))
    unit = float(np.mean(values)) or 1.0
    return [
        (vectors @ (projected / (np.maximum(values, 0.0) + penalty * unit)[:, None]))
        / np.sqrt(shrink)[:, None]
        for penalty in penalties
    ]
