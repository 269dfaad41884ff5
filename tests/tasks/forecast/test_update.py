"""New observations move the state on as if the whole history had been read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatestack.errors import ArgumentError, DataError
from gatestack.kernels import library
from gatestack.tasks.forecast import Architecture, Forecaster

from .tables import ahead_of, hourly, many_series, one_series, values_of

Make = Callable[..., Forecaster]

# torch's own operators sum in another order for one step than for many.
SAME: dict[str, Any] = {"rtol": 0, "atol": 0} if library.find() else {"rtol": 1e-4, "atol": 1e-4}


def assert_same(one: pl.DataFrame, other: pl.DataFrame) -> None:
    keys = [name for name in ("unique_id", "ds") if name in one.columns]
    one, other = one.sort(keys), other.sort(keys)
    assert one.select(keys).equals(other.select(keys))
    np.testing.assert_allclose(values_of(one), values_of(other), **SAME)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("scaling", ["window", "series"])
def test_an_update_equals_a_forecast_from_the_whole_history(make: Make, cell: str, scaling: str) -> None:
    frame = one_series(140)
    architecture = Architecture(cell=cell, scaling=scaling, initial_state="trained", residual=True)
    model = make(architecture=architecture).fit(frame.head(80))
    weights = {name: tensor.clone() for name, tensor in model.fitted_.network.state_dict().items()}
    whole = model.predict(frame)
    assert model.update(frame[80:95]).update(frame[95:]) is model
    assert_same(model.predict(), whole)
    assert all((weights[name] == tensor).all() for name, tensor in model.fitted_.network.state_dict().items())
    assert model.fitted_.tail.sequences.offsets.tolist() == [0, 10]


def test_the_recursive_mode_goes_on_too(make: Make) -> None:
    frame = one_series(90)
    model = make(mode="recursive").fit(frame.head(80))
    whole = model.predict(frame)
    assert_same(model.update(frame.tail(10)).predict(), whole)


@pytest.mark.parametrize("intervals", ["conformal", "adaptive"])
def test_columns_calendar_gaps_and_intervals_go_on_too(make: Make, intervals: str) -> None:
    step = pl.int_range(pl.len())
    frame = one_series(300).with_columns(
        pl.when(step % 4 != 1).then("y").alias("y"), pl.when(step % 7 != 3).then("rain").alias("rain")
    )
    frame = frame.filter((step < 270) | (step % 5 != 2))  # steps that no row names
    known = ahead_of(frame, 3)
    model = make(calendar=["day_of_week"], intervals=intervals, quantiles=(0.2, 0.5, 0.8))
    model.fit(frame.head(260), past=["rain"], future=["open"])
    whole = model.predict(frame, future=known)
    # Not after a missing target: rows without one at the end are not observed yet.
    cut = next(row for row in range(275, 285) if frame["y"][row - 1] is not None)
    days = pl.date_range(frame["ds"][cut - 1], frame["ds"][cut + 9], eager=True).alias("ds").to_frame()
    soon = days.join(frame.select("ds", "open"), on="ds", how="left").fill_null(0.0)
    model.update(frame[260:cut], future=soon)
    assert_same(model.update(frame[cut:], future=known).predict(future=known), whole)


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 24), max_size=3).map(sorted), repeat=st.integers(0, 8))
def test_however_the_rows_are_cut_the_forecast_is_the_same(
    adaptive: tuple[Forecaster, pl.DataFrame], cuts: list[int], repeat: int
) -> None:
    model, frame = adaptive
    again = Forecaster._from_data(*model._to_data())
    for begin, end in zip([0, *cuts], [*cuts, 24], strict=True):
        if begin < end:  # earlier rows may stand before the new ones
            again.update(frame[200 + max(begin - repeat, 0) : 200 + end])
    assert_same(again.predict(), model.predict(frame))
    assert again.fitted_.shares is not None
    assert model.fitted_.shares is not None
    assert not np.array_equal(again.fitted_.shares.share, model.fitted_.shares.share)


@pytest.fixture(scope="module")
def adaptive() -> tuple[Forecaster, pl.DataFrame]:
    frame = one_series(224)
    model = Forecaster(
        3, hidden_size=5, window=10, quantiles=(0.2, 0.5, 0.8), max_steps=4, season=5, intervals="adaptive"
    )
    return model.fit(frame.head(200)), frame


def test_series_go_on_at_their_own_pace_and_new_ones_start_from_nothing(make: Make) -> None:
    frame = many_series({"b": 60, "a": 45, "c": 75, "new": 30})
    rows = pl.int_range(pl.len()).over("unique_id")
    key = pl.col("unique_id")
    first = frame.filter(key.is_in(["b", "c"]) & (rows < 55) | (key == "a"))
    model = make().fit(first, static=["size"])
    whole = model.predict(frame)
    model.update(frame.filter((rows >= 55) & (key != "a") | (key == "new")))
    assert model.predict()["unique_id"].unique(maintain_order=True).to_list() == ["b", "a", "c", "new"]
    assert_same(model.predict(), whole)
    later = frame.filter(key.is_in(["a", "new"])).group_by("unique_id").tail(1)
    later = later.with_columns(pl.col("ds").dt.offset_by("1d"), y=pl.lit(33.0))
    assert_same(model.update(later).predict(), model.predict(pl.concat([frame, later])))


def test_integer_keys_and_zones_come_back_as_they_were(make: Make) -> None:
    frame = many_series({"a": 50, "b": 50}, keys={"a": 7, "b": 3})
    model = make().fit(frame.head(50))
    assert model.update(frame).predict()["unique_id"].unique(maintain_order=True).to_list() == [7, 3]
    zoned = hourly(70, "Europe/Berlin")
    berlin = make(calendar=["hour"]).fit(zoned.head(60))
    whole = berlin.predict(zoned)
    assert_same(berlin.update(zoned.tail(10)).predict(), whole)


def test_an_updated_model_is_saved_and_goes_on(make: Make, tmp_path: Any) -> None:
    frame = one_series(290)
    model = make(intervals="adaptive").fit(frame.head(260)).update(frame[260:275])
    again = Forecaster.load(model.save(tmp_path / "model"))
    assert_same(again.predict(), model.predict())
    assert_same(again.update(frame[275:]).predict(), model.update(frame[275:]).predict())


def test_rows_that_are_known_already_change_nothing(make: Make) -> None:
    frame = one_series(80)
    model = make().fit(frame)
    before = model.predict()
    assert_same(model.update(frame).predict(), before)


def test_evaluation_begins_after_the_update(make: Make) -> None:
    frame = one_series(100)
    model = make().fit(frame.head(80))
    assert model.evaluate(frame).origins == 18
    assert model.update(frame[80:90]).evaluate(frame).origins == 8


def at(hour: int) -> pl.Expr:
    """The column of times, at an hour of the day."""
    return pl.col("ds").cast(pl.Datetime).dt.offset_by(f"{hour}h")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda rows: rows.with_columns(y=pl.lit(1.0)), "is 1, and was 17.6936"),
        (lambda rows: rows.with_columns(y=pl.lit(None, pl.Float64)), "has no value at all"),
        (lambda rows: rows.with_columns(pl.col("rain") + 1), "rain of series"),
        (lambda rows: rows.drop("rain"), "rain"),
        (lambda rows: rows.with_columns(at(5)), "lies off the grid"),
        (lambda rows: rows.tail(1).with_columns(pl.col("ds").dt.offset_by("100y")), "steps are missing"),
        (lambda rows: rows.reverse(), "goes back or repeats"),
        (lambda rows: rows.with_columns(ds=pl.int_range(pl.len())), "times are whole numbers"),
        (lambda rows: rows.with_columns(y=pl.lit("much")), "y"),
        (lambda rows: rows.with_columns(at(0).dt.replace_time_zone("Europe/Oslo")), "without a zone"),
        (
            lambda rows: rows.with_columns(y=pl.when(pl.int_range(pl.len()) > 3).then("y")),
            "is missing, and was",
        ),
    ],
)
def test_what_cannot_be_gone_on_from_is_refused_and_leaves_the_model(
    make: Make, change: Callable[[pl.DataFrame], pl.DataFrame], text: str
) -> None:
    frame = one_series(90)
    model = make().fit(frame.head(80), past=["rain"])
    fitted, before = model.fitted_, model.predict()
    with pytest.raises((DataError, ArgumentError), match=text):
        model.update(change(frame[75:]))
    assert model.fitted_ is fitted
    assert_same(model.predict(), before)


def test_ctrl_c_leaves_the_model_as_it_was(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = one_series(90)
    model = make().fit(frame.head(80))
    fitted, before = model.fitted_, model.predict()
    calls = []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return go_on(*arguments)

    from gatestack.tasks.forecast.going_on.step import go_on

    monkeypatch.setattr("gatestack.tasks.forecast.going_on.update.go_on", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.update(frame[80:])
    assert model.fitted_ is fitted
    assert_same(model.predict(), before)


def test_windows_have_no_state_to_go_on_from(make: Make) -> None:
    model = make(mode="windows").fit(one_series())
    with pytest.raises(ArgumentError, match="mode is 'windows'"):
        model.update(one_series(81).tail(1))


def test_another_static_value_is_refused(make: Make) -> None:
    frame = many_series()
    model = make().fit(frame, static=["size"])
    with pytest.raises(DataError, match="the static values of series 'b' are"):
        model.update(frame.with_columns(pl.col("size") + 1))


def test_adaptive_intervals_say_what_they_need_of_the_future(make: Make) -> None:
    frame = one_series(280)
    model = make(intervals="adaptive").fit(frame.head(260), future=["open"])
    with pytest.raises(DataError, match="adaptive intervals need open for the next 3 steps"):
        model.update(frame[260:])
    rows = frame[260:].with_columns(y=pl.when(pl.int_range(pl.len()) < 17).then("y"))
    assert model.update(rows).fitted_.tail.last_times[0] == np.datetime64("2024-10-03")
