"""Time columns: every form that can be read in one way is read, the others are refused with row and value."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from gatestack.data.time_column import TimeKind, looks_like_time, read_time
from gatestack.errors import DataError


@pytest.mark.parametrize(
    ("text", "time", "kind"),
    [
        ("2024-01-30", "2024-01-30", "date"),
        ("2024/1/30", "2024-01-30", "date"),
        ("20240130", "2024-01-30", "date"),
        ("30.01.2024", "2024-01-30", "date"),
        ("30/01/2024", "2024-01-30", "date"),
        ("01/30/2024", "2024-01-30", "date"),
        ("2024-03", "2024-03-01", "date"),
        ("2024Q4", "2024-10-01", "date"),
        ("2024-q1", "2024-01-01", "date"),
        (" 2024-01-30 ", "2024-01-30", "date"),
        ("2024-01-30 06:05:00", "2024-01-30T06:05", "datetime"),
        ("2024-01-30T06:05", "2024-01-30T06:05", "datetime"),
        ("2024-01-30 06:05:00.25", "2024-01-30T06:05:00.25", "datetime"),
        ("30.01.2024 6:05", "2024-01-30T06:05", "datetime"),
        ("01/30/2024 6:05 PM", "2024-01-30T18:05", "datetime"),
        ("20240130T06:05", "2024-01-30T06:05", "datetime"),
        ("2024-01-30T06:05:00Z", "2024-01-30T06:05", "datetime"),
        ("2024-01-30T06:05:00+02:00", "2024-01-30T04:05", "datetime"),
        ("2024-01-30 06:05-0330", "2024-01-30T09:35", "datetime"),
        ("2024-01-30T06:05+05", "2024-01-30T01:05", "datetime"),
    ],
)
def test_text_is_read(text: str, time: str, kind: str) -> None:
    times, found = read_time(pl.Series("ds", [text]))
    assert times.dtype == np.dtype("datetime64[us]")
    assert times[0] == np.datetime64(time)
    assert found.kind == kind
    has_zone = text.endswith(("Z", "+02:00", "-0330", "+05"))
    assert found.zone == ("UTC" if has_zone else None)
    assert looks_like_time(pl.Series([text]))


@pytest.mark.parametrize(
    ("values", "row", "words", "hint"),
    [
        (["2024-01-01", "soon"], 1, "'soon' is not a time", "correct the value"),
        (["soon"], 0, "'soon' is not a time", "correct the value"),
        (["2024-02-30"], 0, "'2024-02-30' is not a time", "correct the value"),
        (["2024-01-01", "2024-01-01 05:00"], 1, "not a time", "correct the value"),
        (["13/01/2024", "01/13/2024"], 1, "'01/13/2024' is not a time", "correct the value"),
        (["01/02/2024", "03/04/2024"], 0, "day and the month cannot be told apart", "year-month-day"),
        (["1/2/24"], 0, "year of two digits", "in full"),
        (["24-01-31 06:00"], 0, "year of two digits", "in full"),
        (["2024-01-30T06:00Z", "2024-01-30T07:00"], 1, "zones are mixed", "UTC"),
        (["2024-01-30T06:00+01:00", "2024-01-30T07:00+02:00"], 1, "zones are mixed", "UTC"),
        (["2024-01-30", None], 1, "missing in 1 row", "fill"),
    ],
)
def test_unreadable_text_is_refused(values: list[str | None], row: int, words: str, hint: str) -> None:
    with pytest.raises(DataError) as caught:
        read_time(pl.Series("ds", values, dtype=pl.String), source="rain")
    assert caught.value.where == f"rain, row {row} (from 0), column 'ds'"
    assert words in caught.value.what
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("dtype", [pl.Float64, pl.Boolean, pl.Time, pl.Duration])
def test_other_types_are_refused(dtype: pl.DataType) -> None:
    with pytest.raises(DataError, match="time column is of type"):
        read_time(pl.Series("ds", [0]).cast(pl.Int64).cast(dtype))


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("ds", [dt.date(2024, 1, 30), dt.date(1969, 1, 1)]),
        pl.Series("ds", [dt.datetime(2024, 1, 30, 5)], dtype=pl.Datetime("ms")),
        pl.Series("ds", [dt.datetime(2024, 1, 30, 5)], dtype=pl.Datetime("ns")),
        pl.Series("ds", [dt.datetime(2024, 7, 30, 5)], dtype=pl.Datetime("us", "Europe/Berlin")),
        pl.Series("ds", [1, 5], dtype=pl.Int32),
        pl.Series("ds", [1, 5], dtype=pl.UInt8),
        pl.Series("ds", [-3, 5], dtype=pl.Int64),
    ],
    ids=str,
)
def test_times_come_back_in_their_own_type(column: pl.Series) -> None:
    times, kind = read_time(column)
    back = kind.to_series(times, "ds")
    assert back.dtype == column.dtype
    assert back.equals(column)


def test_a_zone_is_kept_and_times_are_in_utc() -> None:
    column = pl.Series("ds", [dt.datetime(2024, 7, 1, 12)]).dt.replace_time_zone("Europe/Berlin")
    times, kind = read_time(column)
    assert times[0] == np.datetime64("2024-07-01T10:00")
    assert kind == TimeKind("datetime", "us", "Europe/Berlin")


def test_finer_than_a_microsecond_is_refused() -> None:
    with pytest.raises(DataError, match="finer than a microsecond") as caught:
        read_time(pl.Series("ds", [1000, 1001]).cast(pl.Datetime("ns")))
    assert "row 1 (from 0)" in str(caught.value)


def test_dates_written_as_whole_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="are dates: 20240131") as caught:
        read_time(pl.Series("ds", [20240131, 20240201]))
    assert "%Y%m%d" in (caught.value.hint or "")
    times, _ = read_time(pl.Series("ds", [20240131, 20240132]))  # no date: counts steps
    assert times.tolist() == [20240131, 20240132]


def test_words_do_not_look_like_time() -> None:
    for values in (["sun"], ["1.5"], [None], ["H1"]):
        assert not looks_like_time(pl.Series(values, dtype=pl.String))
    assert not looks_like_time(pl.Series([1.5]))
