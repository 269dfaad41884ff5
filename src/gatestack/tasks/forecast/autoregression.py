"""A linear autoregression of the scaled values, one set of weights for all series and each step ahead.

    (y_{t+k} - level_t) / scale_t = b_k + Σ_{j<window} A_{jk} (y_{t-j} - level_t) / scale_t
                                        + A_{window,k} (long_level_t - level_t) / scale_t

found by ridge regression towards a naive forecast: the level of the window, the last value, or the value at
the same phase of the last season. For each step ahead, the penalty and the naive forecast are chosen by
cross-validation over five contiguous parts of time. It is a baseline, and where the network starts from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatestack.tasks.forecast.head import phase_shifts
from gatestack.tasks.forecast.panel import Panel
from gatestack.tasks.forecast.sampler import typical_weights

__all__ = ["Autoregression", "fit_autoregression", "lags_at", "last_value_autoregression"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_MOST_ORIGINS = 20_000
_FOLDS = 5
_FEWEST_ORIGINS = 10
# Of a perfectly predicted series, so that the network's units stay finite.
_LEAST_SPREAD = 1e-3
_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
# No origin weighs more than this, however large its scale beside the typical deviation of its series.
_LARGEST_SHARE = 10.0


@dataclass(frozen=True)
class Autoregression:
    """The fitted weights.

    Attributes:
        weight: (window + 1, horizon), newest value first, last the mean of all values so far.
        bias: (horizon,).
        spread: (horizon,), mean absolute error on the steps it was fitted on, in units of `scale`.
    """

    weight: FloatArray
    bias: FloatArray
    spread: FloatArray

    def forecast(self, panel: Panel, rows: IntArray, positions: IntArray) -> FloatArray:
        """Forecast from step `positions` of the series `rows`.

        Returns:
            shape (origins, horizon), in the user's unit.
        """
        lags, level, scale = lags_at(panel, rows, positions, len(self.weight) - 1)
        return level[:, None] + scale[:, None] * (lags @ self.weight + self.bias)


def lags_at(
    panel: Panel, rows: IntArray, positions: IntArray, window: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give the regressors (origins, window + 1), newest value first, with level and scale (origins,)."""
    at = panel.offsets[rows] + positions
    back = np.maximum(at[:, None] - np.arange(window), panel.offsets[rows][:, None])
    level, scale, long_level, _ = panel.moments.numpy()[at].astype(np.float64).T
    values = np.concatenate([panel.target.numpy()[back], long_level[:, None]], axis=1)
    return (values - level[:, None]) / scale[:, None], level, scale


def fit_autoregression(
    panel: Panel, ends: IntArray, *, window: int, horizon: int, seasons: tuple[int, ...]
) -> Autoregression:
    """Fit on the first `ends` steps of each series.

    Args:
        panel: the series.
        ends: (series,) steps that may be used, targets included.
        window: lags, 1 or more.
        horizon: steps ahead, 1 or more.
        seasons: lengths, each at most `window`.

    Returns:
        The weights; those of the last value where there are too few origins to fit any.
    """
    x, y, share, fold = _examples(panel, ends, window, horizon)
    if len(x) < _FEWEST_ORIGINS:
        return _measured(_last_value(window, horizon), x, y, share)
    gram, moment = x.T @ x, x.T @ y
    priors = _naive_weights(window, horizon, seasons)
    best = _choose(x, y, fold, gram, moment, priors)
    solutions = [_ridge(gram, moment - gram @ prior, _PENALTIES) for prior in priors]
    weight = np.empty((window + 2, horizon))
    for step, (prior, penalty) in enumerate(best):
        weight[:, step] = priors[prior][:, step] + solutions[prior][penalty][:, step]
    return _measured(weight, x, y, share)


def last_value_autoregression(panel: Panel, ends: IntArray, *, window: int, horizon: int) -> Autoregression:
    """Give the last value as an autoregression, with its spread on the first `ends` steps of each series.

    Args:
        panel: the series.
        ends: (series,) steps that may be used, targets included.
        window: lags, 1 or more.
        horizon: steps ahead, 1 or more.
    """
    x, y, share, _ = _examples(panel, ends, window, horizon)
    return _measured(_last_value(window, horizon), x, y, share)


