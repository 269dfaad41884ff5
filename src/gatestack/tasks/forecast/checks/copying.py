"""Is a forecast the last value in disguise? A check of every evaluation, and of any table of forecasts.

A model that repeats the last value draws a curve that lies on the truth, one step late, and on levels such as
prices its R² is near 1. Three numbers tell it from a forecast. With l the last value that was known, f the
forecast and y the truth, in each series divided by its mean |y - l|:

    distance  = mean |f - l| / mean |y - l|       0 for a copy; or from the best line a + b l, b from 0.5 to
                                                  1.5, if that is less: a copy may be shrunk or shifted
    agreement = Σ (f - l)(y - l) / (Σ (f - l)² Σ (y - l)²)½        what the forecast adds to the last value,
                                                                   against what then happened
    shift     = the j with the least mean |f for step k - value at step k - j|, j = 0 … k: 0 where the
                forecast is nearest to the truth, k where it is nearest to the last value

A forecast is called a copy when the distance is at most 0.8, unless the interval of the agreement (95 %, from
the block bootstrap of `skill.py`) is above 0 and the error below that of the last value. To be near the last
value alone is no fault: a good forecast of a slow series is near it as well, but what it adds comes true.
`benchmarks/results/copying.md` has the shares of simulated models that are called copies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.tasks.skill import CONFIDENCE, compare, draw_units

__all__ = ["Copying", "find_copying"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# Both thresholds: benchmarks/copying.py.
_NEAR = 0.8
_FEWEST_ORIGINS = 20
_SLOPES = (0.5, 1.5)
_LAST = "the last value"


@dataclass(frozen=True)
class Copying:
    """Whether a forecast is the last value in disguise.

    Attributes:
        copies: True when it is; None with too few origins to say.
        distance: mean distance of the forecast from the last value, or from the best line through it, as a
            share of the distance of the truth; 0 for a copy.
        agreement: correlation of what the forecast adds to the last value with what then happened, -1 to 1;
            None where it adds nothing at all.
        low, high: bounds of its 95 % interval; None with too few origins.
        gain: 1 - mean absolute error / that of the last value; above 0 the forecast is better.
        by_step: a row per step ahead: `step`, `distance`, `agreement`, `shift`.
        origins: number of origins.
        better: of a copy: name of another forecast that is shown to be better than the last value, and by
            how much its error is lower, as a share; None where there is none.

    Example:
        >>> import polars as pl
        >>> from gatestack.tasks.forecast import copies_last_value
        >>> walk = np.cumsum(np.random.default_rng(0).normal(size=200))
        >>> frame = pl.DataFrame({"ds": range(1, 200), "y": walk[1:], "keras": walk[:-1]})
        >>> found = copies_last_value(frame)
        >>> found.copies, found.by_step["shift"].to_list()
        (True, [1])
    """

    copies: bool | None
    distance: float
    agreement: float | None
    low: float | None
    high: float | None
    gain: float
    by_step: pl.DataFrame
    origins: int
    better: tuple[str, float] | None

    @property
    def sentence(self) -> str:
        """The result in words."""
        if self.copies is None:
            return (
                f"{self.origins} origins are too few to say whether the forecast copies the last value; "
                f"{_FEWEST_ORIGINS} would do."
            )
        away = f"it moves away from it by {100 * self.distance:.0f} % of what the truth does"
        agrees = "it adds nothing"
        if self.agreement is not None:
            end = "lower" if self.gain > 0 else "higher"
            agrees = (
                f"correlation with what then happened {self.agreement:.2f}, 95 % interval {self.low:.2f} to "
                f"{self.high:.2f}; error {abs(100 * self.gain):.1f} % {end} than that of the last value"
            )
        if self.copies:
            return (
                f"The forecast is the last value in disguise: {away}, and what it adds is not shown to bring "
                f"it nearer to the truth ({agrees}). {self._alternative()}"
            )
        if _comes_true(self.low, self.gain):
            return f"The forecast is not a copy of the last value: what it adds comes true ({agrees})."
        return (
            f"The forecast is not a copy of the last value ({away}), but what it adds is not shown to bring "
            f"it nearer to the truth ({agrees})."
        )

    def _alternative(self) -> str:
        """Say what a copy is worth on this data."""
        if self.better is None:
            return "On this data the last value is as good, and no baseline is shown to be better than it."
        name, lower = self.better
        return f"On this data {name} is better than the last value: its error is {100 * lower:.1f} % lower."

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON values."""
        names = ("copies", "distance", "agreement", "low", "high", "gain", "origins", "sentence")
        better = None if self.better is None else {"model": self.better[0], "lower_by": self.better[1]}
        return {name: getattr(self, name) for name in names} | {
            "better": better,
            "by_step": self.by_step.to_dicts(),
        }


