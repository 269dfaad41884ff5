"""The contract of classifier and regressor: parameters, inputs, errors, determinism."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from gatestack.data import Sequences
from gatestack.data.collections import read_labelled
from gatestack.errors import ArgumentError, DataError, NotFittedError
from gatestack.tasks.classify import Architecture, Augmentation, Classifier
from gatestack.tasks.regress import Regressor
from gatestack.training import Training

from .series import SMALL, sizes, small_classifier, small_regressor, waves

# What learns scikit-learn's clouds of points, as series of 2 and 10 steps, in the least time.
CHECKED: dict[str, Any] = {
    "layers": 1,
    "hidden_size": 16,
    "architecture": Architecture(recipe="plain", cell="gru", pooling="last", scaling="training", dropout=0.0),
    "training": Training(learning_rate=0.05),
}


# No check is expected to fail.
@parametrize_with_checks([Classifier(**CHECKED, max_steps=60)])
def test_scikit_learns_checks_pass(estimator: Any, check: Callable[[Any], None]) -> None:
    with warnings.catch_warnings():
        # What scikit-learn's own checks warn about (a column y, a skipped namespace) is theirs.
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.mark.slow
@parametrize_with_checks([Regressor(**CHECKED, max_steps=100), Classifier(), Regressor()])
def test_scikit_learns_checks_pass_with_the_defaults_too(
    estimator: Any, check: Callable[[Any], None]
) -> None:
    test_scikit_learns_checks_pass(estimator, check)


@pytest.mark.parametrize("kind", [Classifier, Regressor])
def test_the_constructor_stores_what_it_is_given_unchanged(kind: type[Classifier | Regressor]) -> None:
    given = {name: object() for name in kind().get_params(deep=False)}
    model = kind(**given)  # type: ignore[arg-type]
    assert all(model.get_params(deep=False)[name] is value for name, value in given.items())


BAD: dict[str, Any] = {
    "layers": 0,
    "hidden_size": 2.5,
    "max_steps": 0,
    "members": 0,
    "class_weight": "even",
    "label_smoothing": 1.0,
    "calibration": "platt",
    "architecture": "big",
    "augmentation": 0.1,
    "training": {"batch_size": 3},
    "seed": -1,
}


def test_every_parameter_has_a_bad_value_here() -> None:
    assert BAD.keys() == Classifier().get_params(deep=False).keys()
    assert Regressor().get_params(deep=False).keys() < BAD.keys()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_parameter_is_named_in_fit(name: str) -> None:
    with pytest.raises(ArgumentError, match=name):
        small_classifier(**{name: BAD[name]}).fit(*waves(6))
    if name in Regressor().get_params():
        with pytest.raises(ArgumentError, match=name):
            small_regressor(**{name: BAD[name]}).fit(*sizes(6))


CHANGES: dict[str, dict[str, Any]] = {
    "layers": {"layers": 2},
    "widths": {"layers": [5, 4]},
    "hidden_size": {"hidden_size": 5},
    "max_steps": {"max_steps": 5},
    "members": {"members": 2},
    "class_weight": {"class_weight": {"slow": 3.0}},
    "balanced": {"class_weight": "balanced"},
    "label_smoothing": {"label_smoothing": 0.2},
    "calibration": {"calibration": "temperature"},
    "architecture": {"architecture": Architecture(recipe="plain", scaling="both", pooling="last")},
    "augmentation": {"augmentation": Augmentation(jitter=0.5)},
    "training": {"training": Training(learning_rate=0.001)},
    "seed": {"seed": 1},
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_option_changes_the_answer(name: str) -> None:
    series, names = waves(15)  # more slow than fast ones, so that balanced weights differ
    plain = small_classifier().fit(series, names).predict_proba(series)
    changed = small_classifier(**CHANGES[name]).fit(series, names).predict_proba(series)
    assert not np.allclose(plain, changed, rtol=0, atol=1e-6)
    if name in Regressor().get_params():
        X, y = sizes(8)
        whole = small_regressor().fit(X, y).predict(X)
        other = small_regressor(**CHANGES[name]).fit(X, y).predict(X)
        assert not np.allclose(whole, other, rtol=0, atol=1e-6)


def test_equal_seeds_give_equal_answers_and_clones_fit_the_same() -> None:
    series, names = waves()
    model = small_classifier(architecture=Architecture(recipe="plain", dropout=0.5)).fit(series, names)
    assert np.array_equal(model.predict_proba(series), clone(model).fit(series, names).predict_proba(series))


def test_members_are_averaged() -> None:
    series, names = waves()
    alone = [small_classifier(seed=seed).fit(series, names).predict_proba(series) for seed in (3, 4)]
    both = small_classifier(seed=3, members=2).fit(series, names)
    assert np.allclose(both.predict_proba(series), np.mean(alone, axis=0), rtol=0, atol=1e-12)
    X, y = sizes()
    alone = [small_regressor(seed=seed).fit(X, y).predict(X) for seed in (3, 4)]
    assert np.allclose(small_regressor(seed=3, members=2).fit(X, y).predict(X), np.mean(alone, axis=0))


def test_a_small_network_learns_what_can_be_learned() -> None:
    series, names = waves(60)
    model = Classifier(**(SMALL | {"max_steps": 120, "hidden_size": 12})).fit(series, names)
    later, truth = waves(60, seed=1, most=20)
    assert np.mean(model.predict(later) == truth) > 0.9
    X, y = sizes(60)
    unseen, heights = sizes(40, seed=1)
    assert Regressor(**(SMALL | {"max_steps": 200})).fit(X, y).score(unseen, heights) > 0.8


def test_the_class_with_the_weight_is_named() -> None:
    series, names = waves()
    model = small_classifier(class_weight={"slow": 1000.0, "fast": 0.001}, max_steps=60).fit(series, names)
    assert set(model.predict(series)) == {"slow"}


def test_every_kind_of_input_gives_the_same_model(tmp_path: Path) -> None:
    X = np.stack([series[:8, 0] for series in waves(10)[0]])
    names = waves(10)[1]
    want = small_classifier().fit(X, names).predict_proba(X)
    frame = pl.DataFrame({f"t{step}": X[:, step] for step in range(8)} | {"label": names})
    frame.write_csv(tmp_path / "wide.csv")
    text = "@classLabel true slow fast\n@data\n"
    text += "".join(
        f"{','.join(map(repr, row.tolist()))}:{name}\n" for row, name in zip(X, names, strict=True)
    )
    (tmp_path / "a.ts").write_text(text)
    long = pl.DataFrame({"case": np.repeat(np.arange(10), 8), "x": X.reshape(-1), "label": names.repeat(8)})
    for data in (
        frame,
        frame.to_pandas(),
        tmp_path / "wide.csv",
        str(tmp_path / "a.ts"),
        long,
        read_labelled(frame),
    ):
        model = small_classifier().fit(data)
        assert np.array_equal(model.predict_proba(data), want)
        assert model.predict(data).tolist() == small_classifier().fit(X, names).predict(X).tolist()
    for given in (X.tolist(), X[:, :, None], list(X), Sequences.from_arrays(list(X)), pd.DataFrame(X)):
        assert np.array_equal(small_classifier().fit(given, names).predict_proba(given), want)


def test_labels_are_not_read_for_a_prediction(tmp_path: Path) -> None:
    series, names = waves(6)
    model = small_classifier().fit(series, names)
    (tmp_path / "a.ts").write_text("@data\n1,2,3\n")
    assert model.predict(tmp_path / "a.ts").shape == (1,)
    assert model.predict_frame(tmp_path / "a.ts").columns == [
        "case", "predicted", "probability-fast", "probability-slow",
    ]  # fmt: skip


def test_the_label_of_an_arff_file_is_that_of_the_fit(tmp_path: Path) -> None:
    head = "@relation r\n@attribute size real\n" + "".join(f"@attribute t{at} real\n" for at in range(4))
    rows = [f"{case}.5,1,{case},2,0" for case in range(6)]
    (tmp_path / "a.arff").write_text(f"{head}@data\n" + "\n".join(rows))
    (tmp_path / "b.arff").write_text(f"{head}@data\n" + "\n".join(row.replace(",2,", ",3,") for row in rows))
    data = read_labelled(tmp_path / "a.arff", kind="numbers", label="size")
    model = small_regressor().fit(data)
    assert np.array_equal(model.predict(tmp_path / "a.arff"), model.predict(data))
    assert model.evaluate(tmp_path / "b.arff").predictions["truth"].to_list() == [at + 0.5 for at in range(6)]


def test_several_channels_and_missing_values() -> None:
    series, names = waves(12, channels=3)
    series[0][2, 1] = np.nan
    model = small_classifier().fit(series, names)
    assert model.n_features_in_ == 3
    gone = [part.copy() for part in series]
    gone[1][:, 0] = np.nan
    assert np.isfinite(model.predict_proba(gone)).all()


def test_whole_numbers_come_back_as_whole_numbers() -> None:
    series, _ = waves(6)
    model = small_classifier().fit(series, np.array([3, 7, 3, 7, 3, 7]))
    assert model.predict(series).dtype.kind == "i"
    assert model.classes_.tolist() == [3, 7]


@pytest.mark.parametrize(
    ("X", "y", "reason"),
    [
        (np.zeros((4, 2, 9)), [0, 1, 0, 1], "9 channels of 2 steps"),
        (np.full((4, 5), np.inf), [0, 1, 0, 1], "infinity"),
        (np.full((4, 5, 1), 1e300), [0, 1, 0, 1], "scale the values down"),
        (np.zeros((4, 5)), [0, 0, 0, 0], "one class"),
        (np.zeros((4, 5)), [0, 1, 0], "inconsistent"),
        (np.zeros((4, 5)), [0.5, 1.2, 0.5, 3.3], "Unknown label type"),
        (np.zeros((4, 5, 1)), [0.5, 1.2, 0.5, 3.3], "Unknown label type"),
        (np.zeros((4, 5, 1)), None, "y cannot be None"),
        ([[1.0], []], [0, 1], "no steps"),
        (np.zeros((0, 5)), [], "0 sample"),
        ("no/such.ts", None, "no such file"),
        ("a.ts", [0, 1], "brings its own"),
        (np.full((4, 5), np.nan), [0, 1, 0, 1], "no value of any case is known"),
        (np.zeros((4, 5)), np.array(["a", None, "a", "b"], dtype=object), "y of case 1 is missing"),
        (np.zeros((4, 5)), np.array(["a", 7, "a", "b"], dtype=object), "text and int, as in case 1: '7'"),
        (np.zeros((4, 5)), [0.0, np.nan, 0.0, 1.0], "contains NaN"),
    ],
)
def test_bad_data_is_refused_in_fit(X: Any, y: Any, reason: str) -> None:
    with pytest.raises((DataError, ArgumentError), match=reason):
        small_classifier().fit(X, y)


@pytest.mark.parametrize(
    ("y", "reason"),
    [
        (np.array([1.0, 2.0, 1e300, 0.0]), r"target of case 2 is 1e\+300"),
        (np.array(["1.5", "2", "many", "0"]), "y of case 2 is 'many'"),
        (np.array([1.0, None, 2.0, 3.0], dtype=object), "y of case 1 is 'None'"),
        (np.array([1.0, np.nan, 2.0, 3.0]), "contains NaN"),
    ],
)
def test_targets_that_are_no_numbers_are_named_by_their_case(y: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        small_regressor().fit(np.random.default_rng(0).normal(size=(4, 5)), y)


def test_a_case_without_a_value_is_no_reason_to_refuse_the_others() -> None:
    values = np.random.default_rng(0).normal(size=(6, 5))
    values[2] = np.nan
    model = small_classifier().fit(values, [0, 1, 0, 1, 0, 1])
    assert np.isfinite(model.predict_proba(np.full((1, 5), np.nan))).all()


def test_classes_may_have_any_name(tmp_path: Path) -> None:
    names = np.array(["a,b", 'ü "q"', " ", "a\nb"] * 3)
    series, _ = waves(12)
    model = small_classifier().fit(series, names)
    model.save(tmp_path / "m")
    table = Classifier.load(tmp_path / "m").predict_frame(series)
    assert set(table["predicted"]) <= set(names)
    assert table.columns[2:] == [f"probability-{name}" for name in sorted(set(names))]
    head, *rows = csv.reader(io.StringIO(table.write_csv(), newline=""))
    assert head == table.columns
    assert [row[1] for row in rows] == table["predicted"].to_list()


def test_a_class_weight_for_no_class_offers_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'slow'"):
        small_classifier(class_weight={"slo": 2.0}).fit(*waves(6))
    with pytest.raises(ArgumentError, match="above 0"):
        small_classifier(class_weight={"slow": 0.0}).fit(*waves(6))


def test_other_channels_than_in_the_fit_are_named() -> None:
    frame = pl.DataFrame(
        {"case": [1, 1, 2, 2], "x": [0.0, 1, 2, 3], "y": [1.0, 1, 0, 0], "label": list("aabb")}
    )
    model = small_classifier().fit(frame)
    with pytest.raises(DataError, match="'y' of the fit is missing"):
        model.predict(frame.drop("y"))
    with pytest.raises(DataError, match="'z' was not in the fit"):
        model.predict(frame.with_columns(z=pl.lit(1.0)))
    with pytest.raises(DataError, match="another order"):
        model.predict(frame.select("case", "y", "x", "label"))
    with pytest.raises(DataError, match="X has 1 channels, but Classifier is expecting 2"):
        model.predict([np.zeros(4)])


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_frame", "evaluate", "score"])
def test_a_model_that_is_not_fitted_says_so(method: str) -> None:
    series, names = waves(4)
    with pytest.raises(NotFittedError, match="not fitted"):
        getattr(Classifier(), method)(series, *([names] if method in ("evaluate", "score") else []))


def test_saving_what_is_not_fitted_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        Regressor().save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
