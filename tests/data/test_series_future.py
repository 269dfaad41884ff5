"""The known future: read for each series and step, refused where something is missing."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gatestack.data.series_future import future_values, split_horizon
from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError, DataError

HISTORY = pl.DataFrame(
    {
        "site": ["b", "b", "a", "a"],
        "day": [dt.date(2024, 1, 1), dt.date(2024, 1, 2)] * 2,
        "rain": [1.0, 2.0, 3.0, 4.0],
        "open": [1, 0, 1, 0],
    }
)
FUTURE = pl.DataFrame(
    {
        "site": ["a", "b", "a", "b", "a"],
        "day": [dt.date(2024, 1, day) for day in (3, 3, 4, 4, 5)],
        "open": [31, 32, 41, 42, 51],
    }
)


@pytest.fixture
def table() -> SeriesTable:
    return SeriesTable.from_frame(HISTORY, target="rain", series="site", future=["open"])


def test_values_go_to_their_series_and_step(table: SeriesTable) -> None:
    assert future_values(table, FUTURE, 2).tolist() == [[[32], [42]], [[31], [41]]]


def test_a_calendar_that_covers_the_past_too_will_do(table: SeriesTable) -> None:
    covering = pl.concat([HISTORY.drop("rain"), FUTURE])
    assert np.array_equal(future_values(table, covering.to_pandas(), 2), future_values(table, FUTURE, 2))


def test_nothing_known_is_an_empty_array() -> None:
    table = SeriesTable.from_frame(HISTORY, target="rain", series="site")
    assert future_values(table, FUTURE, 3).shape == (2, 3, 0)


def refusal(table: SeriesTable, frame: object, horizon: int = 2) -> DataError:
    with pytest.raises(DataError) as caught:
        future_values(table, frame, horizon)
    return caught.value


def test_a_future_without_rows_lacks_all_of_them(table: SeriesTable, tmp_path: Path) -> None:
    rows = "4 rows are missing, first series 'b' at 2024-01-03 (step 1 of 2), columns open"
    assert rows in refusal(table, FUTURE.head(0)).what
    # As a file gives them: text, of which no first time tells the kind.
    assert rows in refusal(table, FUTURE.head(0).cast(pl.String)).what
    history = tmp_path / "history.csv"
    HISTORY.write_csv(history)
    _, ahead = split_horizon(history, target="rain", time="day", series="site")
    assert rows in refusal(table, ahead).what


def test_missing_rows_name_series_time_and_column(table: SeriesTable) -> None:
    error = refusal(table, FUTURE, 3)
    assert "1 rows are missing, first series 'b' at 2024-01-05 (step 3 of 3), columns open" in error.what
    assert "3 daily steps" in (error.expected or "")


def test_missing_columns_are_named(table: SeriesTable) -> None:
    error = refusal(table, FUTURE.rename({"open": "opn"}))
    assert "lacks the column open" in error.what
    assert "did you mean 'opn'?" in (error.hint or "")
    assert "past=" in (error.hint or "")


def test_missing_values_name_series_and_row(table: SeriesTable) -> None:
    error = refusal(table, FUTURE.with_columns(open=pl.Series([31, 32, 41, None, 51])))
    assert error.where == "future frame, row 3 (from 0), column 'open'"
    assert "missing for step 2 of series 'b'" in error.what


def test_bad_numbers_name_their_row(table: SeriesTable, tmp_path: Path) -> None:
    path = tmp_path / "future.csv"
    path.write_text("site,day,open\na,2024-01-01,9\na,2024-01-03,1\nb,2024-01-03,shut\n")
    error = refusal(table, path, 1)
    assert error.where == f"{path}, line 4, column 'open'"
    assert "'shut' is not a number" in error.what


def test_unknown_series_repeated_times_and_odd_times_are_refused(table: SeriesTable) -> None:
    unknown = FUTURE.with_columns(site=pl.col("site").replace("b", "c"))
    assert "1 series of the future is not in the history: 'c'" in refusal(table, unknown).what
    twice = pl.concat([FUTURE, FUTURE.head(1)])
    error = refusal(table, twice)
    assert error.where == "future frame, row 5 (from 0), column 'day'"
    assert "2024-01-03 repeats" in error.what
    noon = FUTURE.with_columns(day=pl.col("day").cast(pl.Datetime("us")) + pl.duration(hours=12))
    assert "lies off the grid" in refusal(table, noon).what
    numbered = FUTURE.with_columns(day=pl.Series([3, 3, 4, 4, 5]))
    assert "another kind" in refusal(table, numbered).what


def test_the_horizon_must_be_positive(table: SeriesTable) -> None:
    with pytest.raises(ArgumentError, match="horizon is 0"):
        future_values(table, FUTURE, 0)


def test_a_frame_is_cut_into_history_and_future() -> None:
    frame = pl.concat([HISTORY, FUTURE.with_columns(rain=pl.lit(None, dtype=pl.Float64))], how="diagonal")
    holes = frame.with_columns(rain=pl.Series([None, 2.0, 3.0, 4.0, *[None] * 5]))
    history, future = split_horizon(holes, target="rain", time="day", series="site")
    assert history.equals(holes.head(4))
    assert future.equals(FUTURE.select(future.columns))
    with_nan = pl.DataFrame({"ds": [1, 2, 3], "y": [1.0, float("nan"), float("nan")]})
    assert split_horizon(with_nan, target="y", time="ds")[0].height == 1
    with pytest.raises(ArgumentError, match="did you mean 'rain'"):
        split_horizon(frame, target="rian", time="day")
    with pytest.raises(ArgumentError, match=r"^rain\.csv: there is no column 'rian'"):
        split_horizon(frame, target="rian", time="day", source="rain.csv")
