"""Medians, quartiles and ratios of what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Ratio", "Spread", "median", "peak_share", "ratio", "spread", "three_digits", "with_spread"]


@dataclass(frozen=True)
class Spread:
    """Quartiles of repeated measurements."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Ratio:
    """How many times as long another takes as we do: above 1 we are faster.

    Attributes:
        middle: median over rounds of theirs / ours, each within one round.
        low, high: its quartiles.
    """

    low: float
    middle: float
    high: float

    @property
    def level(self) -> bool:
        """Whether 1 lies within the quartiles: the order may be chance."""
        return self.low <= 1 <= self.high


def spread(values: list[float]) -> Spread:
    """Quartiles of the values."""
    return Spread(*(float(q) for q in np.percentile(values, (25, 50, 75))))


def median(values: list[float]) -> float:
    """The median."""
    return spread(values).middle


def three_digits(value: float) -> str:
    """A number with three digits, and never as a power of ten.

    Example:
        >>> three_digits(0.012345), three_digits(2.5), three_digits(12345.6)
        ('0.0123', '2.5', '12346')
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def with_spread(values: list[float], scale: float = 1.0) -> str:
    """The median of scaled values, and their quartiles in brackets."""
    s = spread([scale * value for value in values])
    return f"{three_digits(s.middle)} [{three_digits(s.low)}–{three_digits(s.high)}]"


def ratio(case: dict[str, Any], other: str, ours: str) -> Ratio | None:
    """`other`'s time over `ours`, round by round; None where either was not measured."""
    own, theirs = (case["contenders"].get(label, {}).get("seconds") for label in (ours, other))
    if not own or not theirs:
        return None
    quartiles = spread([b / a for a, b in zip(own, theirs, strict=True)])
    return Ratio(quartiles.low, quartiles.middle, quartiles.high)


def peak_share(case: dict[str, Any], label: str) -> float | None:
    """The share of the FMA peak that a contender reached, products alone counted; None without a peak."""
    seconds = case["contenders"].get(label, {}).get("seconds")
    if not seconds or not case.get("peak_gflops"):
        return None
    return case["flop"] / median(seconds) / 1e9 / median(case["peak_gflops"])
