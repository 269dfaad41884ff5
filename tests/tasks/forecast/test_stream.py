"""A stream equals the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError, DataError
from gatestack.tasks.forecast import Architecture, Forecaster
from gatestack.tasks.forecast.state import SeriesState

from .tables import ahead_of, hourly, many_series, one_series, values_of

Make = Callable[..., Forecaster]

# float32 sums in another order.
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}


def answer(forecast: dict[str, np.ndarray], like: pl.DataFrame) -> np.ndarray:
    names = [name for name in like.columns if name.startswith("gatestack")]
    assert sorted(forecast) == sorted(names)
    return np.stack([forecast[name] for name in names], axis=1)


def feed_and_compare(
    model: Forecaster, history: pl.DataFrame, rows: pl.DataFrame, *, columns: tuple[str, ...] = ("y",)
) -> None:
    """Feed rows one at a time and compare each answer with that of the frame that ends there."""
    stream = model.stream()
    for count, row in enumerate(rows.iter_rows(named=True), start=1):
        frame = pl.concat([history, rows.head(count)])
        future = ahead_of(frame, 3) if "open" in columns else None
        known = None if future is None else {"open": future["open"].to_numpy()}
        found = stream.step({name: row[name] for name in columns}, known)
        batch = model.predict(frame, future=future)
        np.testing.assert_allclose(answer(found, batch), values_of(batch), **CLOSE)
    assert stream.steps == len(rows)


@pytest.mark.parametrize("scaling", ["window", "series"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_rows_fed_one_at_a_time_equal_the_longer_frame(make: Make, cell: str, scaling: str) -> None:
    frame = one_series(92)
    architecture = Architecture(cell=cell, scaling=scaling, initial_state="trained", residual=True)
    model = make(architecture=architecture).fit(frame.head(80))
    feed_and_compare(model, frame.head(80), frame.tail(12))


def test_the_recursive_stream_samples_the_same_paths(make: Make) -> None:
    frame = one_series(84)
    model = make(mode="recursive").fit(frame.head(80))
    feed_and_compare(model, frame.head(80), frame.tail(4))


def test_covariates_calendar_and_future_columns_stream_too(make: Make) -> None:
    frame = one_series(86)
    model = make(calendar=["day_of_week", "day_of_month"]).fit(frame.head(80), past=["rain"], future=["open"])
    feed_and_compare(model, frame.head(80), frame.tail(6), columns=("y", "rain", "open"))


@pytest.mark.parametrize("gaps_in_the_fit", [False, True])
def test_missing_values_stream_as_they_stand_in_a_frame(make: Make, gaps_in_the_fit: bool) -> None:
    step = pl.int_range(pl.len())
    first = 0 if gaps_in_the_fit else 80
    frame = one_series(90).with_columns(
        pl.when((step < first) | (step % 4 != 1)).then("y").alias("y"),
        pl.when((step < first) | (step % 3 != 0)).then("rain").alias("rain"),
    )
    model = make().fit(frame.head(80), past=["rain"])
    feed_and_compare(model, frame.head(80), frame.tail(10), columns=("y", "rain"))


def test_a_zone_with_summer_time_streams(make: Make) -> None:
    frame = hourly(70, "Europe/Berlin")
    model = make(calendar=["hour"]).fit(frame.head(60))
    feed_and_compare(model, frame.head(60), frame.tail(10))


def test_each_of_many_series_streams_on_its_own(make: Make) -> None:
    frame = many_series()
    model = make().fit(frame, static=["size"])
    for key in ("a", "c"):
        last = frame.filter(pl.col("unique_id") == key).tail(1)
        row = last.with_columns(pl.col("ds").dt.offset_by("1d"), y=pl.lit(30.0))
        batch = model.predict(pl.concat([frame, row])).filter(pl.col("unique_id") == key)
        found = model.stream(key).step({"y": 30.0})
        np.testing.assert_allclose(answer(found, batch), values_of(batch), **CLOSE)


def test_a_stream_takes_a_key_of_whole_numbers_as_it_stands_in_the_frame(make: Make) -> None:
    frame = many_series()
    numbered = frame.with_columns(unique_id=pl.col("unique_id").rank("dense").cast(pl.Int64))
    model = make().fit(numbered)
    key = numbered["unique_id"][-1]
    one, other = (model.stream(name).step({"y": 30.0}) for name in (key, str(key)))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    with pytest.raises(ArgumentError, match="no series '77'"):
        model.stream(77)


def test_a_number_alone_is_no_step(make: Make) -> None:
    stream = make().fit(one_series()).stream()
    with pytest.raises(ArgumentError, match=r"values is '12.5' — expected the columns by name.*'y'"):
        stream.step(12.5)  # type: ignore[arg-type]


def test_a_stream_does_not_change_the_model(make: Make) -> None:
    model = make().fit(one_series())
    before = model.predict()
    stream = model.stream()
    for value in (1.0, None, 100.0):
        stream.step({"y": value})
    assert model.predict().equals(before)
    first, again = model.stream().step({"y": 3.0}), model.stream().step({"y": 3.0})
    assert all(np.array_equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("scaling", ["window", "series"])
def test_a_state_kept_as_arrays_goes_on_bit_for_bit(make: Make, cell: str, scaling: str) -> None:
    model = make(architecture=Architecture(cell=cell, scaling=scaling), calendar=["day_of_week"]).fit(
        one_series()
    )
    stream = model.stream()
    stream.step({"y": 21.0})
    kept = {name: array.copy() for name, array in stream.state.to_arrays().items()}
    again = model.stream()
    again.state, again.steps = SeriesState.from_arrays(kept), 1
    for value in (19.0, None, 23.0):
        one, other = stream.step({"y": value}), again.step({"y": value})
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_state_forks(make: Make) -> None:
    model = make().fit(one_series())
    network, state = model.fitted_.network, model.fitted_.state
    nothing = torch.zeros(2, 0)
    twice = state.take(np.array([0, 0]))
    ahead = twice.advance(network, torch.tensor([10.0, 30.0]), nothing, None, nothing)
    alone = state.advance(network, torch.tensor([30.0]), nothing[:1], None, nothing[:1])
    forecast = ahead.forecast(network, torch.zeros(2, 3, 0), nothing)
    assert not torch.equal(forecast[0], forecast[1])
    np.testing.assert_allclose(
        forecast[1], alone.forecast(network, torch.zeros(1, 3, 0), nothing[:1])[0], **CLOSE
    )
    assert torch.equal(state.target, model.fitted_.state.target)


@pytest.mark.parametrize("scaling", ["window", "series"])
@pytest.mark.parametrize("leading", [0, 4])
def test_a_series_fed_from_its_very_first_step_ends_in_the_state_of_the_batch(
    make: Make, scaling: str, leading: int
) -> None:
    frame = one_series(40).with_columns(pl.when(pl.int_range(pl.len()) >= leading).then("y").alias("y"))
    model = make(architecture=Architecture(scaling=scaling, initial_state="trained")).fit(frame)
    fitted = model.fitted_
    panel = fitted.panel(SeriesTable.from_frame(frame))
    fresh = fitted.scaling_of(SeriesTable.from_frame(frame))
    state = SeriesState.start(fitted.network, 1, fresh)
    nothing = torch.zeros(1, 0)
    for value in frame["y"]:
        fed = torch.tensor([np.nan if value is None else value])
        state = state.advance(fitted.network, fed, nothing, None, nothing)
    whole = fitted.state_after(panel).to_arrays()
    for name, array in state.to_arrays().items():
        np.testing.assert_allclose(array, whole[name], err_msg=name, **CLOSE)


def test_windows_carry_no_state_and_refuse_to_stream(make: Make) -> None:
    with pytest.raises(ArgumentError, match="mode is 'windows'"):
        make(mode="windows").fit(one_series()).stream()


def test_a_stream_of_many_series_names_the_one(make: Make) -> None:
    model = make().fit(many_series({"north": 40, "south": 40}))
    with pytest.raises(ArgumentError, match="fitted on 2 series"):
        model.stream()
    with pytest.raises(ArgumentError, match="did you mean 'north'"):
        model.stream("nort")


@pytest.mark.parametrize(
    ("values", "future", "text"),
    [
        ({"y": 1.0}, {"open": [1, 1, 1]}, "the column 'rain' is missing"),
        ({"y": 1.0, "rain": 1.0, "open": 1.0, "snow": 2.0}, {"open": [1, 1, 1]}, "no column 'snow'"),
        ({"y": float("inf"), "rain": 1.0, "open": 1.0}, {"open": [1, 1, 1]}, "y is 'inf'"),
        ({"y": "3", "rain": 1.0, "open": 1.0}, {"open": [1, 1, 1]}, "y is '3'"),
        ({"y": True, "rain": 1.0, "open": 1.0}, {"open": [1, 1, 1]}, "y is 'True'"),
        ({"y": 1.0, "rain": 1.0, "open": 1.0}, None, "future values of 'open'"),
        ({"y": 1.0, "rain": 1.0, "open": 1.0}, {"open": [1, 1]}, "3 finite numbers"),
        ({"y": 1.0, "rain": 1.0, "open": 1.0}, {"open": [1, 1, np.nan]}, "3 finite numbers"),
        ({"y": 1.0, "rain": 1.0, "open": 1.0}, {"open": ["a", "b", "c"]}, "3 finite numbers"),
        ({"y": 1.0, "rain": 1.0, "open": 1.0}, {"open": [1, 1, 1], "opens": [1]}, "did you mean 'open'"),
    ],
)
def test_a_wrong_step_is_refused_and_leaves_the_state(
    make: Make, values: dict[str, Any], future: Any, text: str
) -> None:
    model = make().fit(one_series(), past=["rain"], future=["open"])
    stream = model.stream()
    state = stream.state
    with pytest.raises(DataError) as error:
        stream.step(values, future)
    assert text in str(error.value)
    assert stream.state is state
    assert stream.steps == 0
