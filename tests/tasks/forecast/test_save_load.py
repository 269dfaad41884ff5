"""The model folder of a forecaster, and runs that go on after an interruption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone

import gatestack as gs
from gatestack.errors import ArgumentError, ModelFileError
from gatestack.runtime.model_folder import read_model_folder, write_model_folder
from gatestack.tasks.forecast import Architecture, Forecaster, fitting
from gatestack.training import RunFolder, Training, loop

from .tables import ahead_of, hourly, many_series, one_series

Make = Callable[..., Forecaster]


@pytest.fixture
def saved(make: Make, tmp_path: Path) -> Path:
    model = make(architecture=Architecture(cell="gru"), training=Training(batch_size=8))
    return model.fit(one_series(), past=["rain"]).save(tmp_path / "model")


@pytest.mark.parametrize("mode", ["direct", "windows", "recursive"])
@pytest.mark.parametrize("scaling", ["window", "series"])
@pytest.mark.usefixtures("validated")
def test_a_saved_model_answers_with_the_same_bits(
    make: Make, tmp_path: Path, mode: str, scaling: str
) -> None:
    frame = many_series(keys={"b": 2, "a": 1, "c": 30})
    model = make(mode=mode, architecture=Architecture(scaling=scaling), calendar=["day_of_week"])
    model.fit(frame, future=["open"], static=["size"])
    loaded = Forecaster.load(model.save(tmp_path / "model"))
    ahead = ahead_of(frame, 3)
    assert loaded.predict(future=ahead).equals(model.predict(future=ahead))
    assert loaded.predict(frame, future=ahead).equals(model.predict(frame, future=ahead))
    longer = many_series({"b": 70, "a": 55, "c": 85}, keys={"b": 2, "a": 1, "c": 30})
    assert loaded.evaluate(longer).scores.equals(model.evaluate(longer).scores)


def test_parameters_come_back_and_fit_the_same_model_again(make: Make, tmp_path: Path) -> None:
    model = make(
        layers=[5, 4],
        season=(4, 5),
        calendar=["day_of_week"],
        seed=np.int64(3),
        architecture=Architecture(dropout=0.1),
        training=Training(learning_rate=0.01),
    ).fit(one_series())
    loaded = gs.load(model.save(tmp_path / "model"))
    assert isinstance(loaded, Forecaster)
    for name, value in model.get_params().items():
        given = tuple(value) if isinstance(value, list) else value
        assert loaded.get_params()[name] == given
    again = clone(loaded).fit(one_series())
    assert again.predict().equals(model.predict())


def test_a_loaded_model_streams_and_keeps_its_times(make: Make, tmp_path: Path) -> None:
    model = make(calendar=["hour"]).fit(hourly(60, "Europe/Berlin"))
    loaded = Forecaster.load(model.save(tmp_path / "model"))
    one, other = model.stream().step({"y": 20.0}), loaded.stream().step({"y": 20.0})
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert loaded.predict()["ds"].equals(model.predict()["ds"])
    assert loaded.fitted_.record == model.fitted_.record


def test_saving_never_replaces_a_folder_unasked(saved: Path, make: Make) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    other = make(seed=5).fit(one_series())
    with pytest.raises(ArgumentError, match="exists"):
        other.save(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    other.save(saved, overwrite=True)
    assert Forecaster.load(saved).seed == 5


def test_a_report_travels_in_the_folder(make: Make, tmp_path: Path) -> None:
    model = make().fit(one_series())
    path = model.save(tmp_path / "model", report="<p>good</p>")
    assert (path / "report.html").read_text() == "<p>good</p>"
    assert Forecaster.load(path).predict().equals(model.predict())


@pytest.mark.parametrize("name", ["weights.safetensors", "proof.safetensors"])
def test_one_flipped_bit_is_found(saved: Path, name: str) -> None:
    content = bytearray((saved / name).read_bytes())
    content[-3] ^= 4
    (saved / name).write_bytes(content)
    with pytest.raises(ModelFileError, match=name):
        Forecaster.load(saved)


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "proof.safetensors"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(ModelFileError, match=name):
        gs.load(saved)


@dataclass
class Contents:
    """What stands in a model folder."""

    model: dict[str, Any]
    weights: dict[str, Any]
    proof: dict[str, Any]


Change = Callable[[Contents], object]


def rewritten(saved: Path, path: Path, change: Change) -> Path:
    """A folder with good hashes whose contents were changed."""
    read = read_model_folder(saved)
    model = {name: read.model[name] for name in ("kind", "parameters", "fitted")}
    contents = Contents(model, dict(read.weights), dict(read.proof))
    change(contents)
    write_model_folder(path, model=contents.model, weights=contents.weights, proof=contents.proof)
    return path


def grown(weights: dict[str, Any], name: str) -> None:
    weights[name] = np.concatenate([weights[name], weights[name]])


CHANGES: dict[str, tuple[Change, str]] = {
    "kind": (lambda f: f.model.update(kind="clasifier"), "kind of model is 'clasifier'"),
    "no parameters": (lambda f: f.model.pop("parameters"), "parameters"),
    "unknown parameter": (lambda f: f.model["parameters"].update(depth=3), "parameters"),
    "parameter lost": (lambda f: f.model["parameters"].pop("layers"), "parameters"),
    "unknown architecture": (
        lambda f: f.model["parameters"]["architecture"].update(cells="gru"),
        "did you mean 'cell'",
    ),
    "training": (lambda f: f.model["parameters"].update(training={"batch_size": 0}), "batch_size"),
    "architecture type": (lambda f: f.model["parameters"].update(architecture=3), "parameters"),
    "no fit": (lambda f: f.model.pop("fitted"), "fitted|valid"),
    "unknown field": (lambda f: f.model["fitted"].update(more=1), "more"),
    "horizon": (lambda f: f.model["fitted"].update(horizon="x"), "horizon"),
    "mode": (lambda f: f.model["fitted"].update(mode="direkt"), "mode"),
    "levels": (lambda f: f.model["fitted"].update(levels=[0.1, 0.2, 0.3, 0.4, 0.5]), "."),
    "shape": (lambda f: f.model["fitted"]["network"]["shape"].update(window=11), "belong together"),
    "cell": (lambda f: f.model["fitted"]["network"]["architecture"].update(cell="lstm"), "belong together"),
    "frequency": (lambda f: f.model["fitted"]["table"]["frequency"].update(unit="moon"), "moon"),
    "columns": (lambda f: f.model["fitted"]["table"]["columns"].update(more=1), "belong together"),
    "keys": (lambda f: f.model["fitted"]["table"].update(keys=["a", "b"]), "belong together"),
    "network array lost": (lambda f: f.weights.pop("network.head.to_quantiles.bias"), "to_quantiles.bias"),
    "state array lost": (lambda f: f.weights.pop("state.hidden"), "hidden"),
    "layer state lost": (lambda f: f.weights.pop("state.layer_1.h"), "."),
    "tail lost": (lambda f: f.weights.pop("tail.values"), "values"),
    "scaling lost": (lambda f: f.weights.pop("state.scaling.sums"), "sums"),
    "baseline lost": (lambda f: f.weights.pop("baseline.weight"), "baseline.weight"),
    "state grown": (lambda f: grown(f.weights, "state.hidden"), "."),
    "tail grown": (lambda f: grown(f.weights, "tail.values"), "."),
    "proof lost": (lambda f: (f.proof.pop("quantiles"), f.proof.update(other=np.zeros(1))), "quantiles"),
    "proof of another shape": (lambda f: f.proof.update(quantiles=f.proof["quantiles"][:, :1]), "."),
    "proof of other numbers": (
        lambda f: f.proof.update(quantiles=f.proof["quantiles"] * 1.01),
        "differ from its proof",
    ),
    "proof not a number": (
        lambda f: f.proof.update(quantiles=f.proof["quantiles"] * np.nan),
        "differ from its proof",
    ),
    "weights of other numbers": (
        lambda f: f.weights.update({"network.head.to_quantiles.bias": np.ones(3, dtype=np.float32)}),
        "differ from its proof",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_folder_is_refused(saved: Path, tmp_path: Path, name: str) -> None:
    change, text = CHANGES[name]
    path = rewritten(saved, tmp_path / "changed", change)
    with pytest.raises(ModelFileError, match=text):
        gs.load(path)


def test_a_folder_that_was_only_copied_loads(saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path / "copy", lambda _: None)
    assert Forecaster.load(path).predict().equals(Forecaster.load(saved).predict())


@pytest.mark.usefixtures("validated")
def test_an_interrupted_fit_goes_on_to_the_same_weights(make: Make, tmp_path: Path) -> None:
    frame = one_series()
    settings: dict[str, Any] = {
        "max_steps": 12,
        "architecture": Architecture(dropout=0.2),
        "training": Training(validate_every=3),
    }
    whole = make(**settings).fit(frame)

    class StopHereError(Exception):
        pass

    plain, save = fitting.batch_loss, loop._Run.save
    calls = []

    def stops(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 15:
            raise StopHereError
        return plain(*arguments)

    def save_now(run: Any, *, always: bool) -> None:
        save(run, always=always or run.state.step > 0)

    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "batch_loss", stops)
        patch.setattr(loop._Run, "save", save_now)
        with pytest.raises(StopHereError):
            make(**settings).fit(frame, run=RunFolder(path=folder))
    assert list(folder.iterdir())
    resumed = make(**settings).fit(frame, run=RunFolder(path=folder, resume=True))
    one, other = (model.fitted_.network.state_dict() for model in (whole, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(ArgumentError, match="resume=True"):
        make(**settings).fit(frame, run=RunFolder(path=folder))
