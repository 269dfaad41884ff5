"""Scores of forecasts at fixed origins. Positions without an observation count nowhere."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

from protocol.problems import Problem

__all__ = ["Scores", "first_quarter", "score"]


@dataclass(frozen=True)
class Scores:
    """Errors of one set of forecasts.

    Attributes:
        mae: mean absolute error over all observed (origin, step) pairs, in units of the data.
        mase: mean over series of MAE divided by the mean absolute seasonal difference of the fitting part.
        mae_per_step: MAE of each step of the horizon.
        mase_per_step: MASE of each step; where series differ in size, this is the one to read.
    """

    mae: float
    mase: float
    mae_per_step: list[float]
    mase_per_step: list[float]

    def as_dict(self) -> dict[str, object]:
        """The scores as plain data for JSON."""
        return asdict(self)


def first_quarter(horizon: int) -> int:
    """Number of steps in the first quarter of the horizon, rounded up."""
    return math.ceil(horizon / 4)


def seasonal_scale(train: np.ndarray, season: int) -> float:
    """The denominator of MASE: mean |y_t - y_(t-season)| over the observed pairs of the fitting part."""
    return float(np.nanmean(np.abs(train[season:] - train[:-season])))


def score(problem: Problem, forecasts: np.ndarray) -> Scores:
    """Compare forecasts (origins, horizon) with what came.

    Raises:
        ValueError: forecasts of another shape, or a forecast that is not a number.
    """
    actual = problem.actual
    if forecasts.shape != actual.shape:
        raise ValueError(
            f"forecasts have shape {forecasts.shape}, expected (origins, horizon) = {actual.shape}"
        )
    if not np.isfinite(forecasts).all():
        raise ValueError(f"{int((~np.isfinite(forecasts)).sum())} forecasts are not finite numbers")
    errors = np.abs(forecasts - actual)
    scaled, weights = np.zeros(actual.shape[1]), np.zeros(actual.shape[1])
    for index, (values, train_end) in enumerate(zip(problem.series.values, problem.train_ends, strict=True)):
        own = errors[problem.origins[:, 0] == index]
        scale = seasonal_scale(values[:train_end], problem.settings.seasons[0])
        if scale == 0.0:
            continue  # A series that repeats itself exactly has no MASE.
        scaled += np.nanmean(own, axis=0) / scale
        weights += 1
    mase_per_step = scaled / weights
    return Scores(
        mae=float(np.nanmean(errors)),
        mase=float(mase_per_step.mean()),
        mae_per_step=[float(x) for x in np.nanmean(errors, axis=0)],
        mase_per_step=[float(x) for x in mase_per_step],
    )
