"""Calendar features against Python's own calendar."""

from __future__ import annotations

import calendar
import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatestack.data.calendar_encoding import CALENDAR_NAMES, calendar_features, calendar_names_for
from gatestack.data.frequency import Frequency
from gatestack.errors import ArgumentError


def positions(time: dt.datetime) -> dict[str, float]:
    second = time.second + time.microsecond / 1e6
    minute = time.minute + second / 60
    days = 366 if calendar.isleap(time.year) else 365
    return {
        "second": second / 60,
        "minute": minute / 60,
        "hour": (time.hour + minute / 60) / 24,
        "day_of_week": time.weekday() / 7,
        "day_of_month": (time.day - 1) / calendar.monthrange(time.year, time.month)[1],
        "day_of_year": (time.timetuple().tm_yday - 1) / days,
        "week_of_year": (time.isocalendar().week - 1) / 53,
        "month": (time.month - 1) / 12,
    }


@given(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1)))
def test_features_agree_with_the_calendar_of_python(time: dt.datetime) -> None:
    values, names = calendar_features(np.array([time], dtype="datetime64[us]"), CALENDAR_NAMES)
    assert values.dtype == np.float32
    expected = positions(time)
    for name in CALENDAR_NAMES:
        angle = 2 * np.pi * expected[name]
        assert values[0, names.index(f"{name}_sin")] == pytest.approx(np.sin(angle), abs=1e-5)
        assert values[0, names.index(f"{name}_cos")] == pytest.approx(np.cos(angle), abs=1e-5)


def test_slices_give_the_rows_of_the_whole() -> None:
    times = Frequency.parse("1h").range(np.datetime64("2024-01-01", "us"), 100)
    whole, _ = calendar_features(times, ["hour", "day_of_week"])
    part, _ = calendar_features(times[40:60], ["hour", "day_of_week"])
    assert np.array_equal(whole[40:60], part)
    shaped, _ = calendar_features(times.reshape(10, 10), ["hour", "day_of_week"])
    assert np.array_equal(shaped.reshape(100, 4), whole)


@pytest.mark.parametrize(
    ("alias", "names"),
    [
        ("10s", ("second", "minute", "hour", "day_of_week", "day_of_year")),
        ("15m", ("minute", "hour", "day_of_week", "day_of_year")),
        ("30m", ("hour", "day_of_week", "day_of_year")),
        ("1d", ("day_of_week", "day_of_year")),
        ("B", ("day_of_week", "day_of_year")),
        ("1w", ("day_of_year",)),
        ("1mo", ("month",)),
        ("1q", ("month",)),
        ("1y", ()),
        ("3", ()),
    ],
)
def test_auto_follows_the_frequency(alias: str, names: tuple[str, ...]) -> None:
    frequency = Frequency.parse(alias)
    assert calendar_names_for(frequency) == names
    start = 0 if frequency.unit == "step" else np.datetime64("2024-01-01", "us")
    times = frequency.range(start, 20)
    for given_frequency in (frequency, None):
        values, found = calendar_features(times, "auto", frequency=given_frequency)
        assert found == tuple(f"{name}_{part}" for name in names for part in ("sin", "cos"))
        assert values.shape == (20, 2 * len(names))


def test_whole_numbers_have_no_calendar_and_names_are_checked() -> None:
    with pytest.raises(ArgumentError, match="have no hour"):
        calendar_features(np.arange(3), ["hour"])
    with pytest.raises(ArgumentError, match="did you mean 'hour'"):
        calendar_features(np.array(["2024-01-01"], dtype="datetime64[us]"), ["hours"])
    with pytest.raises(ArgumentError, match="'all'"):
        calendar_features(np.arange(3), "all")  # type: ignore[arg-type]
