"""What an alarm means, in words: which channel, expected against seen, how rare."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gatestack.data.frequency import Frequency
from gatestack.tasks.detect.scoring import EVIDENCE

__all__ = ["explain", "rarity"]

FloatArray = npt.NDArray[np.float64]

_UNITS = ((365.25 * 86400, "year"), (86400.0, "day"), (3600.0, "hour"), (60.0, "minute"))
# What is rarer is said to be rarer than this: a training part of some hundred steps does not tell more.
_MOST_STEPS = 1_000_000
_SECONDS = {"microsecond": 1e-6, "day": 86400.0, "business day": 86400.0 * 7 / 5, "month": 86400 * 30.4375}


def rarity(score: float, frequency: Frequency) -> str:
    """Say how rare a score is.

    Args:
        score: -log10 of the share of usual steps that are as far out.
        frequency: the step.

    Example:
        >>> rarity(4.0, Frequency.parse("1h")), rarity(2.0, Frequency.parse("5m"))
        ('once in 10,000 usual steps (1.1 years)', 'once in 100 usual steps (8.3 hours)')
        >>> rarity(11.0, Frequency.parse("5m"))
        'less than once in 1,000,000 usual steps (9.5 years)'
    """
    steps = min(10.0**score, _MOST_STEPS)
    text = f"{'less than ' if steps == _MOST_STEPS else ''}once in {_round(steps):,} usual steps"
    if frequency.unit not in _SECONDS:
        return text
    seconds = steps * frequency.every * _SECONDS[frequency.unit]
    for length, name in _UNITS:
        if seconds >= length:
            count = seconds / length
            shown = f"{count:,.0f}" if count >= 10 else f"{count:.1f}"
            return f"{text} ({shown} {name}{'' if shown == '1.0' else 's'})"
    return text


def explain(
    names: tuple[str, ...], values: FloatArray, expected: FloatArray, channel: int, kind: int, rare: str
) -> str:
    """Say in a sentence what is unusual about a step.

    Args:
        names: of the channels.
        values: (C,) in the user's unit.
        expected: (C,) in the user's unit, NaN where nothing was expected.
        channel: number of the channel that is furthest out.
        kind: number of the evidence, see `scoring`.
        rare: from `rarity`.

    Example:
        >>> explain(("cpu",), np.array([93.0]), np.array([40.5]), 0, 0, "once in 10,000 usual steps")
        'cpu is 93, expected 40.5; so far out once in 10,000 usual steps'
    """
    seen = f"{names[channel]} is {_number(values[channel])}"
    if EVIDENCE[kind] == "level":
        what = f"{seen}, expected {_number(expected[channel])}, outside the range that it has long kept to"
    elif EVIDENCE[kind] == "mean":
        what = f"{seen}, expected {_number(expected[channel])}, and the steps before it were off as well"
    else:
        what = f"{seen}, expected {_number(expected[channel])}"
    return f"{what}; so far out {rare}"


def _number(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.4g}"


def _round(steps: float) -> int:
    """Keep two digits: more would claim what is not known."""
    digits = max(0, int(math.log10(max(steps, 1.0))) - 1)
    return int(round(steps / 10**digits) * 10**digits)
