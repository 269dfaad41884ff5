"""From a frame to series: roles, grids, masks, and every bad input with its place."""

from __future__ import annotations

import datetime as dt
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatestack.data.frequency import Frequency
from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError, DataError, GatestackError


def days(count: int, start: str = "2024-01-01") -> list[dt.date]:
    first = dt.date.fromisoformat(start)
    return [first + dt.timedelta(days=day) for day in range(count)]


def two_series() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "site": ["b", "b", "b", "a", "a", "a"],
            "day": days(3) * 2,
            "rain": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "wind": [9, 8, 7, 6, 5, 4],
            "holiday": [True, False, False, True, False, True],
            "height": [100, 100, 100, 20, 20, 20],
            "word": ["x", "y", "z", "x", "y", "z"],
        }
    )


def refusal(kind: type[GatestackError], frame: object, **options: object) -> GatestackError:
    with pytest.raises(kind) as caught:
        SeriesTable.from_frame(frame, **options)  # type: ignore[arg-type]
    return caught.value


def csv(folder: Path, text: str) -> Path:
    path = folder / "rain.csv"
    path.write_text(text)
    return path


# --- what is read -----------------------------------------------------------------------------------------


def test_features_keys_and_static_values() -> None:
    table = SeriesTable.from_frame(
        two_series(), target="rain", series="site", past=["wind"], future=["holiday"], static=["height"]
    )
    sequences = table.sequences
    assert sequences.keys == ("b", "a")
    assert sequences.names == ("rain", "wind", "holiday")
    assert sequences.values.dtype == np.float32
    assert sequences.values.tolist() == [[1, 9, 1], [2, 8, 0], [3, 7, 0], [4, 6, 1], [5, 5, 0], [6, 4, 1]]
    assert sequences.offsets.tolist() == [0, 3, 6]
    assert sequences.observed is None
    assert sequences.static is not None
    assert sequences.static.tolist() == [[100], [20]]
    assert table.columns.static == ("height",)
    assert table.columns.time == "day"
    assert table.frequency.label == "daily"
    assert table.gaps.is_empty()


def test_every_kind_of_frame_gives_the_same_series(tmp_path: Path) -> None:
    frame = two_series()
    frame.write_csv(tmp_path / "t.csv")
    frame.write_parquet(tmp_path / "t.parquet")
    reference = SeriesTable.from_frame(frame, target="rain", series="site", past=["wind"])
    for given_frame in (
        frame.to_pandas(),
        frame.to_arrow(),
        frame.lazy(),
        tmp_path / "t.csv",
        str(tmp_path / "t.parquet"),
    ):
        table = SeriesTable.from_frame(given_frame, target="rain", series="site", past=["wind"])
        assert np.array_equal(table.sequences.values, reference.sequences.values)
        assert np.array_equal(table.times, reference.times)
        assert table.sequences.keys == reference.sequences.keys


def test_nixtla_names_are_recognised() -> None:
    table = SeriesTable.from_frame(pl.DataFrame({"unique_id": [7, 7, 9], "ds": [1, 2, 1], "y": [1, 2, 3]}))
    assert (table.columns.series, table.columns.time, table.columns.target) == ("unique_id", "ds", "y")
    assert table.sequences.keys == ("7", "9")
    assert table.series_keys.to_list() == [7, 9]