def find_copying(
    forecast: FloatArray,
    truth: FloatArray,
    last: FloatArray,
    *,
    rows: IntArray,
    block: int = 1,
    others: Mapping[str, FloatArray] | None = None,
) -> Copying:
    """Measure how near forecasts are to the last value, and whether what they add to it comes true.

    Args:
        forecast: (R, horizon), from R origins of some series.
        truth: (R, horizon), NaN where missing.
        last: (R,), the last value that was known at each origin.
        rows: (R,) number of the series of each origin, in order of time within a series.
        block: origins in a block of the bootstrap: those whose forecasts overlap.
        others: name → (R, horizon), further forecasts, to say whether any is better than the last value.

    Returns:
        The measures and the verdict.

    Example:
        >>> walk = np.cumsum(np.random.default_rng(0).normal(size=300))[:, None]
        >>> find_copying(walk[:-1], walk[1:], walk[:-1, 0], rows=np.zeros(299, dtype=int)).distance
        0.0
    """
    scale = _scales(truth - last[:, None], rows)
    forecast, truth, last = forecast / scale, truth / scale, last[:, None] / scale
    added, moved = forecast - last, truth - last
    known = np.isfinite(moved) & np.isfinite(added)
    origins = int(known.any(axis=1).sum())
    # Later steps move further; here each counts alike.
    reach = _mean_by_step(np.abs(moved), known)
    reach = np.where(reach > 0, reach, np.nan)
    near = np.minimum(_mean_by_step(np.abs(added), known), _line_distances(forecast, last, known, rows))
    distance = float(_mean_by_step((near / reach)[:, None], np.isfinite(reach)[:, None])[0])
    here = known & np.isfinite(reach)
    agreement, low, high = _agreement(
        np.where(here, added / reach, 0), np.where(here, moved / reach, 0), rows, block
    )
    too_few = origins < _FEWEST_ORIGINS or (agreement is not None and low is None)
    by_step = {
        "step": np.arange(1, forecast.shape[1] + 1),
        "distance": pl.Series(near / reach).fill_nan(None),
        "agreement": [
            _correlation(added[here[:, step], step], moved[here[:, step], step])
            for step in range(forecast.shape[1])
        ],
        "shift": _shifts(forecast, np.concatenate([last, truth], axis=1)),
    }
    error, naive = np.abs(added - moved)[known].sum(), np.abs(moved)[known].sum()
    gain = float(1 - error / naive) if naive > 0 else 0.0
    copies = None if too_few else distance <= _NEAR and not _comes_true(low, gain)
    alike = {name: other / scale for name, other in (others or {}).items()} if copies else {}
    return Copying(
        copies=copies,
        distance=distance,
        agreement=agreement,
        low=low,
        high=high,
        gain=gain,
        by_step=pl.DataFrame(by_step),
        origins=origins,
        better=_better_than_last(alike, truth, last, rows, block) if alike else None,
    )


def _comes_true(low: float | None, gain: float) -> bool:
    """Say whether what a forecast adds to the last value is shown to agree with the truth, and to help."""
    return low is not None and low > 0 and gain > 0


