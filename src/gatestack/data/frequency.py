"""The step of a time index: hours, days, business days, months, whole numbers; and arithmetic in steps.

Fixed steps count absolute time, so an hourly series has 23 or 25 steps on the days when the clocks change.
Days, business days and months follow the wall clock of the zone: a daily series keeps its time of day across
such changes, and a monthly one its day of the month, or the month's end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from gatestack.data.zones import to_utc, to_wall
from gatestack.errors import ArgumentError, quote_value

__all__ = ["Frequency", "FrequencyUnit", "TimeArray"]

FrequencyUnit: TypeAlias = Literal["step", "microsecond", "day", "business day", "month"]
# datetime64[us] or int64: NumPy's hints cannot say "one of the two, and the same one throughout".
TimeArray: TypeAlias = npt.NDArray[Any]

_SECOND = 1_000_000
_MINUTE, _HOUR, _DAY = 60 * _SECOND, 3600 * _SECOND, 86_400 * _SECOND
# Name, length in microseconds, short form; longest first.
_FIXED = (
    ("hour", _HOUR, "h"),
    ("minute", _MINUTE, "m"),
    ("second", _SECOND, "s"),
    ("millisecond", 1000, "ms"),
    ("microsecond", 1, "us"),
)
_ADVERBS = {
    "hour": "hourly",
    "day": "daily",
    "week": "weekly",
    "month": "monthly",
    "quarter": "quarterly",
    "year": "yearly",
}
# What users write, in the manner of Polars, pandas and Nixtla: unit, how many of it, month end.
_ALIASES: dict[str, tuple[FrequencyUnit, int, bool]] = {
    "us": ("microsecond", 1, False),
    "ms": ("microsecond", 1000, False),
    "s": ("microsecond", _SECOND, False),
    "S": ("microsecond", _SECOND, False),
    "m": ("microsecond", _MINUTE, False),
    "min": ("microsecond", _MINUTE, False),
    "T": ("microsecond", _MINUTE, False),
    "h": ("microsecond", _HOUR, False),
    "H": ("microsecond", _HOUR, False),
    "d": ("day", 1, False),
    "D": ("day", 1, False),
    "w": ("day", 7, False),
    "W": ("day", 7, False),
    "B": ("business day", 1, False),
    "b": ("business day", 1, False),
    "mo": ("month", 1, False),
    "MS": ("month", 1, False),
    "M": ("month", 1, True),
    "ME": ("month", 1, True),
    "q": ("month", 3, False),
    "QS": ("month", 3, False),
    "Q": ("month", 3, True),
    "QE": ("month", 3, True),
    "y": ("month", 12, False),
    "YS": ("month", 12, False),
    "Y": ("month", 12, True),
    "YE": ("month", 12, True),
    "i": ("step", 1, False),
    "": ("step", 1, False),
}


@dataclass(frozen=True)
class Frequency:
    """One step of a time index.

    Args:
        unit: what is counted: whole numbers (`step`), microseconds, days, business days, months.
        every: how many units make a step, at least 1.
        month_end: True when monthly steps fall on the last day of each month.
        zone: IANA name of the zone whose wall clock days and months follow; None for times without a zone.

    Raises:
        ArgumentError: `every` below 1, or an unknown unit.

    Example:
        >>> hourly = Frequency.parse("1h")
        >>> hourly.label, hourly.seasons()
        ('hourly', (24, 168))
        >>> Frequency.parse("1mo").advance(np.array(["2024-01-31"], dtype="datetime64[us]"), 1)
        array(['2024-02-29T00:00:00.000000'], dtype='datetime64[us]')
    """

    unit: FrequencyUnit
    every: int = 1
    month_end: bool = False
    zone: str | None = None

    def __post_init__(self) -> None:
        if self.unit not in get_args(FrequencyUnit):
            raise ArgumentError(
                f"'unit' is {quote_value(self.unit)}",
                where="Frequency",
                expected=f"one of {', '.join(get_args(FrequencyUnit))}",
            )
        if self.every < 1:
            raise ArgumentError(f"'every' is {self.every}", where="Frequency", expected="at least 1")

    @classmethod
    def parse(cls, text: str | int) -> Frequency:
        """Read a frequency as users write it: `1h`, `15min`, `1d`, `B`, `1w`, `1mo`, `ME`, `1q`, `1y`, `5`.

        Args:
            text: number and unit, as in Polars or pandas; a bare number counts whole-number steps.

        Returns:
            The Frequency, without a zone.

        Raises:
            ArgumentError: the text is none of these.

        Example:
            >>> Frequency.parse("30m").label
            '30 minutes'
        """
        match = re.fullmatch(r"(\d{0,12})([A-Za-z]*)(-[A-Z]{3})?", str(text).strip())
        anchored = (
            match is not None
            and match[3] is not None
            and match[2] not in ("W", "Q", "QS", "QE", "Y", "YS", "YE")
        )
        if match is None or not match[0] or match[2] not in _ALIASES or anchored or match[1] == "0":
            raise ArgumentError(
                f"the frequency is {quote_value(text)}",
                where="frequency",
                expected="a number and a unit, such as '1h', '30m', '1d', 'B' (business days), '1w', "
                "'1mo', '1q', '1y', or a "
                "whole number for an integer time",
                hint="leave it out: the frequency is found in the data",
            )
        unit, size, month_end = _ALIASES[match[2]]
        return cls(unit, int(match[1] or 1) * size, month_end)

    @property
    def label(self) -> str:
        """Words for a reader: `hourly`, `30 minutes`, `monthly`, `every 5 steps`.

        Example:
            >>> Frequency("day", 7).label, Frequency("step", 5).label, Frequency("business day").label
            ('weekly', 'every 5 steps', 'business days')
        """
        if self.unit == "step":
            return "every step" if self.every == 1 else f"every {self.every} steps"
        if self.unit == "business day":
            return "business days" if self.every == 1 else f"every {self.every} business days"
        name, count = self._largest_unit()
        if count == 1:
            return _ADVERBS.get(name, f"every {name}")
        return f"{count} {name}s"

    @property
    def alias(self) -> str:
        """Short form that `Frequency.parse` reads back.

        Example:
            >>> Frequency("microsecond", 3_600_000_000).alias, Frequency("month", 1, month_end=True).alias
            ('1h', '1ME')
        """
        if self.unit == "step":
            return str(self.every)
        if self.unit == "business day":
            return "B" if self.every == 1 else f"{self.every}B"
        name, count = self._largest_unit()
        if self.month_end:
            return f"{count}{ {'month': 'ME', 'quarter': 'QE', 'year': 'YE'}[name] }"
        short = {"day": "d", "week": "w", "month": "mo", "quarter": "q", "year": "y"} | {
            n: s for n, _, s in _FIXED
        }
        return f"{count}{short[name]}"

    def _largest_unit(self) -> tuple[str, int]:
        if self.unit == "day":
            return ("week", self.every // 7) if self.every % 7 == 0 else ("day", self.every)
        if self.unit == "month":
            for name, months in (("year", 12), ("quarter", 3)):
                if self.every % months == 0:
                    return name, self.every // months
            return "month", self.every
        for name, size, _ in _FIXED:
            if self.every % size == 0:
                return name, self.every // size
        raise AssertionError("unreachable: every whole number of microseconds is one of microseconds")

    def with_zone(self, zone: str | None) -> Frequency:
        """The same step, following the wall clock of a zone."""
        return replace(self, zone=zone)

    def advance(self, times: TimeArray, steps: int | npt.ArrayLike) -> TimeArray:
        """Move times by a number of steps; both broadcast.

        Args:
            times: datetime64 (UTC) or int64, any shape.
            steps: whole numbers, negative ones go back.

        Returns:
            datetime64[us] or int64 of the broadcast shape.

        Example:
            >>> friday = np.datetime64("2024-05-03", "us")
            >>> Frequency.parse("B").advance(friday, np.arange(1, 3)).astype("datetime64[D]")
            array(['2024-05-06', '2024-05-07'], dtype='datetime64[D]')
        """
        count = np.asarray(steps, dtype=np.int64) * self.every
        if self.unit == "step":
            return np.asarray(np.asarray(times, dtype=np.int64) + count)
        stamps = np.asarray(times, dtype="datetime64[us]")
        if self.unit == "microsecond":
            return np.asarray(stamps + count.astype("timedelta64[us]"))
        wall = to_wall(stamps, self.zone)
        day = wall.astype("datetime64[D]")
        clock = wall - day
        if self.unit == "day":
            moved = day + count.astype("timedelta64[D]")
        elif self.unit == "business day":
            moved = np.asarray(np.busday_offset(day, count, roll="forward"))
        else:
            month = day.astype("datetime64[M]")
            target = month + count.astype("timedelta64[M]")
            last = (target + 1).astype("datetime64[D]") - 1
            same = target.astype("datetime64[D]") + (day - month.astype("datetime64[D]"))
            moved = last if self.month_end else np.minimum(same, last)
        return to_utc(np.asarray(moved.astype("datetime64[us]") + clock), self.zone)

    def range(self, start: np.datetime64 | int, count: int) -> TimeArray:
        """Return `count` times, the first one `start`.

        Example:
            >>> Frequency.parse("5").range(10, 3)
            array([10, 15, 20])
        """
        return self.advance(np.asarray(start), np.arange(count))

    def steps_and_exact(
        self, earlier: TimeArray, later: TimeArray
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Count the steps between times and say where the count is exact.

        Args:
            earlier: datetime64 (UTC) or int64.
            later: the same kind; both broadcast.

        Returns:
            Whole steps (rounded down where not exact) and a mask, True where `later` lies on the grid of
            `earlier`.

        Example:
            >>> daily = Frequency.parse("2d")
            >>> daily.steps_and_exact(np.array(["2024-01-01"], dtype="datetime64[us]"),
            ...                       np.array(["2024-01-05", "2024-01-06"], dtype="datetime64[us]"))
            (array([2, 2]), array([ True, False]))
        """
        if self.unit == "step":
            steps, rest = np.divmod(
                np.asarray(later, dtype=np.int64) - np.asarray(earlier, dtype=np.int64), self.every
            )
            return steps, rest == 0
        first, second = np.asarray(earlier, dtype="datetime64[us]"), np.asarray(later, dtype="datetime64[us]")
        if self.unit == "microsecond":
            steps, rest = np.divmod((second - first).astype(np.int64), self.every)
            return steps, rest == 0
        first, second = to_wall(first, self.zone), to_wall(second, self.zone)
        if self.unit == "day":
            steps, rest = np.divmod((second - first).astype(np.int64), self.every * _DAY)
            return steps, rest == 0
        first_day, second_day = first.astype("datetime64[D]"), second.astype("datetime64[D]")
        same_clock = (first - first_day) == (second - second_day)
        if self.unit == "business day":
            working = np.is_busday(first_day) & np.is_busday(second_day)
            steps, rest = np.divmod(
                np.asarray(np.busday_count(first_day, second_day), dtype=np.int64), self.every
            )
            return steps, np.asarray(working & same_clock & (rest == 0))
        months = second.astype("datetime64[M]").astype(np.int64) - first.astype("datetime64[M]").astype(
            np.int64
        )
        steps, rest = np.divmod(months, self.every)
        aligned = replace(self, zone=None).advance(first, steps) == second
        return steps, np.asarray(aligned & (rest == 0) & (self._is_anchor(first_day)))

    def _is_anchor(self, day: npt.NDArray[np.datetime64]) -> npt.NDArray[np.bool_]:
        if not self.month_end:
            return np.ones(day.shape, dtype=np.bool_)
        return np.asarray((day + 1).astype("datetime64[M]") != day.astype("datetime64[M]"))

    def steps_between(self, earlier: TimeArray, later: TimeArray) -> npt.NDArray[np.int64]:
        """Count the steps from `earlier` to `later`; both broadcast.

        Raises:
            ArgumentError: a time lies off the grid.

        Example:
            >>> quarterly = Frequency.parse("1q")
            >>> int(quarterly.steps_between(np.datetime64("2024-01-01"), np.datetime64("2025-01-01")))
            4
        """
        steps, exact = self.steps_and_exact(earlier, later)
        if not np.all(exact):
            wrong = np.broadcast_to(np.asarray(later), np.shape(exact))[~exact].ravel()[0]
            raise ArgumentError(f"{wrong} lies off the grid", where="times", expected=f"{self.label} steps")
        return steps

    def seasons(self) -> tuple[int, ...]:
        """Candidate season lengths in steps, shortest first: the day, the week, the year as the step allows.

        Example:
            >>> [Frequency.parse(alias).seasons() for alias in ("30m", "1d", "1mo")]
            [(48, 336), (7, 365), (12,)]
        """
        if self.unit == "microsecond":
            # The hour is a season of steps up to a minute only: coarser steps see too little of it.
            periods = (
                ((_MINUTE, _HOUR) if self.every < _MINUTE else (_HOUR,)) if self.every <= _MINUTE else ()
            )
            lengths = [
                period // self.every for period in (*periods, _DAY, 7 * _DAY) if period % self.every == 0
            ]
        elif self.unit == "day":
            weeks = [7 // self.every] if 7 % self.every == 0 else []
            lengths = [*weeks, 52 if self.every == 7 else round(365 / self.every)]
        elif self.unit == "business day":
            lengths = [5 // self.every] if 5 % self.every == 0 else []
            lengths.append(round(261 / self.every))
        elif self.unit == "month":
            lengths = [12 // self.every] if 12 % self.every == 0 else []
        else:
            lengths = []
        return tuple(sorted({length for length in lengths if length >= 2}))