def test_rows_of_series_may_be_mixed() -> None:
    frame = two_series()
    mixed = frame[[3, 0, 1, 4, 2, 5]]
    table = SeriesTable.from_frame(mixed, target="rain", series="site", static=["height"])
    assert table.sequences.keys == ("a", "b")
    assert table.sequences.values[:, 0].tolist() == [4, 5, 6, 1, 2, 3]
    assert table.sequences.static is not None
    assert table.sequences.static[:, 0].tolist() == [20, 100]
    gappy = SeriesTable.from_frame(
        frame[[3, 0, 1, 4, 2, 5, 5]].with_columns(
            day=pl.Series(
                np.array(
                    [
                        "2024-01-01",
                        "2024-01-01",
                        "2024-01-02",
                        "2024-01-02",
                        "2024-01-04",
                        "2024-01-03",
                        "2024-01-05",
                    ],
                    dtype="datetime64[D]",
                )
            )
        ),
        target="rain",
        series="site",
    )
    assert gappy.sequences.values[:, 0].tolist() == [4, 5, 6, 0, 6, 1, 2, 0, 3]
    assert gappy.gaps.rows() == [
        ("a", dt.date(2024, 1, 3), dt.date(2024, 1, 5), 1),
        ("b", dt.date(2024, 1, 2), dt.date(2024, 1, 4), 1),
    ]


def test_missing_values_and_missing_times_are_masked_and_gaps_reported() -> None:
    frame = pl.DataFrame(
        {"ds": [*days(2), *days(2, "2024-01-05")], "y": [1.0, None, float("nan"), 4.0], "x": [1, 2, 3, 4]}
    )
    table = SeriesTable.from_frame(frame, past=["x"])
    assert table.sequences.values.tolist() == [[1, 1], [0, 2], [0, 0], [0, 0], [0, 3], [4, 4]]
    assert table.sequences.observed is not None
    assert table.sequences.observed.T.tolist() == [[1, 0, 0, 0, 0, 1], [1, 1, 0, 0, 1, 1]]
    assert [str(day) for day in table.times.astype("datetime64[D]")[2:4]] == ["2024-01-03", "2024-01-04"]
    assert table.gaps.rows() == [("y", dt.date(2024, 1, 2), dt.date(2024, 1, 5), 2)]


@given(st.lists(st.lists(st.integers(1, 3), min_size=3, max_size=8), min_size=1, max_size=4), st.randoms())
def test_each_value_lands_on_its_own_step(gaps: list[list[int]], random: object) -> None:
    rows = [
        (f"s{series}", int(time), float(100 * series + time))
        for series, steps in enumerate(gaps)
        for time in np.cumsum([series, *steps])
    ]
    # Mix the series, keeping the order of time in each.
    order = [row[0] for row in rows]
    random.shuffle(order)  # type: ignore[attr-defined]
    queues = {key: [row for row in rows if row[0] == key] for key in set(order)}
    frame = pl.DataFrame([queues[key].pop(0) for key in order], schema=["unique_id", "ds", "y"], orient="row")
    table = SeriesTable.from_frame(frame, frequency=1)
    observed = table.sequences.observed
    seen = np.ones(len(table.times), dtype=bool) if observed is None else observed[:, 0]
    series = np.repeat([int(key[1:]) for key in table.sequences.keys or ()], np.diff(table.sequences.offsets))
    assert np.array_equal(table.sequences.values[seen, 0], (100 * series + table.times)[seen])
    assert seen.sum() == len(rows)
    assert (~seen).sum() == table.gaps["missing_steps"].sum()
    assert np.all(table.sequences.values[~seen] == 0)


def test_numbers_in_text_and_truth_values_are_numbers() -> None:
    frame = pl.DataFrame({"ds": [1, 2, 3], "y": [" 1.5", "NA", "-2e3"], "x": ["TRUE", "FALSE", "TRUE"]})
    table = SeriesTable.from_frame(frame, future=["x"])
    assert table.sequences.values.tolist() == [[1.5, 1], [0, 0], [-2000, 1]]


def test_float64_is_kept_when_asked_for() -> None:
    frame = pl.DataFrame({"ds": [1, 2], "y": [0.1, 1e300]})
    assert SeriesTable.from_frame(frame, dtype="float64").sequences.values[:, 0].tolist() == [0.1, 1e300]


