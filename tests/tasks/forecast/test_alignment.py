"""What a forecast may read: all up to its origin, what is known ahead, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError
from gatestack.tasks.forecast import Architecture, Forecaster, recency
from gatestack.tasks.forecast.head import phase_shifts

from .tables import ahead_of, many_series, one_series, values_of

Make = Callable[..., Forecaster]

MODES = ("direct", "windows", "recursive")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_the_first_step_reads_the_last_observation(make: Make, mode: str, cell: str) -> None:
    model = make(mode=mode, architecture=Architecture(cell=cell)).fit(one_series())
    found = recency(model)
    assert found.reacts
    assert found.response.shape == (3, 3)
    assert found.response[0, 0] > 1e-3


def test_recency_sees_a_model_that_does_not_read_the_last_observation(make: Make) -> None:
    model = make(season=None).fit(one_series())
    network = model.fitted_.network
    with torch.no_grad():
        for tensor in network.head.state_dict().values():
            tensor.zero_()
    assert recency(model).reacts  # the level of the window moves with every value in it
    fixed = make(season=None, architecture=Architecture(scaling="series")).fit(one_series())
    with torch.no_grad():
        for tensor in fixed.fitted_.network.head.state_dict().values():
            tensor.zero_()
    assert not recency(fixed).reacts


def test_recency_is_found_where_the_last_value_is_missing(make: Make) -> None:
    frame = one_series().with_columns(pl.when(pl.int_range(pl.len()) < 78).then("y").alias("y"))
    assert recency(make().fit(frame)).reacts


@pytest.mark.parametrize("lags", [0, -1, 11, True, 1.5])
def test_recency_refuses_lags_that_it_cannot_change(make: Make, lags: Any) -> None:
    model = make().fit(one_series())
    with pytest.raises(ArgumentError, match="expected a whole number from 1 to 10"):
        recency(model, lags)


def test_the_head_reads_the_last_step_of_the_same_phase() -> None:
    for season in (2, 3, 7):
        for step, shift in enumerate(phase_shifts(11, season).tolist(), start=1):
            assert 0 <= shift < season
            assert (step + shift) % season == 0


def forecasts_at(model: Forecaster, frame: pl.DataFrame, **roles: Any) -> tuple[np.ndarray, np.ndarray]:
    """Forecast from every step of a table."""
    fitted = model.fitted_
    table = SeriesTable.from_frame(frame, **roles)
    positions = np.arange(len(frame) - fitted.horizon)
    panel = fitted.panel(table)
    return positions, fitted.quantiles_at(table, panel, np.zeros_like(positions), positions)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("missing", [False, True])
def test_no_forecast_moves_with_what_comes_after_its_origin(make: Make, mode: str, missing: bool) -> None:
    roles: dict[str, Any] = {"past": [] if mode == "recursive" else ["rain"], "future": ["open"]}
    frame = one_series(50)
    if missing:
        frame = frame.with_columns(
            pl.when((pl.int_range(pl.len()) % 6 != 2) & (pl.int_range(pl.len()) > 4)).then("y").alias("y")
        )
    model = make(mode=mode, calendar=["day_of_week"]).fit(frame, **roles)
    positions, before = forecasts_at(model, frame, **roles)
    at = 30
    after = pl.int_range(pl.len()) > at
    changed = frame.with_columns(
        pl.when(after).then(pl.col("y") * 3 + 1000).otherwise("y").alias("y"),
        pl.when(after).then(pl.col("rain") + 50).otherwise("rain").alias("rain"),
    )
    _, moved = forecasts_at(model, changed, **roles)
    assert np.array_equal(before[positions <= at], moved[positions <= at])
    assert not np.isclose(before[positions > at], moved[positions > at]).any(axis=(1, 2)).all()
    assert (np.abs(before - moved)[positions == at + 1].max()) > 1


@pytest.mark.parametrize("mode", MODES)
def test_forecasts_move_with_the_future_columns_of_their_horizon_alone(make: Make, mode: str) -> None:
    frame = one_series(50)
    model = make(mode=mode).fit(frame, future=["open"])
    positions, before = forecasts_at(model, frame, future=["open"])
    at = 30  # the changed step
    changed = frame.with_columns(
        pl.when(pl.int_range(pl.len()) == at).then(pl.col("open") + 40).otherwise("open").alias("open")
    )
    _, moved = forecasts_at(model, changed, future=["open"])
    reads = (positions + 1 <= at) & (at <= positions + 3)
    same = (before == moved).all(axis=(1, 2))
    assert same[positions + 3 < at].all()
    assert not same[reads].any()


def test_each_step_ahead_reads_its_own_future_value(make: Make) -> None:
    frame = one_series(60)
    model = make().fit(frame, future=["open"])
    ahead = ahead_of(frame, 3)
    before = values_of(model.predict(future=ahead))
    for step in range(3):
        changed = ahead.with_columns(
            pl.when(pl.int_range(pl.len()) == step).then(9.0).otherwise("open").alias("open")
        )
        moved = (values_of(model.predict(future=changed)) != before).any(axis=1)
        assert moved.tolist() == [number == step for number in range(3)]


def test_a_window_forecast_reads_its_window_alone(make: Make) -> None:
    model = make(mode="windows", architecture=Architecture(scaling="series")).fit(one_series(80))
    frame = one_series(80)
    reach = 10 + 1  # a window, and the value before it for the first change
    older = pl.int_range(pl.len()) < 80 - reach
    changed = frame.with_columns(pl.when(older).then(-5.0).otherwise("y").alias("y"))
    assert model.predict(changed).equals(model.predict(frame))
    nearer = frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 80 - 10).then(-5.0).otherwise("y").alias("y")
    )
    assert not model.predict(nearer).equals(model.predict(frame))


def test_a_direct_forecast_carries_the_state_over_more_than_a_window(make: Make) -> None:
    model = make(architecture=Architecture(scaling="series")).fit(one_series(80))
    frame = one_series(80)
    changed = frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 80 - 14).then(200.0).otherwise("y").alias("y")
    )
    assert not model.predict(changed).equals(model.predict(frame))


@pytest.mark.parametrize("mode", MODES)
def test_quantiles_never_cross(make: Make, mode: str) -> None:
    levels = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
    model = make(mode=mode, quantiles=levels, max_steps=15).fit(one_series(50))
    _, quantiles = forecasts_at(model, one_series(50, seed=4))
    assert (np.diff(quantiles, axis=-1) > 0).all()


def test_sampled_paths_follow_the_seed(make: Make) -> None:
    frame = one_series()
    model = make(mode="recursive").fit(frame)
    assert model.predict().equals(model.predict())
    assert model.predict().equals(make(mode="recursive").fit(frame).predict())
    other = make(mode="recursive", seed=2).fit(frame)
    assert not other.predict().equals(model.predict())


@pytest.mark.parametrize("mode", MODES)
def test_a_series_has_the_same_forecast_alone_and_among_others(make: Make, mode: str) -> None:
    frame = many_series()
    model = make(mode=mode).fit(frame)
    together = model.predict(frame)
    for key in ("a", "b", "c"):
        alone = model.predict(frame.filter(pl.col("unique_id") == key))
        np.testing.assert_allclose(
            values_of(alone), values_of(together.filter(pl.col("unique_id") == key)), rtol=1e-5
        )


def test_the_network_moves_to_another_device_as_a_whole(make: Make) -> None:
    # The device "meta" computes no numbers, but refuses operations that mix devices.
    model = make(calendar=["day_of_week"]).fit(many_series(), past=["rain"], static=["size"])
    network = model.fitted_.network
    table = SeriesTable.from_frame(many_series(), past=["rain"], static=["size"])
    chunk = model.fitted_.panel(table).chunk(np.array([0]), np.array([0]), 10, window=10, horizon=3)
    away = type(chunk)(*(None if part is None else part.to("meta") for part in chunk))
    rows, positions = torch.zeros(2, dtype=torch.int64), torch.tensor([3, 9])
    assert network.to("meta")(away, rows.to("meta"), positions.to("meta")).shape == (2, 3, 3)
