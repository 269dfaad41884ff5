"""Features of the calendar: where a time stands in its day, week and year, as points on a circle.

Each feature is a pair (sin 2πp, cos 2πp), with p in [0, 1) the position in the period, so that 23 h is next
to 0 h.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from gatestack.data.frequency import Frequency
from gatestack.data.frequency_inference import infer_frequency
from gatestack.errors import ArgumentError, nearest_name, quote_value

__all__ = ["CALENDAR_NAMES", "CalendarName", "calendar_features", "calendar_names_for"]

CalendarName: TypeAlias = Literal[
    "second", "minute", "hour", "day_of_week", "day_of_month", "day_of_year", "week_of_year", "month"
]
CALENDAR_NAMES: tuple[CalendarName, ...] = get_args(CalendarName)

_MINUTE_US, _HOUR_US, _DAY_US = 60_000_000, 3_600_000_000, 86_400_000_000


def calendar_names_for(frequency: Frequency) -> tuple[CalendarName, ...]:
    """Choose the features that vary from step to step and are not told by a coarser one.

    Args:
        frequency: step of the times.

    Returns:
        Names; none for whole-number times and for years.

    Example:
        >>> calendar_names_for(Frequency.parse("1h")), calendar_names_for(Frequency.parse("1mo"))
        (('hour', 'day_of_week', 'day_of_year'), ('month',))
    """
    if frequency.unit == "microsecond":
        fine: tuple[CalendarName, ...] = ()
        if frequency.every < _MINUTE_US:
            fine += ("second",)
        if frequency.every <= _HOUR_US // 4:
            fine += ("minute",)
        return (*fine, "hour", "day_of_week", "day_of_year")
    if frequency.unit == "business day" or (frequency.unit == "day" and frequency.every % 7):
        return ("day_of_week", "day_of_year")
    if frequency.unit == "day":
        return ("day_of_year",)
    if frequency.unit == "month" and frequency.every % 12:
        return ("month",)
    return ()


def calendar_features(
    times: npt.NDArray[np.datetime64] | npt.NDArray[np.int64],
    names: Sequence[str] | Literal["auto"] = "auto",
    *,
    frequency: Frequency | None = None,
) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Compute calendar features.

    Positions p: `second` of the minute, `minute` of the hour and `hour` of the day are continuous (06:30 is
    6.5/24); `day_of_week` is weekday/7 with Monday 0; `day_of_month` (day - 1)/days of the month;
    `day_of_year` (day - 1)/days of the year; `week_of_year` (ISO week - 1)/53; `month` (month - 1)/12.

    Args:
        times: datetime64, shape (T,) or any other, on the wall clock that matters (`SeriesTable.wall_times`).
        names: names out of `CALENDAR_NAMES`, or "auto" for those that the frequency calls for.
        frequency: step of the times, used by "auto"; None finds it in the times.

    Returns:
        float32 of shape (T, 2 · names), and the names `hour_sin`, `hour_cos`, ….

    Raises:
        ArgumentError: an unknown name, or names for whole-number times, which have no calendar.

    Example:
        >>> values, names = calendar_features(np.array(["2024-01-01T06"], dtype="datetime64[us]"), ["hour"])
        >>> names, values.round(3)
        (('hour_sin', 'hour_cos'), array([[1., 0.]], dtype=float32))
    """
    stamps: npt.NDArray[Any] = np.asarray(times)
    is_date = stamps.dtype.kind == "M"
    if isinstance(names, str):
        if names != "auto":
            raise ArgumentError(
                f"the calendar features are {quote_value(names)}",
                where="calendar",
                expected="'auto' or a list of names",
            )
        if not is_date:
            chosen: tuple[str, ...] = ()
        else:
            chosen = calendar_names_for(frequency or infer_frequency(stamps))
    else:
        chosen = tuple(names)
    for name in chosen:
        if name not in CALENDAR_NAMES:
            raise ArgumentError(
                f"there is no calendar feature {quote_value(name)}",
                where="calendar",
                hint=nearest_name(name, CALENDAR_NAMES),
            )
    if chosen and not is_date:
        raise ArgumentError(
            f"the times are whole numbers and have no {chosen[0]}",
            where="calendar",
            expected="dates or date times",
        )
    values = np.empty((*stamps.shape, 2 * len(chosen)), dtype=np.float32)
    for index, name in enumerate(chosen):
        angle = 2.0 * np.pi * _position(stamps, name)
        values[..., 2 * index] = np.sin(angle)
        values[..., 2 * index + 1] = np.cos(angle)
    return values, tuple(f"{name}_{part}" for name in chosen for part in ("sin", "cos"))


def _position(times: npt.NDArray[np.datetime64], name: str) -> npt.NDArray[np.float64]:
    """Position in the period, in [0, 1)."""
    within = {"second": _MINUTE_US, "minute": _HOUR_US, "hour": _DAY_US}
    if name in within:
        return np.asarray(times.astype("datetime64[us]").astype(np.int64) % within[name] / within[name])
    day = times.astype("datetime64[D]")
    if name == "day_of_week":
        return np.asarray((day.astype(np.int64) + 3) % 7 / 7)  # 1970-01-01 was a Thursday
    if name == "week_of_year":
        # The ISO week of a day is that of its Thursday, counted in the Thursday's year.
        thursday = day - ((day.astype(np.int64) + 3) % 7).astype("timedelta64[D]") + np.timedelta64(3, "D")
        return np.asarray((thursday - _start(thursday, "Y")).astype(np.int64) // 7 / 53)
    if name == "month":
        return np.asarray(day.astype("datetime64[M]").astype(np.int64) % 12 / 12)
    unit: Literal["M", "Y"] = "M" if name == "day_of_month" else "Y"
    start = _start(day, unit)
    following = (day.astype(f"datetime64[{unit}]") + 1).astype("datetime64[D]")
    return np.asarray((day - start).astype(np.int64) / (following - start).astype(np.int64))


def _start(day: npt.NDArray[np.datetime64], unit: Literal["M", "Y"]) -> npt.NDArray[np.datetime64]:
    return day.astype(f"datetime64[{unit}]").astype("datetime64[D]")