def test_forecasts_come_in_the_users_names_and_types() -> None:
    table = SeriesTable.from_frame(two_series(), target="rain", series="site")
    assert table.forecast_frame(2).rows() == [
        ("b", dt.date(2024, 1, 4)),
        ("b", dt.date(2024, 1, 5)),
        ("a", dt.date(2024, 1, 4)),
        ("a", dt.date(2024, 1, 5)),
    ]
    stamps = pd.date_range("2024-03-30", periods=3, freq="D", tz="Europe/Berlin")
    zoned = SeriesTable.from_frame(pd.DataFrame({"ds": stamps, "y": [1, 2, 3]}))
    ahead = zoned.forecast_frame(1)["ds"]
    assert ahead.dtype.time_zone == "Europe/Berlin"  # type: ignore[attr-defined]
    assert str(ahead[0]) == "2024-04-02 00:00:00+02:00"
    assert zoned.wall_times[-1] == np.datetime64("2024-04-01")
    assert zoned.times[-1] == np.datetime64("2024-03-31T22:00")


def test_a_given_frequency_takes_wide_steps_as_gaps() -> None:
    frame = pl.DataFrame({"ds": [0, 10, 20], "y": [1, 2, 3]})
    table = SeriesTable.from_frame(frame, frequency=5)
    assert table.sequences.values[:, 0].tolist() == [1, 0, 2, 0, 3]
    one = SeriesTable.from_frame(pl.DataFrame({"ds": days(1), "y": [1]}), frequency="1d")
    assert one.forecast_frame(1).rows() == [(dt.date(2024, 1, 2),)]
    ends = pl.DataFrame({"ds": [dt.date(2024, 1, 31), dt.date(2024, 2, 29)], "y": [1, 2]})
    assert SeriesTable.from_frame(ends, frequency="1mo").frequency == Frequency("month", 1, month_end=True)


# --- which column is which --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "what", "hint"),
    [
        ({"target": "rian"}, "no column 'rian' for target=", "did you mean 'rain'?"),
        ({"target": "rain", "time": "dya"}, "no column 'dya' for time=", "did you mean 'day'?"),
        ({"target": "rain", "time": "index"}, "no column 'index'", "reset_index"),
        ({"target": "rain", "series": "sites"}, "no column 'sites' for series=", "did you mean 'site'?"),
        (
            {"target": "rain", "past": ["wnd", "zzz"]},
            "'wnd' for past=; 1 more absent: zzz",
            "did you mean 'wind'?",
        ),
        ({"target": "rain", "past": "wnd"}, "'wnd' for past=", "did you mean 'wind'?"),
        ({"target": "rain", "past": ["rain"]}, "'rain' is named in target= and past=", "as target only"),
        ({"target": "rain", "past": ["wind", "wind"]}, "'wind' is named in past= twice", ""),
        ({}, "no target column is named, and there is no column 'y'", "there are: site, day"),
    ],
)
def test_wrong_names_are_refused(options: dict[str, object], what: str, hint: str) -> None:
    error = refusal(ArgumentError, two_series(), **options)
    assert error.where == "frame"
    assert what in error.what
    assert hint in (error.hint or "")


def test_the_time_column_is_found_or_asked_for() -> None:
    frame = pl.DataFrame({"when": days(3), "y": [1, 2, 3]})
    assert SeriesTable.from_frame(frame).columns.time == "when"
    text = pl.DataFrame({"Timestamp": ["2024-01-01", "2024-01-02"], "y": [1, 2]})
    assert SeriesTable.from_frame(text).columns.time == "Timestamp"
    two = text.with_columns(Date=pl.col("Timestamp"))
    error = refusal(ArgumentError, two)
    assert "2 columns may be the time: Timestamp, Date" in error.what
    assert "time='Timestamp'" in (error.hint or "")
    assert SeriesTable.from_frame(text.rename({"Timestamp": "when"})).columns.time == "when"
    assert SeriesTable.from_frame(two.rename({"Date": "other"})).columns.time == "Timestamp"
    none = refusal(ArgumentError, pl.DataFrame({"y": [1], "x": ["sun"]}))
    assert none.what == "no time column was found"
    assert "with_row_index" in (none.hint or "")


