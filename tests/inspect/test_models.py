"""Every estimator offers itself, and what is offered is what it computes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from inspected import close

from gatestack import AnomalyDetector, Classifier, Forecaster, Regressor
from gatestack.errors import ArgumentError, DataError, NotFittedError
from gatestack.inspect.inspection import TABLES
from gatestack.tasks.forecast.options import Architecture
from gatestack.tasks.labelled.options import Architecture as LabelledArchitecture

WAVES = [np.sin(np.arange(24) * (1 + case % 2) + case) for case in range(30)]
NAMES = ["slow", "fast"] * 15


def week(steps: int = 120) -> pl.DataFrame:
    random = np.random.default_rng(0)
    day = np.arange(steps)
    values = 10 + 3 * np.sin(2 * np.pi * day / 7) + 0.3 * random.normal(size=steps)
    return pl.DataFrame({"ds": day, "y": values, "rain": random.random(steps)})


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    model = Forecaster(horizon=3, layers=2, hidden_size=6, window=14, max_steps=4, season=7)
    return model.fit(week(), target="y", time="ds", past=["rain"])


def test_a_forecaster_is_looked_into(forecaster: Forecaster) -> None:
    found = forecaster.inspect(week(), sequences=24)
    assert set(found.tables) == set(TABLES)
    assert found.tables["layers"]["units"].to_list() == [6, 6]
    assert found.tables["occlusion"]["feature"].unique().drop_nulls().sort().to_list() == [
        "change of y",
        "rain",
        "y",
        "y in the long run",
    ]
    assert found.tables["completeness"]["error"].max() < 1e-3


def test_every_column_that_a_forecaster_reads_has_its_name() -> None:
    days = pl.date_range(pl.date(2023, 1, 1), pl.date(2023, 4, 30), eager=True)
    frames = [
        week().with_columns(
            ds=days,
            unique_id=pl.lit(name),
            rain=pl.when(pl.arange(120) % 9 > 0).then("rain"),
            sky=pl.Series(["clear", "grey", "fog"] * 40),
            height=pl.lit(height),
        )
        for name, height in (("hill", 300.0), ("shore", 2.0))
    ]
    model = Forecaster(3, hidden_size=4, window=14, max_steps=2, calendar=["day_of_week", "day_of_year"])
    columns = {"past": ["rain"], "future": ["sky"], "static": ["height"]}
    subject = model.fit(pl.concat(frames), **columns)._subject(pl.concat(frames), None, 4)
    assert subject.features[:4] == ("y", "change of y", "y in the long run", "rain")
    assert {"sky", "height"} < set(subject.features)
    circle = [f"day_of_{every}_{part}" for every in ("week", "year") for part in ("sin", "cos")]
    assert [name for name in subject.features if name in circle] == circle
    # Sine and cosine of a time are what their names say: a week later the first pair is the same.
    week_sin = subject.inputs[0, :, subject.features.index("day_of_week_sin")]
    torch.testing.assert_close(week_sin[7:], week_sin[:-7])
    assert week_sin[:7].std() > 0.5
    assert [name for name in subject.features if name.endswith("is known")][:2] == [
        "y is known",
        "rain is known",
    ]


def test_what_a_forecaster_offers_is_its_forecast_and_its_loss(forecaster: Forecaster) -> None:
    table = week()
    subject = forecaster._subject(table, None, 5)
    said = subject.run(subject.network, subject.inputs)
    for row, name in enumerate(subject.sequences):
        end = int(name.removeprefix("window to step ")) + 1
        # A window read from a zero state: that is what a model fitted on windows forecasts from.
        model = forecaster.fitted_.network
        chunk = forecaster.fitted_.panel(
            forecaster.fitted_.tail.__class__.from_frame(table, target="y", time="ds", past=["rain"])
        ).chunk(np.array([0]), np.array([end - 14]), 14, window=14, horizon=3)
        with torch.no_grad():
            parameters = model(chunk, torch.tensor([0]), torch.tensor([13]))
        median = model.distribution.quantiles(parameters)[0, :, len(forecaster.fitted_.levels) // 2]
        assert float(said.answer[row].detach()) == pytest.approx(median.mean(), rel=1e-4)
        levels = np.array(forecaster.fitted_.levels)
        error = table["y"].to_numpy()[end : end + 3, None] - model.distribution.quantiles(parameters)[0]
        pinball = np.maximum(levels * error, (levels - 1) * error).mean()
        deviation = np.abs(table["y"].to_numpy() - table["y"].to_numpy().mean()).mean()
        assert float(said.loss[row].detach()) == pytest.approx(pinball / deviation, rel=1e-3)


@pytest.mark.parametrize("name", ["normal", "student-t", "negative-binomial", "spline"])
def test_every_distribution_offers_its_centre(name: str) -> None:
    counts = week().with_columns(pl.col("y").round())
    model = Forecaster(
        horizon=2,
        layers=1,
        hidden_size=4,
        window=8,
        max_steps=2,
        season=7,
        architecture=Architecture(distribution=name),
    ).fit(counts, target="y", time="ds")
    subject = model._subject(counts, None, 3)
    said = subject.run(subject.network, subject.inputs)
    assert torch.isfinite(said.loss).all()
    with torch.no_grad():
        hidden, _ = subject.network.stack(subject.inputs)
    assert hidden.dtype == torch.float64
    near = counts["y"].to_numpy()
    assert float(said.answer.detach().min()) > near.min() - 5
    assert float(said.answer.detach().max()) < near.max() + 5


@pytest.mark.parametrize("recipe", ["kernels", "plain", pytest.param("lstm-fcn", marks=pytest.mark.slow)])
def test_a_classifier_is_looked_into(recipe: str) -> None:
    model = Classifier(
        layers=2, hidden_size=4, max_steps=3, architecture=LabelledArchitecture(recipe=recipe, kernels=84)
    ).fit(WAVES, NAMES)
    subject = model._subject(WAVES, NAMES, 30)
    said = subject.run(subject.network, subject.inputs)
    chances = model.predict_proba(WAVES)
    close(said.answer.detach().exp(), chances.max(axis=1), 1e-6)
    known = chances[np.arange(30), [list(model.classes_).index(name) for name in NAMES]]
    close(said.loss.detach(), -np.log(known), 1e-6)
    found = model.inspect(WAVES, NAMES, sequences=30 if recipe == "plain" else 6)
    assert {"layer_worth", "attributions", "gates"} <= set(found.tables)
    assert found.tables["layers"]["direction"].to_list() == ["forward", "reverse"] * 2
    if recipe == "plain":
        assert found.tables["probes"]["metric"].unique().to_list() == ["balanced accuracy"]
    else:
        assert any("they need 20 sequences" in note for note in found.notes)


def test_a_regressor_is_looked_into_with_and_without_its_truth() -> None:
    sizes = np.linspace(1, 3, 30)
    waves = [size * wave for size, wave in zip(sizes, WAVES, strict=True)]
    model = Regressor(
        layers=1, hidden_size=4, max_steps=3, architecture=LabelledArchitecture(recipe="plain")
    ).fit(waves, sizes)
    subject = model._subject(waves, sizes, 30)
    said = subject.run(subject.network, subject.inputs)
    close(said.answer.detach(), model.predict(waves), 1e-6)
    close(said.loss.detach(), (model.predict(waves) - sizes) ** 2, 1e-6)
    assert model.inspect(waves, sizes).table("probes") is not None
    assert model.inspect(waves).table("layer_worth") is None


@pytest.mark.parametrize("method", ["forecast", "reconstruction"])
def test_a_detector_is_looked_into(method: str) -> None:
    frame = week(80).select("ds", "y", "rain")
    model = AnomalyDetector(method, layers=1, hidden_size=4, window=8, max_steps=2).fit(frame)
    found = model.inspect(frame, sequences=6)
    assert found.tables["layers"].height == (1 if method == "forecast" else 2)
    assert found.tables["layer_worth"].filter(way="shuffled")["change"].null_count() == 0
    subject = model._subject(frame, None, 6)
    said = subject.run(subject.network, subject.inputs)
    if method == "reconstruction":
        assert said.late is None
        return
    # Without gaps the network reads no flags, and scores only what is said to be observed: the last step.
    assert not subject.network.shape.flags
    observed = torch.zeros_like(subject.inputs)
    observed[:, -1] = 1
    calendar = torch.zeros(len(observed), 8, subject.network.shape.calendar, dtype=torch.float64)
    for row in range(len(observed)):
        part = slice(row, row + 1)
        wanted = subject.network(subject.inputs[part], observed[part], calendar[part]).detach()
        close(said.late[row].detach(), wanted)


def test_models_refuse_what_they_cannot_use(forecaster: Forecaster) -> None:
    with pytest.raises(NotFittedError):
        Forecaster(horizon=2).inspect(week())
    with pytest.raises(ArgumentError, match="y is given"):
        forecaster.inspect(week(), [1])
    with pytest.raises(DataError, match="a window and a horizon"):
        forecaster.inspect(week(15))
    with pytest.raises(ArgumentError, match="sequences"):
        forecaster.inspect(week(), sequences=0)
