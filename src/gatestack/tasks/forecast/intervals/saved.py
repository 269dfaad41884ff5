"""Calibrated intervals as data: JSON values and named arrays, and back."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from gatestack.tasks.estimator import Arrays
from gatestack.tasks.forecast.intervals.adaptive import AdaptiveShares
from gatestack.tasks.forecast.intervals.conformal import Calibration
from gatestack.tasks.saved import not_together

__all__ = ["SavedCalibration", "calibration_from_data", "calibration_to_data", "shares_from_data"]


class SavedCalibration(BaseModel):
    """What the array `calibration.scores` belongs to; see `Calibration`."""

    model_config = ConfigDict(extra="forbid")

    keys: list[str]
    origins: int
    pooled_steps: int


def calibration_to_data(calibration: Calibration) -> SavedCalibration:
    """Give everything but the scores as JSON values.

    Example:
        >>> calibration_to_data(Calibration((), np.zeros((1, 1, 1, 4)), origins=4, pooled_steps=1)).origins
        4
    """
    return SavedCalibration(
        keys=list(calibration.keys),
        origins=calibration.origins,
        pooled_steps=calibration.pooled_steps,
    )


def calibration_from_data(
    saved: SavedCalibration | None, arrays: Arrays, *, horizon: int, intervals: int
) -> Calibration | None:
    """Read the calibration of a model, None where its intervals are those of its network.

    Args:
        saved: what `calibration_to_data` gave, or None.
        arrays: `scores`, where there is a calibration.
        horizon: steps ahead.
        intervals: number of intervals.

    Raises:
        ModelFileError: the scores are missing, too many, of another shape, or not in order.
    """
    if saved is None:
        if arrays:
            raise not_together("calibration.scores is there, but model.json has no calibration")
        return None
    if set(arrays) != {"scores"}:
        raise not_together("calibration.scores is missing, or something stands beside it")
    scores = np.array(arrays["scores"])
    wanted = (len(saved.keys) + 1, horizon, intervals)
    if scores.ndim != 4 or scores.shape[:3] != wanted or scores.dtype != np.float64:
        raise not_together(f"calibration.scores is {scores.shape}, expected {(*wanted, 'scores')}")
    if not (np.isfinite(scores[..., :1]).all() and (scores[..., :-1] <= scores[..., 1:]).all()):
        raise not_together("calibration.scores are not ascending numbers")
    return Calibration(
        keys=tuple(saved.keys),
        scores=scores,
        origins=saved.origins,
        pooled_steps=saved.pooled_steps,
    )


def shares_from_data(arrays: Arrays, *, series: int, horizon: int, levels: int) -> AdaptiveShares | None:
    """Read what `AdaptiveShares.to_arrays` gave; None where there are no arrays.

    Args:
        arrays: from the file.
        series: number of series.
        horizon: steps ahead.
        levels: number of quantiles.

    Raises:
        ModelFileError: an array is missing, unknown, or of another shape.
    """
    if not arrays:
        return None
    sizes: dict[str, tuple[int, ...]] = {"share": (series, horizon, levels // 2)}
    if "given" in arrays and arrays["given"].ndim == 4:
        sizes["given"] = (series, min(max(arrays["given"].shape[1], 1), horizon), horizon, levels)
    found = {name: array.shape for name, array in arrays.items()}
    if found != sizes or any(array.dtype != np.float64 for array in arrays.values()):
        raise not_together(f"the arrays shares.… are {found}, expected {sizes}")
    return AdaptiveShares.from_arrays({name: np.array(array) for name, array in arrays.items()})
