"""Recurrent dropout, zoneout, layer normalisation, … by name, in the networks of all tasks."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose
from typer.testing import CliRunner

import gatestack as gs
from gatestack.cli.main import app
from gatestack.errors import ArgumentError
from gatestack.nn import LSTMForm, Regularisation, Stack
from gatestack.reports import render_report
from gatestack.tasks import classify, detect, forecast

WAVES = [np.sin(np.arange(12) * (1 + case % 2)) for case in range(20)]
KINDS = ["slow", "fast"] * 10
FRAME = pl.DataFrame({"ds": range(160), "y": np.sin(np.arange(160) / 5)})
WAYS: list[dict[str, Any]] = [
    {"recurrent_dropout": 0.3},
    {"zoneout": 0.2},
    {"layer_norm": True},
    {"variational_dropout": 0.3},
]
MAKERS: dict[str, Callable[..., Any]] = {
    "forecaster": lambda way: gs.Forecaster(
        3, window=8, season=None, hidden_size=4, max_steps=4, architecture=forecast.Architecture(**way)
    ).fit(FRAME),
    "detector": lambda way: gs.AnomalyDetector(
        window=8, layers=2, hidden_size=4, max_steps=4, architecture=detect.Architecture(**way)
    ).fit(FRAME),
    "reconstruction": lambda way: gs.AnomalyDetector(
        "reconstruction",
        window=8,
        layers=2,
        hidden_size=4,
        max_steps=4,
        architecture=detect.Architecture(**way),
    ).fit(FRAME),
    "classifier": lambda way: gs.Classifier(
        layers=2,
        hidden_size=4,
        max_steps=4,
        architecture=classify.Architecture(recipe="plain", dropout=0.0, **way),
    ).fit(WAVES, KINDS),
}
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: next(iter(way)))
kinds = pytest.mark.parametrize("kind", MAKERS)


def network_of(model: Any) -> Any:
    fitted = model.fitted_
    return fitted.members[0].network if hasattr(fitted, "members") else fitted.network


def stacks_of(model: Any) -> list[Stack]:
    return [module for module in network_of(model).modules() if isinstance(module, Stack)]


@kinds
@ways
def test_the_layers_have_what_was_asked_for_and_folders_keep_it(
    kind: str, way: dict[str, Any], tmp_path: Path
) -> None:
    model = MAKERS[kind](way)
    loaded = gs.load(model.save(tmp_path / "model"))
    for stack in (*stacks_of(model), *stacks_of(loaded)):
        for layer in stack.layers:
            assert layer.regularisation == Regularisation(
                recurrent_dropout=way.get("recurrent_dropout", 0.0),
                zoneout_hidden=way.get("zoneout", 0.0),
                zoneout_cell=way.get("zoneout", 0.0),
            )
            assert layer.form == LSTMForm(layer_norm=way.get("layer_norm", False))
        assert stack.variational_dropout == way.get("variational_dropout", 0.0)
    assert loaded.architecture == model.architecture  # type: ignore[attr-defined]
    for name, array in model.proof().items():
        assert_allclose(loaded.proof()[name], array)  # type: ignore[union-attr]


@kinds
@ways
def test_training_feels_it(kind: str, way: dict[str, Any]) -> None:
    plain, held_back = (network_of(MAKERS[kind](choices)).state_dict() for choices in ({}, way))
    shared = [name for name in plain if name in held_back and plain[name].is_floating_point()]
    assert any(not torch.equal(plain[name], held_back[name]) for name in shared)


@kinds
@ways
def test_onnx_runtime_gives_the_same(kind: str, way: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    gs.convert.export_onnx(MAKERS[kind](way), path)
    assert gs.convert.verify(path).passed


@ways
def test_a_stream_gives_the_scores_of_a_batch(way: dict[str, Any]) -> None:
    model = MAKERS["detector"](way)
    later = FRAME.with_columns(pl.col("ds") + 160)[:20]
    found = model.predict(later)["score"].to_list()
    stream = model.stream()
    # The first values differ in history: a stream goes on where the fit ended.
    assert [stream.step({"y": value}).score for value in later["y"]][5:] == pytest.approx(found[5:], abs=1e-8)


def test_folders_of_detectors_without_an_architecture_are_read(tmp_path: Path) -> None:
    model = MAKERS["detector"]({})
    folder = model.save(tmp_path / "model")
    text = json.loads((folder / "model.json").read_text())
    del text["parameters"]["architecture"], text["fitted"]["architecture"]
    (folder / "model.json").write_text(json.dumps(text))
    loaded = gs.load(folder)
    assert loaded.architecture is None  # type: ignore[attr-defined]
    assert_allclose(loaded.proof()["score"], model.proof()["score"])  # type: ignore[union-attr]


@pytest.mark.parametrize("task", [forecast, classify])
@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_what_a_cell_cannot_have_is_refused(task: Any, cell: str) -> None:
    with pytest.raises(ArgumentError, match=f"layer_norm=True with cell='{cell}'"):
        task.Architecture(cell=cell, layer_norm=True)
    zoned = task.Architecture(cell=cell, zoneout=0.1)
    assert zoned.zoneout == 0.1


@pytest.mark.parametrize("name", ["dropout", "variational_dropout", "recurrent_dropout", "zoneout"])
def test_shares_are_checked(name: str) -> None:
    for task in (forecast, classify, detect):
        with pytest.raises(ArgumentError, match=f"the '{name}' parameter of Architecture is 1.0"):
            task.Architecture(**{name: 1.0})


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_other_cells_zone_out_too(cell: Any) -> None:
    model = gs.Forecaster(
        3, window=8, season=None, hidden_size=4, max_steps=2,
        architecture=forecast.Architecture(cell=cell, zoneout=0.2, recurrent_dropout=0.1),
    ).fit(FRAME)  # fmt: skip
    (stack,) = stacks_of(model)
    assert stack.layers[0].regularisation == Regularisation(recurrent_dropout=0.1, zoneout_hidden=0.2)


OPTIONS = [
    *("--dropout", "0.2", "--variational-dropout", "0.1", "--recurrent-dropout", "0.15"),
    *("--zoneout", "0.05", "--layer-norm", "--learning-rate", "0.004", "--weight-decay", "0.1"),
]
TASKS = {
    "forecast": ["--target", "y", "--horizon", "3", "--season", "none", "--window", "8", "--no-backtest"],
    "detect": ["--window", "8"],
    "classify": ["--recipe", "plain"],
    "regress": ["--recipe", "plain"],
}


@pytest.mark.parametrize("task", TASKS)
def test_the_command_line_has_them_and_reports_repeat_them(task: str, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    if task in ("classify", "regress"):
        frame = pl.DataFrame(WAVES, schema=[str(case) for case in range(20)]).transpose()
        labels = KINDS if task == "classify" else list(range(20))
        frame.with_columns(label=pl.Series(labels)).write_csv(path)
    else:
        FRAME.write_csv(path)
    tiny = ["--layers", "2", "--hidden-size", "4", "--max-steps", "2", "--out", str(tmp_path / "model")]
    words = ["fit", task, str(path), *TASKS[task], *tiny, *OPTIONS, "--quiet"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    model = gs.load(tmp_path / "model")
    architecture: Any = model.architecture  # type: ignore[union-attr]
    assert (architecture.dropout, architecture.variational_dropout) == (0.2, 0.1)
    assert (architecture.recurrent_dropout, architecture.zoneout) == (0.15, 0.05)
    assert architecture.layer_norm
    assert model.training.weight_decay == 0.1  # type: ignore[union-attr]
    assert model.training.learning_rate == 0.004  # type: ignore[union-attr]
    page = render_report(model, evaluation=None, data=None, scored="after the fit")  # type: ignore[arg-type]
    command = next(line for line in page.splitlines() if f"gatestack fit {task}" in line)
    for option in shlex.split(" ".join(OPTIONS)):
        assert option in command
    assert "layer_norm=True" in page
    assert "zoneout=0.05" in page