def _examples(
    panel: Panel, ends: IntArray, window: int, horizon: int
) -> tuple[FloatArray, FloatArray, FloatArray, IntArray]:
    """Give regressors with the bias last, truth, the share that multiplies both, and folds in time."""
    rows, positions = _origins(ends, window, horizon)
    ahead = panel.offsets[rows][:, None] + positions[:, None] + np.arange(1, horizon + 1)
    whole = panel.observed.numpy()[ahead].all(axis=1) & (positions >= panel.first_observed[rows])
    rows, positions, ahead = rows[whole], positions[whole], ahead[whole]
    lags, level, scale = lags_at(panel, rows, positions, window)
    truth = (panel.target.numpy()[ahead] - level[:, None]) / scale[:, None]
    # Errors count in the user's unit relative to the series, as in the loss of the network.
    share = np.minimum(scale * typical_weights(panel, ends).numpy()[rows], _LARGEST_SHARE)
    x = np.concatenate([lags, np.ones((len(lags), 1))], axis=1) * share[:, None]
    return x, truth * share[:, None], share, positions * _FOLDS // ends[rows]


def _measured(weight: FloatArray, x: FloatArray, y: FloatArray, share: FloatArray) -> Autoregression:
    """Add to weights (window + 2, horizon), the bias last, their mean absolute error in units of `scale`."""
    if not len(x):
        return Autoregression(weight[:-1], weight[-1], np.ones(weight.shape[1]))
    spread = np.abs(x @ weight - y).sum(axis=0) / share.sum()
    return Autoregression(weight[:-1], weight[-1], np.maximum(spread, _LEAST_SPREAD))


def _last_value(window: int, horizon: int) -> FloatArray:
    weight = np.zeros((window + 2, horizon))
    weight[0] = 1.0
    return weight


def _naive_weights(window: int, horizon: int, seasons: tuple[int, ...]) -> list[FloatArray]:
    """Give the naive forecasts as weights (window + 2, horizon): level, last value, mean, last seasons."""
    shape = (window + 2, horizon)
    level, usual = np.zeros(shape), np.zeros(shape)
    usual[window] = 1.0
    seasonal = []
    for season in seasons:
        weight = np.zeros(shape)
        weight[phase_shifts(horizon, season).numpy(), np.arange(horizon)] = 1.0
        seasonal.append(weight)
    return [level, _last_value(window, horizon), usual, *seasonal]


def _origins(ends: IntArray, window: int, horizon: int) -> tuple[IntArray, IntArray]:
    """Choose evenly spaced origins with their horizon inside `ends`, and a full window where there is one."""
    first = np.minimum(window, ends // 2)
    count = np.maximum(ends - horizon - first, 0)
    stride = max(1, int(np.ceil(count.sum() / _MOST_ORIGINS)))
    kept = [np.arange(begin, begin + steps, stride) for begin, steps in zip(first, count, strict=True)]
    rows = np.repeat(np.arange(len(ends)), [len(positions) for positions in kept])
    return rows, np.concatenate(kept).astype(np.int64)


def _choose(
    x: FloatArray,
    y: FloatArray,
    fold: IntArray,
    gram: FloatArray,
    moment: FloatArray,
    priors: list[FloatArray],
) -> list[tuple[int, int]]:
    """Choose the naive forecast and the penalty of each step ahead, as indices, by cross-validation.

    The folds are contiguous parts of time; `gram` and `moment` are x'x and x'y over all of them.
    """
    errors = np.zeros((len(priors), len(_PENALTIES), y.shape[1]))
    for number in range(_FOLDS):
        held = fold == number
        x_held, y_held = x[held], y[held]
        rest_gram, rest_moment = gram - x_held.T @ x_held, moment - x_held.T @ y_held
        for prior, weight in enumerate(priors):
            solutions = _ridge(rest_gram, rest_moment - rest_gram @ weight, _PENALTIES)
            for penalty, solution in enumerate(solutions):
                errors[prior, penalty] += np.abs(x_held @ (weight + solution) - y_held).sum(axis=0)
    flat = errors.reshape(-1, y.shape[1]).argmin(axis=0)
    return [divmod(int(index), len(_PENALTIES)) for index in flat]


def _ridge(gram: FloatArray, moment: FloatArray, penalties: tuple[float, ...]) -> list[FloatArray]:
    """Solve for each penalty with one eigendecomposition; the bias, the last row, is hardly penalised."""
    shrink = np.ones(len(gram))
    shrink[-1] = 1e-3
    root = np.sqrt(shrink)
    values, vectors = np.linalg.eigh(gram / root / root[:, None])
    projected = vectors.T @ (moment / root[:, None])
    unit = float(np.mean(values)) or 1.0
    return [
        (vectors @ (projected / (np.maximum(values, 0.0) + penalty * unit)[:, None])) / root[:, None]
        for penalty in penalties
    ]