# --- values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "what", "hint"),
    [
        ("wet", "'wet' is not a number", "leave the cell empty"),
        ('"1,5"', "'1,5' is not a number", "decimal_comma=True"),
        ('"1,234.5"', "'1,234.5' is not a number", "thousands"),
        ("0x10", "'0x10' is not a number", "write 16"),
        ("1e999", "'1e999' is infinite or too large", "leave the cell empty"),
        ("-inf", "'-inf' is infinite or too large", "leave the cell empty"),
        ("4e38", "'4e38' is infinite or too large", "scale the column"),
        ("w" * 100, "'" + "w" * 59 + "…' is not a number", ""),
    ],
)
@pytest.mark.parametrize("role", ["target", "past"])
def test_a_bad_number_is_named_with_its_line(
    tmp_path: Path, cell: str, what: str, hint: str, role: str
) -> None:
    rows = [f"2024-01-{day:02d},{day}" for day in range(1, 20)]
    path = csv(tmp_path, "date,rain\n" + "\n".join(rows) + f"\n2024-01-20,{cell}\n2024-01-21,4\n")
    options: dict[str, object] = {"target": "rain"}
    if role == "past":
        text = path.read_text().splitlines()
        path.write_text("\n".join([text[0] + ",other", *(line + ",1" for line in text[1:])]) + "\n")
        options = {"target": "other", "past": ["rain"]}
    error = refusal(DataError, path, **options)
    assert error.where == f"{path}, line 21, column 'rain'"
    assert what in error.what
    assert hint in (error.hint or "")


def test_lines_are_counted_past_quoted_line_ends_and_in_packed_files(tmp_path: Path) -> None:
    path = csv(tmp_path, 'note,date,y\n"two\nlines",2024-01-01,1\nb,2024-01-02,wet\n')
    assert refusal(DataError, path).where == f"{path}, line 4, column 'y'"
    # A frame that was read from the file by the user names its lines too, when told so.
    frame = pl.read_csv(path)
    assert refusal(DataError, frame, source=str(path)).where == f"{path}, line 4, column 'y'"
    assert refusal(DataError, frame).where == "frame, row 1 (from 0), column 'y'"


def test_words_as_a_column_are_refused() -> None:
    error = refusal(DataError, two_series(), target="rain", series="site", static=["word"])
    assert error.where == "frame, row 0 (from 0), column 'word'"
    assert "6 of 6 values are no numbers: only numbers" in (error.hint or "")
    error = refusal(
        DataError, two_series().with_columns(when=pl.col("day")), target="when", time="day", series="site"
    )
    assert "the target column 'when' is of type Date" in error.what


def test_a_series_without_a_value_is_refused() -> None:
    frame = two_series().with_columns(rain=pl.when(pl.col("site") == "a").then(None).otherwise("rain"))
    error = refusal(DataError, frame, target="rain", series="site")
    assert "has no value at all in 1 series: 'a'" in error.what


def test_static_values_must_be_there_and_constant() -> None:
    error = refusal(DataError, two_series(), target="rain", series="site", static=["wind"])
    assert error.where == "frame, row 1 (from 0), column 'wind'"
    assert "series 'b' has '8' here and '9' before" in error.what
    assert "past= or future=" in (error.hint or "")
    holes = two_series().with_columns(height=pl.Series([100, None, 100, 20, 20, 20]))
    error = refusal(DataError, holes, target="rain", series="site", static=["height"])
    assert "static value of series 'b' is missing" in error.what
    one = two_series().head(3)
    assert "one series only" in refusal(ArgumentError, one, target="rain", static=["height"]).what


@pytest.mark.parametrize("bad", [None, "", "  "])
def test_missing_keys_are_refused(bad: str | None) -> None:
    frame = two_series().with_columns(site=pl.Series(["b", bad, "b", "a", bad, "a"]))
    error = refusal(DataError, frame, target="rain", series="site")
    assert error.where == "frame, rows 1, 4 (from 0), column 'site'"
    assert "missing in 2 rows" in error.what


