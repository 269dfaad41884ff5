"""Plain detectors that ours stands beside, with the same rule for their thresholds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import IsolationForest

from gatestack.tasks.detect.alarms import AlarmRule, AlarmState
from gatestack.tasks.detect.tail import Tail

__all__ = ["BASELINES", "BaselineTask", "baseline_statistics", "moving_z_score", "scored_by_rule"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

BASELINES = ("moving_z_score", "seasonal_residual", "isolation_forest")
"""Names of the baselines."""

_MOVING_WINDOWS = 10
_FOREST_STEPS = 8


@dataclass(frozen=True)
class BaselineTask:
    """What the baselines read.

    Attributes:
        values: (T, C) of one series, NaN where missing.
        end: number of first steps that are the training part.
        window: of the detector.
        season: steps of a season; 1 for none.
        seed: of the forest.
    """

    values: FloatArray
    end: int
    window: int
    season: int
    seed: int


def baseline_statistics(task: BaselineTask) -> dict[str, FloatArray]:
    """Compute what each baseline calls unusual, (T,), the larger the more; NaN where it knows nothing."""
    kinds: dict[str, Callable[[BaselineTask], FloatArray]] = {
        "moving_z_score": lambda task: moving_z_score(task.values, _MOVING_WINDOWS * task.window),
        "seasonal_residual": _seasonal_residual,
        "isolation_forest": _isolation_forest,
    }
    return {name: kinds[name](task) for name in BASELINES}


def moving_z_score(values: FloatArray, window: int) -> FloatArray:
    """Give the distance of each value from the mean of those before it, in their deviations.

    Args:
        values: (T, C), NaN where missing.
        window: number of steps before each, fewer at the start.

    Returns:
        (T,), the largest of the channels; NaN where fewer than two values are known.

    Example:
        >>> moving_z_score(np.array([[0.0], [2.0], [4.0]]), 2)[2]
        np.float64(3.0)
    """
    known = ~np.isnan(values)
    middle = np.nanmean(values, axis=0)
    centred = np.where(known, values - middle, 0.0)
    count, total, square = (
        _sum_before(part, window) for part in (known.astype(float), centred, centred * centred)
    )
    enough = count >= 2
    mean = total / np.maximum(count, 1)
    variance = np.maximum(square / np.maximum(count, 1) - mean * mean, 0.0)
    least = np.maximum(1e-6 * np.abs(middle), 1e-12)
    away = np.abs(np.where(known, values - middle - mean, np.nan)) / np.maximum(np.sqrt(variance), least)
    return _largest(np.where(enough, away, np.nan))


def _sum_before(terms: FloatArray, window: int) -> FloatArray:
    sums = np.concatenate([np.zeros((1, terms.shape[1])), np.cumsum(terms, axis=0)])
    steps = np.arange(len(terms))
    return np.asarray(sums[steps] - sums[np.maximum(steps - window, 0)])


def _largest(away: FloatArray) -> FloatArray:
    unknown = np.isnan(away).all(axis=1)
    return np.where(unknown, np.nan, np.where(np.isnan(away), -np.inf, away).max(axis=1))


def _seasonal_residual(task: BaselineTask) -> FloatArray:
    before = np.full_like(task.values, np.nan)
    before[task.season :] = task.values[: -task.season]
    change = np.abs(task.values - before)
    scale = np.nan_to_num(np.nanmean(change[task.season : task.end], axis=0))
    return _largest(change / np.maximum(scale, 1e-12))


def _isolation_forest(task: BaselineTask) -> FloatArray:
    steps = np.arange(len(task.values))[:, None]
    # Gaps are filled with the value before them: the forest takes whole windows only.
    source = np.maximum.accumulate(np.where(np.isnan(task.values), 0, steps), axis=0)
    filled = np.nan_to_num(np.take_along_axis(task.values, source, axis=0))
    windows = np.lib.stride_tricks.sliding_window_view(filled, _FOREST_STEPS, axis=0)
    rows = windows.reshape(len(windows), -1)
    forest: Any = IsolationForest(random_state=task.seed % 2**32)  # type: ignore[no-untyped-call]
    forest.fit(rows[: max(task.end - _FOREST_STEPS + 1, 1)])
    unusual = np.full(len(filled), np.nan)
    unusual[_FOREST_STEPS - 1 :] = -forest.score_samples(rows)
    return np.where(np.isnan(task.values).all(axis=1), np.nan, unusual)


def scored_by_rule(unusual: FloatArray, end: int, rule: AlarmRule) -> tuple[FloatArray, BoolArray, BoolArray]:
    """Turn what a baseline calls unusual into scores and alarms as the detector does.

    Args:
        unusual: (T,), NaN where nothing is known.
        end: number of first steps that are the training part: their tail says how rare the others are.
        rule: of the detector.

    Returns:
        Scores (T,), NaN where nothing is known; anomalous steps (T,); alarms (T,).
    """
    usual = unusual[:end][~np.isnan(unusual[:end])]
    tail = Tail.fit(usual if len(usual) else np.zeros(1))
    scores = np.full(len(unusual), np.nan)
    above, raised = np.zeros(len(unusual), dtype=bool), np.zeros(len(unusual), dtype=bool)
    state = AlarmState()
    for step, part in enumerate(unusual.tolist()):
        if not math.isnan(part):
            scores[step] = -math.log10(tail.share_above(part))
            state = rule.advance(float(scores[step]), part, state)
        else:
            state = rule.advance(None, 0.0, state)
        above[step], raised[step] = state.above, state.raised
    return scores, above, raised
