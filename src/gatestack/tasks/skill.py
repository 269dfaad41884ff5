"""Skill: how much lower the model's error is than a baseline's, with an interval from the block bootstrap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["CONFIDENCE", "Skill", "compare", "draw_units", "percent_text", "range_text", "skill_sentence"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_RESAMPLES = 2000
_SEED = 0
CONFIDENCE = 0.95
"""Of every interval."""
# With so many series whole series are drawn; with fewer, blocks of neighbouring origins.
_MANY_SERIES = 10
_FEWEST_UNITS = 4


@dataclass(frozen=True)
class Skill:
    """How much lower the model's error is than a baseline's.

    Attributes:
        value: 1 - error of the model / error of the baseline; above 0 the model is better. Minus infinity
            where only the baseline makes no error.
        low, high: bounds of the 95 % interval; None with too few origins to say, or without a finite value.

    Example:
        >>> Skill(0.25, 0.1, 0.4).to_dict()
        {'value': 0.25, 'low': 0.1, 'high': 0.4}
    """

    value: float
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, float | None]:
        """Give the numbers as JSON values, which have no infinity: None stands for it."""
        return {name: value if np.isfinite(value or 0.0) else None for name, value in asdict(self).items()}


def compare(
    errors: Mapping[str, FloatArray], *, rows: IntArray, scale: FloatArray, model: str, block: int
) -> dict[str, Skill]:
    """Compare the model with each baseline.

    Errors of neighbouring origins are alike; an interval that took them for independent would be too narrow.
    With fewer than ten series, blocks of neighbouring origins are drawn with replacement (Künsch 1989, "The
    jackknife and the bootstrap for general stationary observations"); with more, whole series are.

    Args:
        errors: absolute errors (R, horizon) of each model, NaN where there is no truth.
        rows: (R,) series of each origin, in order of time within a series.
        scale: (series,) divides the errors of each series, so that series count alike.
        model: which of `errors` is compared with the others.
        block: origins in a block.

    Returns:
        For each baseline its `Skill`.
    """
    unit, drawn = draw_units(rows, block)
    per_unit = {
        name: np.bincount(unit, _scaled_sums(error, scale[rows])).astype(np.float64)
        for name, error in errors.items()
    }
    own = per_unit.pop(model)
    return {name: _skill(own, other, drawn) for name, other in per_unit.items()}


def draw_units(rows: IntArray, block: int) -> tuple[IntArray, IntArray | None]:
    """Choose what the bootstrap draws: whole series where there are many, else blocks of origins.

    Args:
        rows: (R,) series of each origin, in order of time within a series.
        block: origins in a block.

    Returns:
        The unit of each origin, (R,), numbered from 0; and the units drawn, (resamples, units), None where
        there are too few.
    """
    many = len(np.unique(rows)) >= _MANY_SERIES
    unit = np.unique(rows, return_inverse=True)[1] if many else _order_in_series(rows)
    units = int(unit.max()) + 1
    return unit, _draw(units, 1 if many else min(block, units)) if units >= _FEWEST_UNITS else None


def skill_sentence(skill: Mapping[str, Skill], origins: int) -> str:
    """Say in one sentence how the model stands against the best of its baselines.

    Args:
        skill: of the model against each baseline.
        origins: number of origins.

    Example:
        >>> skill_sentence({"drift": Skill(0.12, 0.05, 0.2)}, origins=40)  # doctest: +NORMALIZE_WHITESPACE
        'Over 40 origins the scaled error is 12.0 % lower than that of the best baseline, drift
        (95 % interval: 5.0 to 20.0 % lower).'
    """
    best = min(skill, key=lambda name: skill[name].value)
    value, low, high = skill[best].value, skill[best].low, skill[best].high
    over = f"Over {origins} origin{'s' if origins != 1 else ''}"
    if not np.isfinite(value):
        return f"The model loses: {over.lower()} the baseline {best} makes no error at all. Use the baseline."
    start = f"{over} the scaled error is {percent_text(value)} than that of the best baseline, {best}"
    if low is None or high is None:
        return f"{start}; there are too few origins for an interval."
    interval = f"(95 % interval: {range_text(low, high)})"
    if low > 0:
        return f"{start} {interval}."
    if high < 0:
        return f"The model loses: {start[0].lower()}{start[1:]} {interval}. Use the baseline."
    return f"{start}, but the two cannot be told apart {interval}."


def percent_text(value: float) -> str:
    """Say how much lower, or higher, an error is."""
    return f"{abs(100 * value):.1f} % {'lower' if value >= 0 else 'higher'}"


def range_text(low: float, high: float) -> str:
    """Say from where to where an error is lower, or higher."""
    if low > 0:
        return f"{100 * low:.1f} to {100 * high:.1f} % lower"
    if high < 0:
        return f"{-100 * high:.1f} to {-100 * low:.1f} % higher"
    return f"{percent_text(low)} to {percent_text(high)}"


def _scaled_sums(error: FloatArray, scale: FloatArray) -> FloatArray:
    sums: FloatArray = np.where(np.isfinite(error), error, 0.0).sum(axis=1) / scale
    return sums


def _order_in_series(rows: IntArray) -> IntArray:
    """Number the origins of each series 0, 1, …; origins of the same number are drawn together."""
    order = np.empty(len(rows), dtype=np.int64)
    for row in np.unique(rows):
        here = np.flatnonzero(rows == row)
        order[here] = np.arange(len(here))
    return order


def _draw(units: int, block: int) -> IntArray:
    """Draw blocks with replacement, around the end, until there are as many units as before."""
    random = np.random.default_rng(_SEED)
    starts = random.integers(0, units, (_RESAMPLES, -(-units // block)))
    return ((starts[..., None] + np.arange(block)) % units).reshape(_RESAMPLES, -1)[:, :units]


def _skill(own: FloatArray, other: FloatArray, drawn: IntArray | None) -> Skill:
    value = float(_lower_by(own.sum(keepdims=True), other.sum(keepdims=True))[0])
    if drawn is None or not np.isfinite(value):
        return Skill(value, None, None)
    resampled = _lower_by(own[drawn].sum(axis=1), other[drawn].sum(axis=1))
    # Not interpolated: a draw without any error of the baseline is infinitely far down.
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.quantile(resampled, tails, method="inverted_cdf")
    return Skill(value, float(low), float(high))


def _lower_by(own: FloatArray, other: FloatArray) -> FloatArray:
    """Give 1 - own / other; two errors of 0 are alike, and an error beside none is infinitely higher."""
    ratio = np.where(own == 0, 1.0, np.inf)
    np.divide(own, other, out=ratio, where=other > 0)
    return 1 - ratio