def test_a_frame_without_rows_is_refused() -> None:
    assert "no rows" in refusal(DataError, two_series().clear(), target="rain", series="site").what


# --- times ------------------------------------------------------------------------------------------------


def test_repeated_times_are_refused_with_the_first_three_lines(tmp_path: Path) -> None:
    text = "date,rain\n" + "".join(f"2024-01-0{day},1\n" * 2 for day in range(1, 6))
    path = csv(tmp_path, text)
    error = refusal(DataError, path, target="rain")
    assert error.where == f"{path}, lines 3, 5, 7, column 'date'"
    assert "repeats in 5 rows, first 2024-01-01" in error.what
    assert "series='<column>'" in (error.hint or "")


def test_times_that_go_back_are_refused_with_series_and_rows() -> None:
    frame = two_series()[[0, 1, 2, 5, 4, 3]]
    error = refusal(DataError, frame, target="rain", series="site")
    assert error.where == "frame, rows 4, 5 (from 0), column 'day', series 'a'"
    assert "first 2024-01-02 after 2024-01-03" in error.what
    assert "sort" in (error.hint or "")


def test_rows_of_mixed_series_are_numbered_as_the_user_sees_them() -> None:
    frame = two_series()[[0, 3, 1, 5, 2, 4]]
    error = refusal(DataError, frame, target="rain", series="site")
    assert error.where == "frame, row 5 (from 0), column 'day', series 'a'"


def test_a_clock_that_repeats_an_hour_is_explained() -> None:
    hours = [dt.datetime(2024, 10, 27, hour) for hour in (1, 2, 2, 3)]
    error = refusal(DataError, pl.DataFrame({"ds": hours, "y": [1, 2, 3, 4]}))
    assert "local clock repeats an hour" in (error.hint or "")


def test_an_unreadable_time_names_its_line(tmp_path: Path) -> None:
    path = csv(tmp_path, "date,rain\n2024-01-01,1\nyesterday,2\n")
    error = refusal(DataError, path, target="rain")
    assert error.where == f"{path}, line 3, column 'date'"
    assert "'yesterday' is not a time" in error.what


def test_arguments_of_a_wrong_type_are_named() -> None:
    frame = pl.DataFrame({"ds": [1, 2, 3], "y": [1.0, 2.0, 3.0]})
    with pytest.raises(ArgumentError, match=r"^past= is '5'"):
        SeriesTable.from_frame(frame, past=5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"the frequency is '2\.5'"):
        SeriesTable.from_frame(frame, frequency=2.5)  # type: ignore[arg-type]


def test_series_of_other_frequency_are_refused() -> None:
    hours = [dt.datetime(2024, 1, 1) + dt.timedelta(hours=hour) for hour in range(30)]
    daily = [dt.datetime(2024, 1, day) for day in range(1, 8)]
    frame = pl.DataFrame({"unique_id": ["h"] * 30 + ["d"] * 7, "ds": hours + daily, "y": range(37)})
    error = refusal(DataError, frame)
    assert "series 'd'" in (error.where or "")
    assert "is 24 hours, that of the whole table is hourly" in error.what


def test_one_wrong_year_does_not_fill_the_memory() -> None:
    stamps = [dt.datetime(2024, 1, 1, 0, 0, second) for second in range(5)] + [dt.datetime(2924, 1, 1)]
    error = refusal(DataError, pl.DataFrame({"ds": stamps, "y": range(6)}))
    assert "steps are missing (frequency: every second)" in error.what
    assert "2924-01-01" in error.what


