"""The user's own frames, names, keys and times; new series; gaps; units."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from gatestack.errors import ArgumentError, DataError
from gatestack.tasks.forecast import Architecture, Forecaster

from .tables import ahead_of, hourly, many_series, one_series, values_of, wave

Make = Callable[..., Forecaster]


@pytest.mark.parametrize("mode", ["direct", "windows", "recursive"])
def test_the_frame_of_the_fit_gives_the_forecast_after_the_fit(make: Make, mode: str) -> None:
    frame = many_series()
    model = make(mode=mode).fit(frame)
    one, other = model.predict(), model.predict(frame)
    assert one.drop(pl.selectors.float()).equals(other.drop(pl.selectors.float()))
    np.testing.assert_allclose(values_of(one), values_of(other), rtol=1e-5)


def test_series_keep_their_order_their_keys_and_their_own_ends(make: Make) -> None:
    frame = many_series()
    forecast = make().fit(frame).predict()
    assert forecast["unique_id"].to_list() == ["b"] * 3 + ["a"] * 3 + ["c"] * 3
    ends = dict(frame.group_by("unique_id").agg(pl.col("ds").max()).iter_rows())
    for key, days in forecast.group_by("unique_id", maintain_order=True).agg("ds").iter_rows():
        assert [(day - ends[key]).days for day in days] == [1, 2, 3]


def test_mixed_rows_of_series_are_the_same_series(make: Make) -> None:
    frame = many_series()
    mixed = frame.sort("ds", maintain_order=True)
    model = make().fit(frame)
    keys = ["unique_id", "ds"]
    assert model.predict(mixed).sort(keys).equals(model.predict(frame).sort(keys))


def test_whole_numbers_as_keys_stay_whole_numbers(make: Make) -> None:
    frame = many_series(keys={"b": 20, "a": 3, "c": 7})
    forecast = make().fit(frame).predict()
    assert forecast["unique_id"].to_list() == [20] * 3 + [3] * 3 + [7] * 3
    assert forecast.schema["unique_id"] == frame.schema["unique_id"]


def test_a_series_that_the_fit_did_not_see_is_forecast_with_window_scaling(make: Make) -> None:
    frame = many_series()
    new = many_series({"new": 30})
    model = make().fit(frame)
    together = model.predict(pl.concat([frame, new]))
    np.testing.assert_allclose(
        values_of(together.filter(pl.col("unique_id") == "new")), values_of(model.predict(new)), rtol=1e-5
    )


def test_series_scaling_refuses_a_series_without_a_scale(make: Make) -> None:
    model = make(architecture=Architecture(scaling="series")).fit(many_series({"north": 40, "south": 50}))
    assert values_of(model.predict(many_series({"south": 30}))).shape == (3, 3)
    with pytest.raises(DataError, match=r"series 'nort' was not in the fit(.|\n)*did you mean 'north'"):
        model.predict(many_series({"nort": 30}))


def test_pandas_in_pandas_out_and_polars_in_polars_out(make: Make) -> None:
    frame = many_series()
    model = make().fit(frame.to_pandas())
    from_pandas, from_polars = model.predict(frame.to_pandas()), model.predict(frame)
    assert isinstance(from_pandas, pd.DataFrame)
    assert isinstance(from_polars, pl.DataFrame)
    assert isinstance(model.predict(frame.to_arrow()), type(frame.to_arrow()))
    assert isinstance(model.predict(), pl.DataFrame)
    assert list(from_pandas.columns) == from_polars.columns
    assert np.array_equal(values_of(from_pandas), values_of(from_polars))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_path_is_read(make: Make, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weather.{suffix}"
    frame = one_series()
    frame.write_csv(path) if suffix == "csv" else frame.write_parquet(path)
    forecast = make().fit(path).predict(str(path))
    assert isinstance(forecast, pl.DataFrame)
    assert forecast.equals(make().fit(frame).predict(frame))


def test_errors_of_a_file_name_the_file_and_its_line(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "weather.csv"
    path.write_text("date,temp\n" + "".join(f"2024-01-{day:02},{day}\n" for day in range(1, 31)))
    model = make().fit(path, target="temp", time="date")
    path.write_text("date,temp\n2024-01-01,1\n2024-01-02,warm\n")
    with pytest.raises(DataError, match=r"weather.csv.*row 3.*temp.*warm|weather.csv.*3.*temp"):
        model.predict(path)


def test_names_of_nixtlas_layout_are_recognised_and_own_names_kept(make: Make) -> None:
    frame = many_series()
    assert make().fit(frame).predict().columns[:2] == ["unique_id", "ds"]
    own = frame.rename({"unique_id": "Ort", "ds": "Tag", "y": "Wärme"})
    model = make().fit(own, target="Wärme", time="Tag", series="Ort")
    assert model.predict(own).columns == ["Ort", "Tag", "gatestack", "gatestack-lo-80", "gatestack-hi-80"]
    assert np.array_equal(values_of(model.predict()), values_of(make().fit(frame).predict()))


def test_times_come_back_as_they_came(make: Make) -> None:
    assert make().fit(one_series()).predict()["ds"].to_list()[0] == date(2024, 3, 21)
    plain = make().fit(hourly(48)).predict()["ds"]
    assert plain[0] == datetime(2024, 3, 31)
    zoned = make().fit(hourly(48, "Europe/Berlin")).predict()["ds"]
    assert zoned.dtype == pl.Datetime("us", "Europe/Berlin")
    assert [stamp.hour for stamp in zoned] == [1, 3, 4]  # the clock goes forward
    numbers = pl.DataFrame({"ds": range(10, 130, 2), "y": wave(60)})
    assert make().fit(numbers).predict()["ds"].to_list() == [130, 132, 134]


def test_month_ends_stay_month_ends(make: Make) -> None:
    days = pl.date_range(date(2019, 1, 1), date(2023, 1, 1), "1mo", eager=True).dt.month_end()
    frame = pl.DataFrame({"ds": days, "y": wave(len(days))})
    forecast = make().fit(frame).predict()
    assert forecast["ds"].to_list() == [date(2023, 2, 28), date(2023, 3, 31), date(2023, 4, 30)]


def test_rows_without_a_target_at_the_end_are_the_future(make: Make) -> None:
    frame = many_series()
    model = make().fit(frame, future=["open"])
    ahead = ahead_of(frame, 3)
    given = model.predict(frame, future=ahead)
    rows = ahead.with_columns(pl.lit(None, dtype=pl.Float64).alias("y"))
    appended = model.predict(pl.concat([frame, rows], how="diagonal"))
    assert appended.equals(given)


def test_a_future_that_is_not_there_or_not_wanted_is_an_error(make: Make) -> None:
    frame = one_series()
    model = make().fit(frame, future=["open"])
    with pytest.raises(DataError, match="the model needs open for the next 3 steps"):
        model.predict()
    with pytest.raises(DataError, match=r"step 1 of 3(.|\n)*open"):
        model.predict(frame)
    short = ahead_of(frame, 2)
    with pytest.raises(DataError, match=r"2024-03-23.*step 3 of 3"):
        model.predict(frame, future=short)
    with pytest.raises(ArgumentError, match="fitted without future columns"):
        make().fit(frame).predict(future=ahead_of(frame, 3))


def test_a_frame_unlike_that_of_the_fit_is_refused(make: Make) -> None:
    model = make().fit(one_series(), past=["rain"])
    with pytest.raises(ArgumentError, match="no column 'rain'"):
        model.predict(one_series().drop("rain"))
    with pytest.raises(DataError, match=r"off the grid|frequency"):
        model.predict(hourly(48).with_columns(rain=pl.lit(1.0)))


def test_a_series_that_is_too_short_says_how_long_it_must_be(make: Make) -> None:
    frame = many_series({"long": 60, "tiny": 9, "small": 12})
    with pytest.raises(DataError) as error:
        make().fit(frame)
    text = str(error.value)
    assert "'tiny' (9 steps), 'small' (12 steps)" in text
    assert "at least 13 steps, a window and a horizon" in text
    assert "short_series='skip'" in text
    skipped = make().fit(frame, short_series="skip")
    assert skipped.predict()["unique_id"].unique().to_list() == ["long"]
    assert skipped.predict().equals(make().fit(many_series({"long": 60})).predict())
    with pytest.raises(DataError, match="every series is too short"):
        make().fit(one_series(9), short_series="skip")


@pytest.mark.usefixtures("validated")
def test_the_shortest_series_that_is_allowed_fits(make: Make) -> None:
    for steps in (13, 14, 16, 17):
        model = make().fit(one_series(steps))
        assert np.isfinite(values_of(model.predict())).all()
        assert (model.fitted_.record.best_validation is None) == (steps < 16)


@pytest.mark.usefixtures("validated")
def test_missing_values_and_gaps_leave_every_number_finite(make: Make) -> None:
    step = pl.int_range(pl.len())
    frame = one_series(90).with_columns(
        pl.when((step > 7) & (step % 5 != 1)).then("y").alias("y"),
        pl.when(step % 4 != 2).then("rain").alias("rain"),
    )
    frame = pl.concat([frame.head(40), frame.tail(30)])
    model = make(max_steps=10).fit(frame, past=["rain"])
    assert np.isfinite(values_of(model.predict())).all()
    record = model.fitted_.record
    assert all(np.isfinite(row.train_loss) for row in record.history if row.train_loss is not None)
    assert all(row.validation is not None and np.isfinite(row.validation) for row in record.history)
    assert all(bool(t.isfinite().all()) for t in model.fitted_.network.state_dict().values())


def test_what_stands_in_a_missing_cell_does_not_matter(make: Make) -> None:
    step = pl.int_range(pl.len())
    missing = one_series().with_columns(pl.when(step % 6 != 3).then("y").alias("y"))
    as_nan = missing.with_columns(pl.col("y").fill_null(float("nan")))
    left_out = missing.filter(pl.col("y").is_not_null())
    one = make().fit(missing).predict()
    assert one.equals(make().fit(as_nan).predict())
    assert one.equals(make().fit(left_out).predict())


@pytest.mark.usefixtures("validated")
def test_a_validation_part_without_a_value_does_not_choose_the_weights(make: Make) -> None:
    step = pl.int_range(pl.len())
    frame = one_series(100).with_columns(pl.when((step < 85) | (step == 99)).then("y").alias("y"))
    hidden = frame.with_columns(pl.when(step < 85).then("y").alias("y"))
    with_one = make(horizon=3).fit(frame)
    without = make(horizon=3).fit(hidden)
    assert with_one.fitted_.record.best_validation is not None
    assert without.fitted_.record.best_validation is None
    assert np.isfinite(values_of(without.predict())).all()


@pytest.mark.parametrize("constant", [7.0, 0.1, -1e-7, 3.3e8])
def test_a_constant_series_is_forecast_as_that_constant(make: Make, constant: float) -> None:
    frame = pl.DataFrame({"ds": range(61), "y": [constant] * 61})
    for changes in ({}, {"mode": "windows"}, {"mode": "recursive"}, {"season": "auto"}):
        forecast = make(**changes).fit(frame).predict()
        np.testing.assert_allclose(values_of(forecast), constant, rtol=1e-3)


def test_a_series_of_zeros_is_forecast_as_zero(make: Make) -> None:
    zeros = make().fit(pl.DataFrame({"ds": range(60), "y": [0.0] * 60})).predict()
    np.testing.assert_allclose(values_of(zeros), 0.0, atol=1e-12)


@pytest.mark.parametrize("scaling", ["window", "series"])
@pytest.mark.parametrize(
    ("unit", "offset"), [(1e-9, 0.0), (1e9, 0.0), (0.5, 40.0), (1e-9, 3e-8), (1e9, -5e9)]
)
def test_forecasts_follow_the_unit(make: Make, unit: float, offset: float, scaling: str) -> None:
    frame = pl.DataFrame({"ds": range(80), "y": wave(80)})
    settings: dict[str, Any] = {"architecture": Architecture(scaling=scaling), "season": "auto", "window": 12}
    usual = values_of(make(**settings).fit(frame).predict())
    model = make(**settings).fit(frame.with_columns(pl.col("y") * unit + offset))
    assert model.fitted_.season == 5
    np.testing.assert_allclose((values_of(model.predict()) - offset) / unit, usual, rtol=3e-3)
