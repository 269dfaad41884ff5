"""Every distribution in every mode: fits, saves, streams, evaluates, and says what it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import gatestack as gs
from gatestack.convert.onnx.export import export_onnx
from gatestack.convert.verify import verify
from gatestack.errors import ArgumentError, DataError
from gatestack.runtime.model_folder import read_model_folder, write_model_folder
from gatestack.tasks.forecast import Architecture, Forecaster, recency
from gatestack.training import Training

from .tables import ahead_of, many_series, one_series, values_of
from .test_onnx import stirred

Make = Callable[..., Forecaster]

NEW = ("normal", "student-t", "negative-binomial", "spline")
MODES = ("direct", "windows", "recursive")


def counted(frame: pl.DataFrame) -> pl.DataFrame:
    """The same series as counts."""
    return frame.with_columns(pl.col("y").round())


def zero_heavy(steps: int = 120) -> pl.DataFrame:
    """Counts of which nine in ten are zero."""
    counts = np.random.default_rng(0).poisson(np.where(np.arange(steps) % 10 == 3, 3.0, 0.03))
    return pl.DataFrame({"ds": range(steps), "y": counts.astype(float)})


def ascends(forecast: pl.DataFrame) -> bool:
    return bool(
        (forecast["gatestack-lo-80"] <= forecast["gatestack"]).all()
        and (forecast["gatestack"] <= forecast["gatestack-hi-80"]).all()
    )


@pytest.mark.parametrize("distribution", NEW)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.usefixtures("validated")
def test_every_mode_fits_saves_and_answers_with_the_same_bits(
    make: Make, tmp_path: Path, mode: str, distribution: str
) -> None:
    frame = counted(many_series())
    model = make(mode=mode, architecture=Architecture(distribution=distribution))
    model.fit(frame, future=["open"], static=["size"])
    loaded = Forecaster.load(model.save(tmp_path / "model"))
    ahead = ahead_of(frame, 3)
    forecast = model.predict(frame, future=ahead)
    assert np.isfinite(values_of(forecast)).all()
    assert ascends(forecast)
    assert loaded.predict(future=ahead).equals(model.predict(future=ahead))
    assert loaded.predict(frame, future=ahead).equals(forecast)


@pytest.mark.parametrize("distribution", NEW)
@pytest.mark.parametrize("mode", ["direct", pytest.param("recursive", marks=pytest.mark.slow)])
def test_an_evaluation_scores_them_beside_the_baselines(make: Make, mode: str, distribution: str) -> None:
    model = make(mode=mode, architecture=Architecture(distribution=distribution)).fit(counted(one_series(80)))
    scores = model.evaluate(counted(one_series(90)), step=3).scores.row(0, named=True)
    assert scores["scaled_crps"] > 0
    assert 0 <= scores["coverage-80"] <= 1


@pytest.mark.parametrize("distribution", NEW)
@pytest.mark.parametrize("mode", ["direct", "recursive"])
def test_a_stream_equals_the_batch(make: Make, mode: str, distribution: str) -> None:
    frame = counted(one_series(84)).with_columns(pl.when(pl.int_range(pl.len()) % 9 != 4).then("y"))
    history, rows = frame.head(80), frame.tail(4)
    model = make(mode=mode, architecture=Architecture(distribution=distribution)).fit(history)
    stream = model.stream()
    for count, row in enumerate(rows.iter_rows(named=True), start=1):
        found = stream.step({"y": row["y"]})
        batch = model.predict(pl.concat([history, rows.head(count)]))
        for name, values in found.items():
            np.testing.assert_allclose(values, batch[name].to_numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("distribution", NEW)
def test_a_series_has_the_same_forecast_alone_and_among_others(make: Make, distribution: str) -> None:
    frame = counted(many_series())
    model = make(mode="recursive", architecture=Architecture(distribution=distribution)).fit(frame)
    among = model.predict(frame).filter(pl.col("unique_id") == "a")
    alone = model.predict(frame.filter(pl.col("unique_id") == "a"))
    np.testing.assert_allclose(values_of(alone), values_of(among), rtol=1e-5)


@pytest.mark.parametrize("distribution", NEW)
def test_each_changes_the_forecast_and_learns(make: Make, distribution: str) -> None:
    frame = counted(one_series())
    changed = make(max_steps=12, architecture=Architecture(distribution=distribution)).fit(frame)
    usual = make(max_steps=12).fit(frame)
    assert not np.array_equal(values_of(changed.predict()), values_of(usual.predict()))
    head = changed.fitted_.network.head.to_quantiles
    # every raw number is read by the loss, and so moves
    assert (head.bias.abs() > 0).all()


@pytest.mark.parametrize("distribution", NEW)
@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_each_trains_in_other_precisions(make: Make, distribution: str, precision: str) -> None:
    settings: dict[str, Any] = {"architecture": Architecture(distribution=distribution)}
    frame = counted(one_series())
    other = make(training=Training(precision=precision), **settings).fit(frame)
    single = make(**settings).fit(frame)
    # a count that falls on the other side of a step is off by one
    off = {"atol": 1.0} if distribution == "negative-binomial" else {"rtol": 0.02}
    np.testing.assert_allclose(values_of(other.predict()), values_of(single.predict()), **off)


@pytest.mark.slow
@pytest.mark.parametrize("distribution", NEW)
def test_the_report_shows_them(make: Make, distribution: str, tmp_path: Path) -> None:
    frame = counted(one_series(120))
    model = make(architecture=Architecture(distribution=distribution))
    evaluation = model.backtest(frame)
    gs.report(model.fit(frame), tmp_path / "report.html", evaluation=evaluation, data=frame)
    assert distribution in (tmp_path / "report.html").read_text()


def test_a_model_of_one_quantile_may_draw_from_a_distribution(make: Make) -> None:
    settings: dict[str, Any] = {"mode": "recursive", "quantiles": [0.5]}
    with pytest.raises(ArgumentError, match="three quantiles or more"):
        make(**settings).fit(one_series())
    model = make(**settings, architecture=Architecture(distribution="normal")).fit(one_series())
    assert model.predict().columns == ["ds", "gatestack"]


def test_a_folder_of_before_there_were_distributions_loads(make: Make, tmp_path: Path) -> None:
    model = make(mode="recursive", architecture=Architecture(cell="gru")).fit(one_series())
    folder = read_model_folder(model.save(tmp_path / "new"))
    text = json.loads(json.dumps({name: folder.model[name] for name in ("kind", "parameters", "fitted")}))
    assert text["parameters"]["architecture"].pop("distribution") == "quantiles"
    assert text["fitted"]["network"]["architecture"].pop("distribution") == "quantiles"
    write_model_folder(tmp_path / "old", model=text, weights=folder.weights, proof=folder.proof)
    assert gs.load(tmp_path / "old").predict().equals(model.predict())


@pytest.mark.usefixtures("validated")
def test_series_that_are_mostly_zero_keep_their_rare_counts_apart(make: Make) -> None:
    frame = zero_heavy(200)
    model = make(
        horizon=10,
        window=20,
        season=10,
        quantiles=(0.05, 0.5, 0.95),
        max_steps=40,
        architecture=Architecture(distribution="negative-binomial"),
        training=Training(learning_rate=0.02),
    ).fit(frame)
    forecast = model.predict()
    values = values_of(forecast)
    assert (values == np.floor(values)).all()
    assert values.min() == 0
    busy = (forecast["ds"] % 10 == 3).to_numpy()
    assert forecast["gatestack-hi-90"].to_numpy()[busy].min() >= 3
    assert (forecast["gatestack"].to_numpy()[~busy] == 0).all()


@pytest.mark.parametrize(("value", "shown"), [(-1.0, "-1"), (2.5, "2.5")])
def test_counts_refuse_what_is_none_with_series_and_step(make: Make, value: float, shown: str) -> None:
    architecture = Architecture(distribution="negative-binomial")
    frame = counted(many_series())
    wrong = frame.with_columns(
        y=pl.when((pl.col("unique_id") == "a") & (pl.int_range(pl.len()).over("unique_id") == 6))
        .then(value)
        .otherwise("y")
    )
    text = f"the target is {shown} at 2024-01-07.*, step 7 of series 'a'"
    with pytest.raises(DataError, match=text):
        make(architecture=architecture).fit(wrong)
    model = make(architecture=architecture).fit(frame)
    with pytest.raises(DataError, match=text):
        model.predict(wrong)
    stream = model.stream("a")
    state = stream.state
    with pytest.raises(DataError, match=shown):
        stream.step({"y": value})
    assert stream.state is state


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("distribution", ["normal", "spline"])
def test_onnx_answers_as_predict_does(make: Make, tmp_path: Path, mode: str, distribution: str) -> None:
    pytest.importorskip("onnxruntime")
    architecture = Architecture(distribution=distribution)
    model = stirred(make(mode=mode, architecture=architecture).fit(many_series(), static=["size"]))
    found = export_onnx(model, tmp_path / "m.onnx")
    assert verify(found.path).passed


@pytest.mark.parametrize("distribution", ["student-t", "negative-binomial"])
def test_what_onnx_cannot_say_is_refused_with_a_way_on(make: Make, tmp_path: Path, distribution: str) -> None:
    pytest.importorskip("onnxruntime")
    model = make(architecture=Architecture(distribution=distribution)).fit(counted(one_series()))
    with pytest.raises(ArgumentError, match=f"'{distribution}' has no quantile function.*\n\nhint: .*spline"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("distribution", NEW)
@pytest.mark.parametrize("mode", ["direct", "recursive"])
def test_series_of_any_size_and_none_at_all_stay_finite(make: Make, mode: str, distribution: str) -> None:
    """Large, tiny, constant and zero series in one model, and a jump after a constant stretch."""
    steps = np.arange(60)
    wave = np.round(20 + 8 * np.sin(steps))
    series = {"usual": wave, "huge": 1e9 * wave, "constant": np.full(60, 5.0), "zero": np.zeros(60)}
    series["jump"] = np.where(steps == 40, 1e6, 0.0)
    if distribution != "negative-binomial":
        series |= {"tiny": 1e-12 * wave, "far": 1e7 + wave}
    frame = pl.concat([pl.DataFrame({"unique_id": key, "ds": steps, "y": y}) for key, y in series.items()])
    model = make(mode=mode, max_steps=8, architecture=Architecture(distribution=distribution)).fit(frame)
    forecast = model.predict()
    assert np.isfinite(values_of(forecast)).all()
    assert ascends(forecast)
    assert all(row.train_loss is None or np.isfinite(row.train_loss) for row in model.fitted_.record.history)
    still = forecast.filter(pl.col("unique_id").is_in(["constant"]))["gatestack"]
    assert np.abs(still.to_numpy() - 5.0).max() <= (5.0 if distribution == "negative-binomial" else 0.1)


@pytest.mark.parametrize("distribution", NEW)
@pytest.mark.parametrize("mode", MODES)
def test_the_first_step_reads_the_last_observation(make: Make, mode: str, distribution: str) -> None:
    """Also where the medians are whole numbers and do not move with it."""
    model = make(mode=mode, architecture=Architecture(distribution=distribution))
    assert recency(model.fit(counted(one_series()))).reacts


@pytest.mark.parametrize("distribution", ["normal", "student-t", "spline"])
def test_the_unit_of_a_series_does_not_matter(make: Make, distribution: str) -> None:
    frame = one_series()
    model = make(architecture=Architecture(distribution=distribution))
    one = model.fit(frame).predict()
    other = model.fit(frame.with_columns(pl.col("y") * 1024)).predict()
    np.testing.assert_allclose(values_of(other), 1024 * values_of(one), rtol=1e-3)


def test_the_level_that_the_head_starts_from_is_the_regression(make: Make) -> None:
    """Before the first update, every distribution's median is the linear autoregression of its network."""
    frame = one_series()
    medians = {}
    for distribution in ("quantiles", "normal", "student-t", "spline"):
        model = make(architecture=Architecture(distribution=distribution)).fit(frame)
        head = model.fitted_.network.head
        with torch.no_grad():
            head.to_quantiles.weight.zero_()
            head.to_quantiles.bias.zero_()
        medians[distribution] = model.predict()["gatestack"].to_numpy()
    for median in medians.values():
        np.testing.assert_allclose(median, medians["quantiles"], rtol=1e-5)
