"""Scores of a fitted forecaster on the part of its data that trained nothing: what its intervals lack.

That part, the last tenth of each series, also tells when to stop, so that it chose one number: after how
many updates the weights are taken. A calibration wants a part that chose nothing. On training parts it was
compared with a tenth of its own, before which a model stops that never saw it
(`benchmarks/results/intervals.md`): that takes the latest data from the training, and the forecasts lose
more than the intervals gain, while what the choice of one number does to the coverage does not show beside
the spread over the seeds. So one tenth does both, and a model has the same medians whatever its intervals.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt

from gatestack.data.series_table import SeriesTable
from gatestack.errors import DataError
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.intervals.conformal import ROUNDING, Calibration, conformity, miscoverage
from gatestack.tasks.forecast.panel import Panel
from gatestack.tasks.forecast.split import origins_between

__all__ = ["CalibrationWarning", "calibrate"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Scores beyond the quantile that is read off, at least: with fewer it is little more than a guess.
_SCORES_BEYOND = 10
# So many scores of its own for each step ahead give a series its own intervals, in not too many series.
_OWN_SCORES = 200
_MOST_OWN_SERIES = 32
# Neighbouring origins say nearly the same: more of them cost memory and add little. A sampled forecast reads
# its series from the start, which costs time.
_MOST_ORIGINS = 1000
_MOST_SAMPLED_ORIGINS = 100


class CalibrationWarning(UserWarning):
    """Intervals were calibrated on fewer errors than they need.

    Example:
        >>> issubclass(CalibrationWarning, UserWarning)
        True
    """


def calibrate(
    fitted: FittedForecast,
    table: SeriesTable,
    panel: Panel,
    begins: IntArray,
) -> Calibration:
    """Score a fitted model on the end of each series.

    Args:
        fitted: with the quantiles of the network alone.
        table: the series of the fit.
        panel: the same, prepared.
        begins: (series,) the first step of the part that calibrates; its length where there is none.

    Raises:
        DataError: no series has a part to calibrate on.
    """
    keys, lengths = table.sequences.keys or (), panel.lengths
    sampled = fitted.mode == "recursive"
    most = _MOST_SAMPLED_ORIGINS if sampled else _MOST_ORIGINS
    few = len(keys) <= _MOST_OWN_SERIES
    rows, positions = origins_between(
        begins,
        lengths,
        horizon=fitted.horizon,
        step=1,
        most=max(most, most * len(keys) if few else len(keys)),
    )
    begun = positions >= panel.first_observed[rows]
    rows, positions = rows[begun], positions[begun]
    at = panel.offsets[rows] + positions
    truth = table.target_at(at[:, None] + np.arange(1, fitted.horizon + 1))
    if np.isnan(truth).all():
        raise DataError(
            "no series has a part that the intervals can be calibrated on",
            where=table.source,
            expected="a window and two horizons, with values at the end",
            hint="give longer series, or pass intervals='model'",
        )
    quantiles = fitted.quantiles_at(table, panel, rows, positions)
    scores = conformity(quantiles, truth, panel.moments[at, 1].numpy().astype(np.float64))
    enough = math.ceil(_SCORES_BEYOND / miscoverage(fitted.levels).min() - ROUNDING)
    pooled = _neighbours(scores, enough)
    alone = max(enough, _OWN_SCORES)
    own = [row for row in range(len(keys)) if few and len(keys) > 1 and _least(scores[rows == row]) >= alone]
    parts = [_sorted(scores[rows == row], 1) for row in own] + [_sorted(scores, pooled)]
    widest = max(part.shape[-1] for part in parts)
    filled = [
        np.pad(part, [(0, 0), (0, 0), (0, widest - part.shape[-1])], constant_values=np.inf) for part in parts
    ]
    calibration = Calibration(
        keys=tuple(keys[row] for row in own),
        scores=np.stack(filled),
        origins=len(rows),
        pooled_steps=pooled,
    )
    if not calibration.exact(fitted.levels):
        warnings.warn(
            f"the intervals are calibrated on {calibration.origins} forecasts, too few for the widest: it "
            "ends beyond the largest error among them; longer series make it exact",
            CalibrationWarning,
            stacklevel=2,
        )
    return calibration


def _least(scores: FloatArray) -> int:
    """Count the scores of the step ahead that has fewest."""
    return int(np.isfinite(scores[..., 0]).sum(axis=0).min())


def _neighbours(scores: FloatArray, enough: int) -> int:
    """Choose how many steps ahead stand together, so that each has `enough` scores, or one at least."""
    horizon = scores.shape[1]
    neighbours: int = min(-(-enough // max(_least(scores), 1)), horizon)
    while not np.isfinite(_sorted(scores, neighbours)[..., 0]).all():
        # Around a step ahead nothing came true, as where the end of the part is one long gap.
        neighbours = min(2 * neighbours, horizon)
    return neighbours


def _sorted(scores: FloatArray, neighbours: int) -> FloatArray:
    """Sort the scores of each step ahead, with those of its neighbours.

    Args:
        scores: (R, horizon, intervals), NaN where unknown.
        neighbours: steps ahead that stand together, the step itself included.

    Returns:
        shape (horizon, intervals, n), ascending, infinity at the end where there are fewer.
    """
    horizon = scores.shape[1]
    first = np.clip(np.arange(horizon) - neighbours // 2, 0, horizon - neighbours)
    together = first[:, None] + np.arange(neighbours)  # (horizon, neighbours)
    parts = np.moveaxis(scores[:, together], (1, 3), (0, 1))  # (horizon, intervals, R, neighbours)
    known = np.where(np.isnan(parts), np.inf, parts).reshape(*parts.shape[:2], -1)
    known.sort(axis=-1)
    kept: FloatArray = known[..., : int(np.isfinite(known).sum(axis=-1).max())]
    return kept
