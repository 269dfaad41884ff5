"""The six forecasting problems: horizon, window, split and test origins, the same for every model.

An *origin* is a pair (series, t): a model sees the values before position t and forecasts t … t + horizon -
1. All origins lie in the test part, a fixed stride apart. The strides share no factor with the daily cycle,
so that every hour of the day is an origin. Every model is fitted once, on what lies before the test part, and
then forecasts from every origin with the observations up to that origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from protocol.series_sets import SeriesSet, read_series_set

__all__ = ["PROBLEMS", "Problem", "ProblemSettings", "Split", "fill_forward", "make_problem", "read_problem"]

Split = Literal["validation", "test"]


@dataclass(frozen=True)
class ProblemSettings:
    """What is fixed for one problem before any model is seen.

    Attributes:
        data: name of the data set.
        horizon: steps to forecast.
        window: past steps that a model may read.
        seasons: season lengths in steps; the first one scales MASE, each one gives a seasonal naive.
        stride: steps between two origins.
        test_steps: length of the test part; 0 takes the one the publishers fixed, with one origin per series.
        pseudo_test_steps: length of the test part of the validation split.
    """

    data: str
    horizon: int
    window: int
    seasons: tuple[int, ...]
    stride: int = 1
    test_steps: int = 0
    pseudo_test_steps: int = 0


PROBLEMS: dict[str, ProblemSettings] = {
    # ETT: 8640 hours to train, 2880 to validate, 2880 to test, as in the literature.
    "ETTh1-24": ProblemSettings("ETTh1", 24, 96, (24,), 11, 2880, 2880),
    "ETTh1-48": ProblemSettings("ETTh1", 48, 96, (24,), 11, 2880, 2880),
    # The others: about the last fifth is the test part, about the last fifth of the rest the validation part.
    "vic_electricity": ProblemSettings("vic_electricity", 48, 336, (48, 336), 31, 10521, 8417),
    "m4_hourly": ProblemSettings("m4_hourly", 48, 168, (24, 168)),
    "beijing_pm25": ProblemSettings("beijing_pm25", 24, 96, (24,), 23, 8765, 7012),
    "seattle_weather": ProblemSettings("seattle_weather", 7, 56, (7, 365), 1, 292, 234),
}


@dataclass(frozen=True)
class Problem:
    """One problem, ready for a model.

    Attributes:
        name: a key of `PROBLEMS`.
        split: "validation" (the test part is removed) or "test".
        series: the values, cut at the end of the last forecast of this split.
        train_ends: per series, how many of its values may be used for fitting.
        origins: int array (origins, 2) of (series index, position).
    """

    name: str
    split: Split
    settings: ProblemSettings
    series: SeriesSet
    train_ends: tuple[int, ...]
    origins: np.ndarray

    @property
    def actual(self) -> np.ndarray:
        """What came: float array (origins, horizon), NaN where nothing was observed."""
        steps = range(self.settings.horizon)
        return np.array([[self.series.values[s][t + k] for k in steps] for s, t in self.origins])


def make_problem(name: str, split: Split, series: SeriesSet, settings: ProblemSettings) -> Problem:
    """Cut `series` into a fitting part and origins; a validation split holds no value of the test part."""
    kept, train_ends, origins = [], [], []
    for index, values in enumerate(series.values):
        test_steps = settings.test_steps or series.given_test_steps
        if split == "validation":
            values = values[: len(values) - test_steps]
            test_steps = settings.pseudo_test_steps or series.given_test_steps
        train_end = len(values) - test_steps
        kept.append(values)
        train_ends.append(train_end)
        last = len(values) - settings.horizon
        origins += [(index, origin) for origin in range(train_end, last + 1, settings.stride)]
    cut = SeriesSet(series.keys, tuple(kept), series.starts, series.frequency, series.given_test_steps)
    return Problem(name, split, settings, cut, tuple(train_ends), np.array(origins))


def read_problem(name: str, split: Split, folder: Path) -> Problem:
    """Read the data of the problem `name` from `folder` and split it."""
    settings = PROBLEMS[name]
    return make_problem(name, split, read_series_set(settings.data, folder), settings)


def fill_forward(values: np.ndarray) -> np.ndarray:
    """Fill each gap with the last value before it (leading gaps with the first value).

    The one filling that needs nothing from after the gap: an interpolated gap that reaches over an origin
    would show the model the value it has to forecast.
    """
    present = np.flatnonzero(~np.isnan(values))
    source = np.searchsorted(present, np.arange(len(values)), side="right") - 1
    return values[present[np.maximum(source, 0)]]
