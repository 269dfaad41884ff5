"""Learning where the answer is known, and fits of real data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gatestack.tasks.forecast import Architecture, Forecaster, Origins, recency
from gatestack.training import Training

from .tables import values_of

Make = Callable[..., Forecaster]


@pytest.mark.usefixtures("validated")
def test_a_curved_rule_is_learned_that_no_baseline_can_follow(make: Make) -> None:
    # The logistic map: each value follows from the last by a parabola, and none is correlated with it.
    values = [0.3]
    for _ in range(599):
        values.append(3.9 * values[-1] * (1 - values[-1]))
    model = make(
        1,
        hidden_size=16,
        window=8,
        season=None,
        max_steps=300,
        training=Training(learning_rate=0.01, validate_every=50),
    )
    result = model.backtest(pl.DataFrame({"ds": range(600), "y": values}), origins=Origins(test=150))
    assert all(skill.value > 0.5 for skill in result.skill.values()), str(result)
    assert "lower than that of the best baseline" in result.sentence


@pytest.mark.usefixtures("validated")
def test_noise_without_memory_is_not_beaten(make: Make) -> None:
    values = np.random.default_rng(1).normal(size=400)
    result = make(max_steps=60, season=None).backtest(
        pl.DataFrame({"ds": range(400), "y": values}), origins=Origins(test=100, step=2)
    )
    skill = result.skill["linear"]
    assert skill.low is not None
    assert skill.low < 0.05
    assert skill.value < 0.1
    assert result.skill["last_value"].value > 0.15  # the mean beats the last value of noise by 1 - 1/√2


@pytest.mark.usefixtures("validated")
def test_training_lowers_the_validation_loss(make: Make) -> None:
    time = np.arange(300)
    frame = pl.DataFrame({"ds": time, "y": np.sin(time * 2 * np.pi / 9)})
    training = Training(validate_every=10, learning_rate=0.01)
    model = make(
        season=None,
        hidden_size=12,
        max_steps=120,
        training=training,
        architecture=Architecture(autoregression=False),
    ).fit(frame)
    losses = [row.validation for row in model.fitted_.record.history if row.validation is not None]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.usefixtures("validated")
def test_the_daily_weather_of_seattle_fits_and_backtests(make: Make, shared_data: Path) -> None:
    path = shared_data / "seattle_weather" / "seattle-weather.csv"
    model = make(7, season="auto", window=28, max_steps=30, calendar="auto")
    result = model.backtest(
        path, target="temp_max", time="date", past=["wind"], origins=Origins(test=60, step=7)
    )
    assert result.origins == 8
    assert set(result.skill) - {"seasonal_naive"} == {"last_value", "drift", "linear"}
    assert 0 < result.scores["mae"][0] < 10
    model.fit(path, target="temp_max", time="date", past=["wind"])
    assert recency(model).reacts
    assert values_of(model.predict(path)) == pytest.approx(values_of(model.predict()), rel=1e-5)


@pytest.mark.usefixtures("validated")
def test_hourly_series_of_the_m4_competition_fit_side_by_side(make: Make, shared_data: Path) -> None:
    found = sorted((shared_data / "m4_hourly").glob("*rain*.csv"))
    if not found:
        pytest.skip("no training table in m4_hourly")
    wide = pl.read_csv(found[0], n_rows=5)
    key = wide.columns[0]
    long = (
        wide.unpivot(index=key, variable_name="step", value_name="y")
        .drop_nulls()
        .with_columns(pl.col("step").str.strip_prefix("V").cast(pl.Int64), pl.col("y").cast(pl.Float64))
        .sort(key, "step")
        .rename({key: "unique_id", "step": "ds"})
    )
    model = make(24, season=24, window=48, max_steps=10).fit(long)
    forecast = model.predict()
    assert forecast.height == 5 * 24
    assert np.isfinite(values_of(forecast)).all()
    result = model.set_params(max_steps=3).backtest(long, origins=Origins(test=48))
    assert result.scores.height == 5