def _scales(moves: FloatArray, rows: IntArray) -> FloatArray:
    """Give the mean absolute move of the series of each origin, (R, 1); NaN where it stands still."""
    known = np.isfinite(moves)
    total = np.bincount(rows, np.where(known, np.abs(moves), 0).sum(axis=1))
    mean = total / np.maximum(np.bincount(rows, known.sum(axis=1)), 1)
    scale: FloatArray = np.where(mean > 0, mean, np.nan)[rows][:, None]
    return scale


def _mean_by_step(values: FloatArray, known: BoolArray) -> FloatArray:
    mean: FloatArray = np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return mean


def _line_distances(forecast: FloatArray, last: FloatArray, known: BoolArray, rows: IntArray) -> FloatArray:
    """Give the mean distance of forecasts from the best line through the last value, (horizon,).

    One slope per step, one intercept per step and series. Infinite where the slope is not that of a copy, or
    most origins are of series too short for a line.
    """
    distances = np.full(forecast.shape[1], np.inf)
    for step in range(forecast.shape[1]):
        here = known[:, step] & (np.bincount(rows, known[:, step])[rows] >= _FEWEST_ORIGINS)
        if here.sum() * 2 <= known[:, step].sum():
            continue
        series = np.unique(rows[here], return_inverse=True)[1]
        count = np.bincount(series)
        x, y = (
            part - (np.bincount(series, part) / count)[series]
            for part in (last[here, 0], forecast[here, step])
        )
        spread = float(x @ x)
        slope = float(x @ y) / spread if spread > 0 else 0.0
        if _SLOPES[0] <= slope <= _SLOPES[1]:
            distances[step] = np.abs(y - slope * x).mean()
    return distances


def _agreement(
    added: FloatArray, moved: FloatArray, rows: IntArray, block: int
) -> tuple[float | None, float | None, float | None]:
    value = _correlation(added.reshape(-1), moved.reshape(-1))
    unit, drawn = draw_units(rows, block)
    if drawn is None or value is None:
        return value, None, None
    both, own, true = (
        np.bincount(unit, product.sum(axis=1))[drawn].sum(axis=1)
        for product in (added * moved, added**2, moved**2)
    )
    resampled = both / np.sqrt(np.maximum(own * true, 1e-300))
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return value, float(low), float(high)


def _correlation(added: FloatArray, moved: FloatArray) -> float | None:
    """Correlate around 0, not around the means: a drift that comes true is a forecast."""
    size = float(added @ added) * float(moved @ moved)
    return float(added @ moved) / math.sqrt(size) if size > 0 else None


def _shifts(forecast: FloatArray, values: FloatArray) -> list[int]:
    """Find how many steps before each step the value stands that the forecast is nearest to.

    Args:
        forecast: (R, horizon).
        values: (R, 1 + horizon), the last known value and the truth.
    """
    shifts = []
    for step in range(forecast.shape[1]):
        # The truth of the step first, the last known value at the end.
        candidates = values[:, step + 1 :: -1]
        away = np.abs(forecast[:, step, None] - candidates)
        known = np.isfinite(away).all(axis=1)
        shifts.append(int(away[known].mean(axis=0).argmin()) if known.any() else 0)
    return shifts


def _better_than_last(
    others: Mapping[str, FloatArray], truth: FloatArray, last: FloatArray, rows: IntArray, block: int
) -> tuple[str, float] | None:
    """Name the forecast whose error is furthest, and beyond chance, below that of the last value."""
    errors = {name: np.abs(other - truth) for name, other in others.items()} | {_LAST: np.abs(last - truth)}
    skills = compare(errors, rows=rows, scale=np.ones(rows.max() + 1), model=_LAST, block=block)
    # Below 0 the last value is the worse of the two.
    found = {
        name: 1 - 1 / (1 - skill.value)
        for name, skill in skills.items()
        if skill.high is not None and skill.high < 0
    }
    best = max(found, key=found.__getitem__, default=None)
    return None if best is None else (best, found[best])
