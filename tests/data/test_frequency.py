"""Frequencies: found in data, written and read, counted forwards and backwards, with and without zones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatestack.data.frequency import Frequency
from gatestack.data.frequency_inference import infer_frequency
from gatestack.data.zones import to_utc, to_wall
from gatestack.errors import ArgumentError, DataError

ALIASES = [
    "1h",
    "30m",
    "15m",
    "5m",
    "1m",
    "10s",
    "1s",
    "5ms",
    "6h",
    "1d",
    "2d",
    "1w",
    "2w",
    "B",
    "1mo",
    "1ME",
    "1q",
    "1QE",
    "1y",
    "1YE",
    "1",
    "5",
]


def stamps(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[us]")


def start_of(frequency: Frequency) -> np.datetime64 | int:
    if frequency.unit == "step":
        return 7
    return np.datetime64("2019-12-31" if frequency.month_end else "2020-01-01", "us")


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases_are_read_written_and_found_in_the_data(alias: str) -> None:
    frequency = Frequency.parse(alias)
    assert frequency.alias == alias
    times = frequency.range(start_of(frequency), 30)
    assert infer_frequency(times) == frequency


@pytest.mark.parametrize(
    ("alias", "label", "seasons"),
    [
        ("1h", "hourly", (24, 168)),
        ("30m", "30 minutes", (48, 336)),
        ("15T", "15 minutes", (96, 672)),
        ("1min", "every minute", (60, 1440, 10080)),
        ("2H", "2 hours", (12, 84)),
        ("7h", "7 hours", (24,)),
        ("D", "daily", (7, 365)),
        ("B", "business days", (5, 261)),
        ("W-SUN", "weekly", (52,)),
        ("MS", "monthly", (12,)),
        ("ME", "monthly", (12,)),
        ("1q", "quarterly", (4,)),
        ("1y", "yearly", ()),
        ("3", "every 3 steps", ()),
        ("1", "every step", ()),
        ("2w", "2 weeks", (26,)),
    ],
)
def test_labels_and_seasons(alias: str, label: str, seasons: tuple[int, ...]) -> None:
    frequency = Frequency.parse(alias)
    assert frequency.label == label
    assert frequency.seasons() == seasons


@pytest.mark.parametrize("text", ["", "1x", "h1", "0h", "-1h", "1.5h", "daily", "0", "H-SUN", "1h30m"])
def test_unknown_aliases_are_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match="frequency") as caught:
        Frequency.parse(text)
    assert "'1h'" in str(caught.value)


def test_impossible_frequencies_are_refused() -> None:
    with pytest.raises(ArgumentError, match="'every' is 0"):
        Frequency("day", 0)
    with pytest.raises(ArgumentError, match="'unit' is 'fortnight'"):
        Frequency("fortnight")  # type: ignore[arg-type]


frequencies = st.one_of(
    st.builds(Frequency, st.just("step"), st.integers(1, 100)),
    st.builds(
        Frequency,
        st.just("microsecond"),
        st.sampled_from([1, 1000, 10**6, 60 * 10**6, 1800 * 10**6, 3600 * 10**6]),
    ),
    st.builds(Frequency, st.just("day"), st.integers(1, 20)),
    st.builds(Frequency, st.just("business day")),
    st.builds(Frequency, st.just("month"), st.integers(1, 24)),
)


@given(frequencies, st.integers(0, 20_000), st.integers(-500, 500), st.integers(0, 500))
def test_advance_and_steps_between_undo_each_other(
    frequency: Frequency, day: int, back: int, steps: int
) -> None:
    if frequency.unit == "step":
        start = np.asarray(day)
    else:
        # The first of a month is a start for every unit but business days, which begin on a Monday.
        date = np.datetime64("1970-01-01", "D") + day
        first = date.astype("datetime64[M]").astype("datetime64[D]")
        start = (
            np.busday_offset(date, 0, roll="forward") if frequency.unit == "business day" else first
        ).astype("datetime64[us]")
    moved = frequency.advance(start, back)
    assert frequency.advance(moved, -back) == start
    assert frequency.steps_between(start, frequency.advance(start, steps)) == steps
    assert frequency.advance(frequency.advance(start, steps), back) == frequency.advance(start, steps + back)


@given(frequencies, st.lists(st.integers(1, 4), min_size=12, max_size=40))
def test_the_frequency_is_found_through_gaps(frequency: Frequency, gaps: list[int]) -> None:
    # More single steps than anything else, so that the step itself is the most common difference.
    places = np.cumsum([0, *[1] * (len(gaps) + 1), *gaps])
    if frequency.unit == "business day" and len(places) < 10:
        return
    start = np.datetime64("2020-01-01", "us") if frequency.unit != "step" else 0
    assert infer_frequency(frequency.advance(np.asarray(start), places)) == frequency


def test_month_ends_and_clipped_days() -> None:
    assert infer_frequency(stamps("2023-01-31", "2023-02-28", "2023-04-30")) == Frequency(
        "month", 1, month_end=True
    )
    assert infer_frequency(stamps("2023-01-15", "2023-02-15", "2023-03-15")) == Frequency("month", 1)
    end = Frequency.parse("ME").advance(stamps("2024-02-29"), np.arange(3)).astype("datetime64[D]")
    assert [str(day) for day in end] == ["2024-02-29", "2024-03-31", "2024-04-30"]
    clipped = Frequency.parse("1mo").advance(stamps("2024-01-30"), np.arange(3)).astype("datetime64[D]")
    assert [str(day) for day in clipped] == ["2024-01-30", "2024-02-29", "2024-03-30"]


def test_business_days_skip_weekends_and_keep_holidays_as_gaps() -> None:
    # Wednesday 4 July 2012 is missing.
    days = stamps("2012-06-29", "2012-07-02", "2012-07-03", "2012-07-05", "2012-07-06", "2012-07-09")
    frequency = infer_frequency(days)
    assert frequency == Frequency("business day")
    assert frequency.steps_between(days[:1], days).tolist() == [0, 1, 2, 4, 5, 6]
    assert not frequency.steps_and_exact(days[:1], stamps("2012-06-30"))[1].any()


def test_days_with_weekends_are_daily() -> None:
    assert infer_frequency(Frequency.parse("1d").range(np.datetime64("2024-01-01", "us"), 9)).alias == "1d"


def test_hours_are_absolute_and_days_follow_the_wall_clock() -> None:
    zone = "Europe/Berlin"  # the clock goes forward on 31 March 2024
    start = to_utc(stamps("2024-03-30T00:00"), zone)
    daily = Frequency("day", 1, zone=zone)
    noons = daily.advance(start, np.arange(4))
    assert np.diff(noons).astype("timedelta64[h]").astype(int).tolist() == [24, 23, 24]
    assert infer_frequency(noons, zone=zone) == daily
    hourly = Frequency("microsecond", 3_600_000_000, zone=zone)
    assert int(hourly.steps_between(noons[1], noons[2])) == 23
    assert infer_frequency(hourly.advance(start, np.arange(60)), zone=zone) == hourly


def test_wall_clock_and_instants() -> None:
    zone = "America/New_York"
    twice = to_utc(stamps("2024-11-03T01:30"), zone)  # shown twice: the earlier one
    assert str(twice[0].astype("datetime64[m]")) == "2024-11-03T05:30"
    never = to_utc(stamps("2024-03-10T02:30"), zone)  # left out: one hour later
    assert str(to_wall(never, zone)[0].astype("datetime64[m]")) == "2024-03-10T03:30"
    shaped = stamps("2024-07-01", "2024-12-01").reshape(2, 1)
    assert (to_utc(to_wall(shaped, zone), zone) == shaped).all()
    assert to_wall(shaped, None) is shaped


def test_one_time_has_no_frequency() -> None:
    with pytest.raises(DataError, match="one time per series") as caught:
        infer_frequency(stamps("2024-01-01"), where="rain.csv")
    assert "frequency='1h'" in str(caught.value)
    two_of_one = np.array([0, 1, 2])
    with pytest.raises(DataError, match="one time per series"):
        infer_frequency(stamps("2024-01-01", "2024-01-02"), two_of_one)


def test_times_off_the_grid_are_named() -> None:
    times = stamps("2024-01-01T00", "2024-01-01T01", "2024-01-01T02", "2024-01-01T03:17", "2024-01-01T04:17")
    with pytest.raises(DataError) as caught:
        infer_frequency(times, where="rain.csv")
    assert "between 2024-01-01 02:00 and 2024-01-01 03:17 is not a whole number" in str(caught.value)
    assert "hourly (1 such place)" in str(caught.value)


def test_a_change_of_step_inside_a_series_is_named() -> None:
    hours = Frequency.parse("1h").range(np.datetime64("2024-01-01", "us"), 40)
    days = Frequency.parse("1d").advance(hours[-1], np.arange(1, 20))
    with pytest.raises(DataError, match="19 steps in a row are 24 hours") as caught:
        infer_frequency(np.concatenate([hours, days]), where="rain.csv")
    assert "from 2024-01-02 15:00 on" in str(caught.value)
    assert "the rest is hourly" in str(caught.value)


def test_series_of_different_steps_are_named() -> None:
    hours = Frequency.parse("1h").range(np.datetime64("2024-01-01", "us"), 40)
    days = Frequency.parse("1d").range(np.datetime64("2024-01-01", "us"), 9)
    with pytest.raises(DataError) as caught:
        infer_frequency(
            np.concatenate([hours, days]), np.array([0, 40, 49]), keys=("north", "south"), where="rain.csv"
        )
    assert "series 'south'" in str(caught.value.where)
    assert "that of the whole table is hourly" in caught.value.what


def test_short_series_need_only_fit_the_grid() -> None:
    long = np.arange(0, 50)
    times = np.concatenate([long, [3, 9]])
    assert infer_frequency(times, np.array([0, 50, 52])) == Frequency("step", 1)


def test_times_that_do_not_increase_are_refused() -> None:
    with pytest.raises(ArgumentError, match="do not increase"):
        infer_frequency(np.array([1, 2, 2]))


def test_steps_between_refuses_times_off_the_grid() -> None:
    with pytest.raises(ArgumentError, match="2024-01-02T05"):
        Frequency.parse("1d").steps_between(stamps("2024-01-01"), stamps("2024-01-02", "2024-01-02T05"))
