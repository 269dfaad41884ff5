"""Sampled paths: drawn step by step, the same for the same seed, in agreement with the forecast."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from gatestack.errors import ArgumentError, DataError, NotFittedError
from gatestack.tasks.forecast import Architecture, Forecaster
from gatestack.tasks.forecast.paths import PATHS, levels_of_paths

from .tables import ahead_of, many_series, one_series, values_of

Make = Callable[..., Forecaster]

NAMES = ("quantiles", "normal", "student-t", "negative-binomial", "spline")


def counted(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("y").round())


@pytest.mark.parametrize("distribution", NAMES)
def test_the_quantiles_of_the_paths_are_those_of_the_forecast(make: Make, distribution: str) -> None:
    frame = counted(many_series())
    model = make(mode="recursive", architecture=Architecture(distribution=distribution)).fit(frame)
    paths = model.sample(frame)
    assert paths.columns == ["unique_id", "ds", "path", "gatestack"]
    assert paths.height == 3 * PATHS * 3
    by_step = paths.group_by("unique_id", "ds", maintain_order=True).agg(
        *(pl.col("gatestack").quantile(level, "linear").alias(str(level)) for level in (0.5, 0.1, 0.9))
    )
    forecast = model.predict(frame)
    assert by_step.select("unique_id", "ds").equals(forecast.select("unique_id", "ds"))
    np.testing.assert_allclose(by_step.select("0.5", "0.1", "0.9").to_numpy(), values_of(forecast), rtol=1e-9)


@pytest.mark.parametrize("distribution", NAMES)
def test_each_step_is_drawn_from_what_is_said_after_the_steps_before_it(
    make: Make, distribution: str
) -> None:
    """A path is ancestral: fed to a stream step by step, its draws are those of the stream's forecasts."""
    frame = counted(one_series())
    model = make(mode="recursive", architecture=Architecture(distribution=distribution)).fit(frame)
    fitted = model.fitted_
    network, nothing = fitted.network, torch.zeros(1, 0)
    paths = model.sample(paths=4, seed=7)["gatestack"].to_numpy().reshape(4, 3)
    levels = levels_of_paths(7, 3, 4)
    for path in range(4):
        state = fitted.state
        for step in range(3):
            said = state.forecast(network, torch.zeros(1, 1, 0), nothing)[:, 0].numpy().astype(np.float64)
            drawn = network.distribution.at(said, levels[step, path])[0]
            assert paths[path, step] == pytest.approx(drawn, rel=1e-5)
            state = state.advance(
                network, torch.tensor([paths[path, step]]).float(), torch.zeros(1, 0), None, nothing
            )


def test_the_same_seed_draws_the_same_paths(make: Make) -> None:
    model = make(mode="recursive", seed=3).fit(one_series())
    one, again, other = (model.sample(paths=20, seed=seed) for seed in (5, 5, 6))
    assert one.equals(again)
    assert not one.equals(other)
    assert model.sample(paths=20).equals(model.sample(paths=20, seed=3))


def test_a_series_draws_the_same_paths_alone_and_among_others(make: Make) -> None:
    frame = many_series()
    model = make(mode="recursive").fit(frame)
    among = model.sample(frame, paths=30).filter(pl.col("unique_id") == "a")
    alone = model.sample(frame.filter(pl.col("unique_id") == "a"), paths=30)
    assert alone.select("unique_id", "ds", "path").equals(among.select("unique_id", "ds", "path"))
    np.testing.assert_allclose(alone["gatestack"], among["gatestack"], rtol=1e-5)


def test_more_paths_than_run_at_once_are_the_same_as_few(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(mode="recursive").fit(many_series())
    whole = model.sample(paths=50)
    monkeypatch.setattr("gatestack.tasks.forecast.paths._AT_ONCE", 7)
    parts = model.sample(paths=50)
    np.testing.assert_allclose(parts["gatestack"], whole["gatestack"], rtol=1e-5)


def test_sums_over_the_horizon_know_that_steps_belong_together(make: Make) -> None:
    """On a random walk the sum of four steps spreads as the walk's does, wider than independent steps'."""
    walk = np.cumsum(np.random.default_rng(0).normal(size=600))
    frame = pl.DataFrame({"ds": range(600), "y": walk})
    architecture = Architecture(distribution="normal", scaling="series")
    model = make(4, mode="recursive", season=None, architecture=architecture).fit(frame)
    paths = model.sample(paths=2000)
    sums = paths.group_by("path").agg(pl.col("gatestack").sum())["gatestack"].std()
    apart = np.sqrt(paths.group_by("ds").agg(pl.col("gatestack").var())["gatestack"].sum())
    # Σ_k (4 - k + 1)² = 30 for the walk, Σ_k k = 10 for its steps taken apart
    assert sums == pytest.approx(np.sqrt(30.0), rel=0.15)
    assert apart == pytest.approx(np.sqrt(10.0), rel=0.15)


def test_future_columns_and_frames_of_pandas_are_taken(make: Make) -> None:
    frame = many_series()
    model = make(mode="recursive").fit(frame, future=["open"])
    ahead = ahead_of(frame, 3)
    given = model.sample(frame.to_pandas(), future=ahead.to_pandas(), paths=5)
    assert isinstance(given, pd.DataFrame)
    assert np.allclose(given["gatestack"], model.sample(future=ahead, paths=5)["gatestack"], rtol=1e-5)
    with pytest.raises(DataError, match="sample: the model needs open for the next 3 steps"):
        model.sample(paths=5)


@pytest.mark.parametrize("mode", ["direct", "windows"])
def test_modes_that_forecast_steps_side_by_side_refuse_with_a_way_on(make: Make, mode: str) -> None:
    with pytest.raises(ArgumentError, match=rf"sample: mode is '{mode}'.*\n\nhint: .*mode='recursive'"):
        make(mode=mode).fit(one_series()).sample()


def test_wrong_arguments_are_refused(make: Make) -> None:
    model = make(mode="recursive")
    with pytest.raises(NotFittedError, match="not fitted"):
        model.sample()
    model.fit(one_series())
    with pytest.raises(ArgumentError, match="'paths' parameter of sample is 0"):
        model.sample(paths=0)
    with pytest.raises(ArgumentError, match="'seed' parameter of sample is -1"):
        model.sample(seed=-1)
    with pytest.raises(ArgumentError, match="future= is given"):
        model.sample(future=one_series())
    with pytest.raises(ArgumentError, match="draw fewer paths"):
        model.sample(paths=10**9)
