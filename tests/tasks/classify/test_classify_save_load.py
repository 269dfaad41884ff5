"""Model folders of classifiers and regressors: exact, proven, and safe to open when hostile."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from gatestack.errors import ModelFileError
from gatestack.runtime.model_folder import read_model_folder, write_model_folder
from gatestack.tasks.classify import Architecture, Augmentation, Classifier
from gatestack.tasks.regress import Regressor
from gatestack.training import Training

from .series import sizes, small_classifier, small_regressor, waves


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    series, names = waves(8, channels=2)
    series[0][1, 1] = np.nan
    return small_classifier(members=2).fit(series, names).save(tmp_path / "model")


@pytest.mark.parametrize(
    "labels", [[3, 7], ["a", "b"], [True, False], [1.0, 2.0], np.array(["a", "b"], object)]
)
def test_a_saved_classifier_answers_with_the_same_bits(tmp_path: Path, labels: Any) -> None:
    series, _ = waves(8)
    y = np.array([labels[at % 2] for at in range(8)], dtype=np.asarray(labels).dtype)
    model = small_classifier(calibration="temperature").fit(series, y)
    loaded = Classifier.load(model.save(tmp_path / "model"))
    assert np.array_equal(loaded.predict_proba(series), model.predict_proba(series))
    assert np.array_equal(loaded.predict(series), model.predict(series))
    assert loaded.classes_.dtype.kind == model.classes_.dtype.kind
    later, _ = waves(8, seed=1)
    assert loaded.evaluate(later, y).scores.equals(model.evaluate(later, y).scores)


def test_a_saved_regressor_answers_with_the_same_bits(tmp_path: Path) -> None:
    X, y = sizes()
    model = small_regressor(members=2).fit(X, y)
    loaded = Regressor.load(model.save(tmp_path / "model"))
    assert np.array_equal(loaded.predict(X), model.predict(X))
    assert loaded.n_features_in_ == X.shape[1]
    later, truth = sizes(seed=1)
    assert loaded.evaluate(later, truth).scores.equals(model.evaluate(later, truth).scores)


def test_parameters_come_back_and_fit_the_same_model_again(tmp_path: Path) -> None:
    series, names = waves(8)
    model = small_classifier(
        layers=[5, 4],
        class_weight={"slow": 2.0, "fast": 1},
        label_smoothing=0.1,
        architecture=Architecture(recipe="plain", cell="gru", dropout=0.1),
        augmentation=Augmentation(crop=0.1),
        training=Training(learning_rate=0.01),
        seed=np.int64(3),
    ).fit(series, names)
    loaded = Classifier.load(model.save(tmp_path / "model"))
    for name, value in model.get_params(deep=False).items():
        assert loaded.get_params()[name] == (tuple(value) if isinstance(value, list) else value)
    assert np.array_equal(clone(loaded).fit(series, names).predict_proba(series), model.predict_proba(series))


def test_names_columns_and_keys_come_back(tmp_path: Path) -> None:
    rows = "".join(f"{case},{step},{case % 2},{'ab'[case % 2]}\n" for case in range(6) for step in range(5))
    (tmp_path / "long.csv").write_text("recording,step,x,kind\n" + rows)
    from gatestack.data.collections import read_labelled

    data = read_labelled(tmp_path / "long.csv", label="kind", case="recording", time="step")
    model = small_classifier().fit(data)
    loaded = Classifier.load(model.save(tmp_path / "model"))
    # A path is read with the columns of the fit.
    assert np.array_equal(loaded.predict_proba(tmp_path / "long.csv"), model.predict_proba(data))
    assert loaded.predict_frame(tmp_path / "long.csv")["case"].to_list() == list("012345")
    later = (tmp_path / "long.csv").read_text().replace("0,0,0,a", "0,0,9,a")
    (tmp_path / "later.csv").write_text(later)
    assert loaded.evaluate(tmp_path / "later.csv").cases == 6


def test_a_classifier_is_no_regressor(saved: Path) -> None:
    with pytest.raises(ModelFileError, match="expected a regressor"):
        Regressor.load(saved)


def test_a_pickle_answers_with_the_same_bits() -> None:
    series, names = waves(8)
    model = small_classifier().fit(series, names)
    assert np.array_equal(
        pickle.loads(pickle.dumps(model)).predict_proba(series), model.predict_proba(series)
    )


@dataclass
class Contents:
    """What stands in a model folder."""

    model: dict[str, Any]
    weights: dict[str, Any]
    proof: dict[str, Any]


Change = Callable[[Contents], object]
HOSTILE: dict[str, tuple[Change, str]] = {
    "no fitted": (lambda f: f.model.pop("fitted"), "valid dictionary"),
    "no parameters": (lambda f: f.model.pop("parameters"), "parameters"),
    "unknown parameter": (lambda f: f.model["parameters"].update(lays=1), "lays"),
    "unknown field": (lambda f: f.model["fitted"].update(code="x"), "code"),
    "a network of 2^40 units": (lambda f: shape(f.model).update(widths=[2**40]), "widths is"),
    "a network that would fill the memory": (lambda f: shape(f.model).update(widths=[2**20]), "expected"),
    "10,000 layers": (lambda f: shape(f.model).update(widths=[4] * 10_000), "widths is"),
    "no layers": (lambda f: shape(f.model).update(widths=[]), "widths"),
    "no members": (lambda f: f.model["fitted"].update(members=[]), "at least 1"),
    "a member too much": (lambda f: f.model["fitted"]["members"].pop(), "members"),
    "other outputs": (lambda f: shape(f.model).update(outputs=3), "3 outputs"),
    "other features": (lambda f: shape(f.model).update(features=7), "7 features"),
    "three classes": (lambda f: f.model["fitted"]["classes"].append("x"), "2 outputs"),
    "one class": (lambda f: f.model["fitted"]["classes"].pop(), "two classes"),
    "no classes": (lambda f: f.model["fitted"].update(classes=None), "two classes"),
    "kernels without end": (lambda f: f.model["fitted"]["architecture"].update(kernels=2**40), "kernels is"),
    "an unknown cell": (lambda f: f.model["fitted"]["architecture"].update(cell="exec"), "cell"),
    "temperature 0": (lambda f: f.model["fitted"].update(temperature=0), "greater than 0"),
    "an array is missing": (lambda f: f.weights.pop(first(f.weights)), "missing"),
    "an array of another shape": (
        lambda f: f.weights.update({first(f.weights): np.zeros((1, 1), np.float32)}),
        "expected",
    ),
    "a strange array": (lambda f: f.weights.update(extra=np.zeros(3)), "members"),
    "no training cases": (lambda f: f.weights.pop("training.values"), "training.values"),
    "an answer that is no class": (lambda f: f.weights["training.answers"].fill(9), "no answer can be"),
    "offsets that lie": (lambda f: f.weights["training.offsets"].fill(5), "offsets"),
    "no proof": (lambda f: f.proof.clear() or f.proof.update(other=np.zeros(1)), "lacks 'outputs'"),
    "another proof": (lambda f: f.proof.update(outputs=f.proof["outputs"] + 1), "differ from its proof"),
    "a proof of another shape": (lambda f: f.proof.update(outputs=f.proof["outputs"][:1]), "shape"),
    "NaN in a weight": (lambda f: f.weights[first(f.weights)].fill(np.nan), "proof"),
}


def shape(model: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = model["fitted"]["members"][0]["shape"]
    return found


def first(weights: dict[str, Any]) -> str:
    return min(name for name in weights if name.startswith("member.0.") and weights[name].ndim == 2)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_refused(saved: Path, tmp_path: Path, name: str) -> None:
    change, reason = HOSTILE[name]
    folder = read_model_folder(saved)
    found = Contents(dict(folder.model), dict(folder.weights), dict(folder.proof))
    change(found)
    write_model_folder(tmp_path / "hostile", model=found.model, weights=found.weights, proof=found.proof)
    with pytest.raises(ModelFileError, match=reason):
        Classifier.load(tmp_path / "hostile")