def test_a_frequency_that_does_not_fit_is_refused() -> None:
    frame = pl.DataFrame({"ds": days(3), "y": [1, 2, 3]})
    error = refusal(DataError, frame, frequency="2d")
    assert error.where == "frame, row 1 (from 0), column 'ds'"
    assert "'2024-01-02' lies off the grid" in error.what
    assert "2 days steps from 2024-01-01" in (error.expected or "")
    assert "frequency is every 5 steps" in refusal(DataError, frame, frequency=5).what
    assert (
        "times are whole numbers"
        in refusal(DataError, pl.DataFrame({"ds": [1], "y": [1]}), frequency="1d").what
    )
    refusal(ArgumentError, frame, frequency="often")
    assert "one time per series" in refusal(DataError, frame.head(1)).what


# --- fit and predict --------------------------------------------------------------------------------------


def test_tables_of_other_columns_or_steps_are_told_apart() -> None:
    fitted = SeriesTable.from_frame(two_series(), target="rain", series="site", past=["wind"])
    fitted.check_same_columns(
        SeriesTable.from_frame(two_series(), target="rain", series="site", past=["wind"])
    )
    other = SeriesTable.from_frame(two_series(), target="rain", series="site", future=["holiday"])
    with pytest.raises(DataError, match="missing: wind; too many: holiday"):
        fitted.check_same_columns(other)
    moved = SeriesTable.from_frame(two_series(), target="rain", series="site", future=["wind"])
    with pytest.raises(DataError, match="other roles"):
        fitted.check_same_columns(moved)
    weekly = two_series().with_columns(day=pl.col("day").cum_count().over("site").cast(pl.Int64) * 7 + 19000)
    numbered = SeriesTable.from_frame(weekly, target="rain", time="day", series="site", past=["wind"])
    with pytest.raises(DataError, match="kind integer"):
        fitted.check_same_columns(numbered)
    dated = SeriesTable.from_frame(
        weekly.with_columns(pl.col("day").cast(pl.Int32).cast(pl.Date)),
        target="rain",
        series="site",
        past=["wind"],
    )
    with pytest.raises(DataError, match="frequency is weekly"):
        fitted.check_same_columns(dated)


def test_many_rows_are_not_copied_more_often_than_told() -> None:
    # The matrix holds 8 columns of float32; beside it only the time index and one column at a time.
    rows, columns = 400_000, 8
    frame = pl.DataFrame({"ds": np.arange(rows), **{f"x{index}": np.ones(rows) for index in range(columns)}})
    tracemalloc.start()
    SeriesTable.from_frame(frame, target="x0", past=[f"x{index}" for index in range(1, columns)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    matrix, index = rows * columns * 4, rows * 8
    assert peak < matrix + 3 * index


def test_real_files_are_read(shared_data: Path) -> None:
    weather = SeriesTable.from_frame(shared_data / "seattle_weather/seattle-weather.csv", target="temp_max")
    assert (weather.frequency.label, len(weather.times), weather.gaps.height) == ("daily", 1461, 0)
    power = SeriesTable.from_frame(
        shared_data / "vic_electricity/vic_electricity.csv", target="Demand", time="Time", future=["Holiday"]
    )
    assert (power.frequency.label, len(power.times)) == ("30 minutes", 52608)
    stocks = SeriesTable.from_frame(
        shared_data / "stocks_wiki/stocks.csv.gz", target="Close", series="Ticker"
    )
    assert stocks.frequency.alias == "B"
    assert stocks.sequences.keys == ("AAPL", "FB", "GOOG", "IBM", "MSFT")
    assert len(stocks.times) - stocks.gaps["missing_steps"].sum() == 12154
    air = SeriesTable.from_frame(shared_data / "beijing_pm25/pollution.csv", target="pm2.5", time="No")
    assert air.sequences.observed is not None
    assert (~air.sequences.observed).sum() == 2067
    melbourne = SeriesTable.from_frame(
        shared_data / "melbourne_min_temp/daily-min-temperatures.csv", target="Temp"
    )
    assert melbourne.gaps["from"].to_list() == [dt.date(1984, 12, 30), dt.date(1988, 12, 30)]
