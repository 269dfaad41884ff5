"""Calendar features inside an ONNX graph, from whole numbers: the formulas of `calendar_encoding.py`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatestack.convert.onnx.terms import Term, concat, constant, where

__all__ = ["calendar"]

_MINUTE_US, _HOUR_US, _DAY_US = 60_000_000, 3_600_000_000, 86_400_000_000
_WITHIN = {"second": _MINUTE_US, "minute": _HOUR_US, "hour": _DAY_US}
# Days of a common year before each month, and in it.
_BEFORE = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334])
_LENGTH = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def calendar(times: Term, names: tuple[str, ...]) -> Term:
    """Compute calendar features.

    Args:
        times: int64 (N, T), microseconds since 1970 on the wall clock that matters.
        names: of the features, one or more.

    Returns:
        float32 (N, T, 2 · names): sine and cosine of each.
    """
    angles = [_position(times, name) * (2.0 * np.pi) for name in names]
    return concat(2, *(wave for angle in angles for wave in _on_the_circle(angle)))


def _on_the_circle(angle: Term) -> tuple[Term, Term]:
    sine, cosine = (angle.op(name).to("float32").axes(2) for name in ("Sin", "Cos"))
    return sine, cosine


def _position(times: Term, name: str) -> Term:
    """Position in the period, float64 in [0, 1)."""
    if name in _WITHIN:
        return (times % _WITHIN[name]).to("float64") / _WITHIN[name]
    day = times // _DAY_US
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday
    if name == "day_of_week":
        return weekday.to("float64") / 7
    if name == "week_of_year":
        # The ISO week of a day is that of its Thursday, counted in the Thursday's year.
        thursday = _date(day - weekday + 3)
        return (thursday.day_of_year() // 7).to("float64") / 53
    date = _date(day)
    if name == "month":
        return date.month.to("float64") / 12
    if name == "day_of_month":
        february = date.month.equals(1)
        length = constant(times, _LENGTH).pick(0, date.month) + where(february, date.leap, 0)
        return date.day.to("float64") / length.to("float64")
    return date.day_of_year().to("float64") / (date.leap + 365).to("float64")


@dataclass(frozen=True)
class _Date:
    """Month (January 0), day of the month (the first 0), and 1 in a leap year, else 0; all int64."""

    month: Term
    day: Term
    leap: Term

    def day_of_year(self) -> Term:
        """Days since the first of January."""
        after_february = self.month > 1
        days = constant(self.month, _BEFORE).pick(0, self.month) + self.day
        return days + where(after_february, self.leap, 0)


def _date(day: Term) -> _Date:
    """Find the date of days since 1970.

    Years are counted from the first of March, so that the leap day comes last, in eras of 400 years, which
    all have 146 097 days (proleptic Gregorian calendar; Hinnant 2013, "chrono-Compatible Low-Level Date
    Algorithms", civil_from_days).
    """
    since = day + 719_468  # days from 0000-03-01 to 1970-01-01
    in_era = since % 146_097
    # Leap days before it: one in 4 years (1 460 days and it), none in 100, one in 400. All are not negative
    # here, so that ONNX's division, which cuts towards zero, rounds down.
    year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365
    in_year = in_era - (year * 365 + year / 4 - year / 100)
    # From March on, every 5 months have 153 days.
    from_march = (in_year * 5 + 2) / 153
    month = (from_march + 2) % 12
    # January and February belong to the year after.
    civil = (since // 146_097) * 400 + year + (month < 2).to("int64")
    leap = ((civil % 4).equals(0) & ~(civil % 100).equals(0)) | (civil % 400).equals(0)
    return _Date(month, in_year - (from_march * 153 + 2) / 5, leap.to("int64"))
