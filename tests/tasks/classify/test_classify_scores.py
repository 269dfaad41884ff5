"""Scores, baselines, calibration: beside scikit-learn's numbers and by hand."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from sklearn import metrics

from gatestack.data import Sequences
from gatestack.errors import ArgumentError, DataError
from gatestack.tasks.classify import Classifier
from gatestack.tasks.classify.evaluation import score_classes
from gatestack.tasks.labelled import minirocket
from gatestack.tasks.labelled.baselines import (
    BASELINES,
    baseline_answers,
    nearest_neighbours,
    resampled_cases,
    summary_statistics,
)
from gatestack.tasks.labelled.calibration import class_shares, find_temperature, folds_of
from gatestack.tasks.labelled.difference import paired_difference, share_interval
from gatestack.tasks.regress.evaluation import score_numbers

from .series import sizes, small_classifier, small_regressor, waves


def random_shares(count: int, classes: int, seed: int = 0) -> npt.NDArray[np.float64]:
    shares = np.random.default_rng(seed).random((count, classes))
    return shares / shares.sum(axis=1, keepdims=True)


def test_scores_are_scikit_learns() -> None:
    truth = np.random.default_rng(1).integers(0, 3, 40)
    shares = random_shares(40, 3)
    named = shares.argmax(axis=1)
    result = score_classes(truth, shares, {"majority": random_shares(40, 3, 5)}, ["a", "b", "c"])
    own = result.scores.row(0, named=True)
    assert own["model"] == "gatestack"
    assert own["accuracy"] == pytest.approx(metrics.accuracy_score(truth, named))
    assert own["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, named))
    assert own["macro_f1"] == pytest.approx(metrics.f1_score(truth, named, average="macro"))
    assert own["log_loss"] == pytest.approx(metrics.log_loss(truth, shares))
    matrix = metrics.confusion_matrix(truth, named)
    assert result.confusion["cases"].to_list() == matrix.reshape(-1).tolist()
    assert (
        result.confusion.filter((pl.col("truth") == "b") & (pl.col("predicted") == "c"))["cases"][0]
        == matrix[1, 2]
    )


def test_a_class_that_is_absent_from_the_truth_warns_of_nothing() -> None:
    shares = random_shares(10, 3)
    result = score_classes(np.zeros(10, np.int64), shares, {"majority": np.eye(3)[[0] * 10]}, ["a", "b", "c"])
    assert result.scores["balanced_accuracy"][1] == 1.0
    assert result.scores["log_loss"][1] is None


def test_scores_of_numbers_are_scikit_learns() -> None:
    truth, found = np.random.default_rng(1).normal(size=(2, 30))
    result = score_numbers(truth, found, {"mean": np.full(30, truth.mean())})
    own = result.scores.row(0, named=True)
    assert own["mae"] == pytest.approx(metrics.mean_absolute_error(truth, found))
    assert own["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, found))
    assert own["r2"] == pytest.approx(metrics.r2_score(truth, found))
    assert result.scores["r2"][1] == pytest.approx(0.0)
    flat = score_numbers(np.ones(5), np.ones(5), {"mean": np.ones(5)})
    assert flat.scores["r2"].to_list() == [None, None]


def answers_of(right: list[bool]) -> npt.NDArray[np.float64]:
    return np.array([[0.1, 0.9] if ok else [0.9, 0.1] for ok in right])


@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        ([True] * 50, [False] * 50, "100.0 points more than by the best baseline, linear"),
        ([False] * 50, [True] * 50, "The model loses: 0 of 50"),
        ([True] * 26 + [False] * 24, [True] * 25 + [False] * 25, "but the two cannot be told apart"),
        ([True] * 4, [True] * 4, "as many as by the best baseline"),
    ],
)
def test_the_sentence_says_what_the_interval_says(own: list[bool], other: list[bool], words: str) -> None:
    result = score_classes(
        np.ones(len(own), np.int64), answers_of(own), {"linear": answers_of(other)}, ["a", "b"]
    )
    assert words in result.sentence


def test_the_interval_covers_what_it_should() -> None:
    # Two classifiers whose true difference is 0.1, on 40 cases: 95 % of 800 drawn intervals, give or take.
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(800):
        own, other = random.random(40) < 0.85, random.random(40) < 0.75
        found = paired_difference(own, other)
        inside += found.low <= 0.1 <= found.high
    assert 0.93 < inside / 800 < 0.99


def test_wilsons_interval_by_hand() -> None:
    low, high = share_interval(8, 10)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)  # Wilson's formula, z = 1.96
    assert share_interval(0, 5)[0] == 0.0


@pytest.mark.parametrize(
    ("found", "plain", "words"),
    [
        (0.1, 1.0, "90.0 % lower than that of the best baseline, mean (95 %"),
        (1.0, 0.1, "The model loses: over 30 cases"),
        (1.0, 0.0, "makes no error. Use the baseline"),
    ],
)
def test_the_sentence_of_a_regression(found: float, plain: float, words: str) -> None:
    truth = np.random.default_rng(0).normal(size=30)
    sign = np.where(np.arange(30) % 3, 1.0, -1.0)
    assert words in score_numbers(truth, truth + found * sign, {"mean": truth + plain * sign}).sentence


def test_cases_are_resampled_over_their_gaps() -> None:
    sequences = Sequences.from_arrays([[0.0, np.nan, 4.0], [1.0, 3.0], [np.nan, np.nan]])
    assert resampled_cases(sequences, 5)[..., 0].tolist() == [
        [0, 1, 2, 3, 4],
        [1, 1.5, 2, 2.5, 3],
        [0, 0, 0, 0, 0],
    ]


def test_the_nearest_neighbour_is_the_nearest() -> None:
    random = np.random.default_rng(0)
    known, asked = random.normal(size=(9, 4, 2)), random.normal(size=(7, 4, 2))
    want = [int(np.argmin([np.linalg.norm(case - other) for other in known])) for case in asked]
    assert nearest_neighbours(known, asked).tolist() == want


def test_summary_statistics_by_hand() -> None:
    gaps = Sequences.from_arrays([[1.0, np.nan, 5.0, 3.0]])
    mean, spread, least, _, median, _, most, slope, change, length = summary_statistics(gaps)[0]
    assert (mean, least, median, most, change, length) == (3.0, 1.0, 3.0, 5.0, 3.0, 4.0)
    assert spread == pytest.approx(np.std([1, 5, 3]))
    assert slope == pytest.approx(np.polyfit([0, 2, 3], [1, 5, 3], 1)[0])


def test_baselines_answer_what_they_are_called() -> None:
    series, _ = waves(9)
    truth = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2])
    training = Sequences.from_arrays(series)
    found = baseline_answers(training, truth, training, classes=3)
    assert found["majority"].tolist() == [[5 / 9, 3 / 9, 1 / 9]] * 9
    assert found["1-nn"].argmax(axis=1).tolist() == truth.tolist()
    assert np.allclose(found["linear"].sum(axis=1), 1)
    X, y = sizes(20)
    cases = Sequences.from_padded(X[..., None])
    numbers = baseline_answers(cases, y, cases, classes=None)
    assert np.allclose(numbers["mean"], y.mean())
    assert np.array_equal(numbers["1-nn"], y)
    assert np.allclose(numbers["linear"], y, atol=0.05)
    assert found.keys() <= BASELINES["classify"].keys()
    assert numbers.keys() <= BASELINES["regress"].keys()


def test_minirocket_without_aeon_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minirocket, "_HOMES", (("no_such_package.rocket", "MiniRocket"),))
    series, names = waves(6)
    model = small_classifier().fit(series, names)
    with pytest.raises(ArgumentError, match="pip install aeon"):
        model.evaluate(*waves(6, seed=1), minirocket=True)


def test_minirocket_gets_channels_first_and_enough_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    class Transform:
        def __init__(self, random_state: int) -> None:
            assert random_state == 0

        def fit_transform(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
            seen.append(x.shape)
            return x.reshape(len(x), -1)

        transform = fit_transform

    monkeypatch.setattr(
        "importlib.import_module", lambda name: types.SimpleNamespace(MiniRocket=Transform, name=name)
    )
    series, _ = waves(6, channels=2, least=4, most=5)
    training = Sequences.from_arrays(series)
    found = baseline_answers(training, np.array([0, 1] * 3), training, classes=2, minirocket=True)
    assert seen == [(6, 2, 9), (6, 2, 9)]
    assert found["minirocket"].shape == (6, 2)
    numbers = baseline_answers(training, np.arange(6.0), training, classes=None, minirocket=True)
    assert numbers["minirocket"].shape == (6,)


def test_the_temperature_is_found_again() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(1, 20_000, 3)) * 2
    shares = class_shares(logits, 1.0)
    truth = (random.random((20_000, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    assert find_temperature(2.5 * logits, truth) == pytest.approx(2.5, rel=0.05)


def test_calibration_uses_cases_that_the_networks_did_not_see() -> None:
    # The labels are noise: a network that learned them by heart is sure on its own cases, wrong on others.
    series, _ = waves(30)
    noise = np.random.default_rng(0).integers(0, 2, 30)
    model = small_classifier(calibration="temperature", hidden_size=16, max_steps=150).fit(series, noise)
    assert model.fitted_.temperature > 1.5
    with pytest.raises(DataError, match="too few to calibrate"):
        small_classifier(calibration="temperature").fit(*waves(4))


def test_folds_share_every_class_and_every_case_once() -> None:
    answers = np.array([0] * 10 + [1] * 5)
    folds = folds_of(answers, 5, classes=True, seed=3)
    assert [np.bincount(folds[answers == name]).tolist() for name in (0, 1)] == [[2] * 5, [1] * 5]
    numbers = folds_of(np.arange(10.0), 5, classes=False, seed=3)
    assert np.bincount(numbers).tolist() == [2] * 5
    assert not np.array_equal(numbers, folds_of(np.arange(10.0), 5, classes=False, seed=4))


def test_evaluate_stands_beside_the_baselines_and_speaks_json() -> None:
    series, names = waves(20)
    model = small_classifier().fit(series, names)
    later, truth = waves(10, seed=1)
    result = model.evaluate(later, truth)
    assert result.scores["model"].to_list() == ["gatestack", "majority", "1-nn", "linear"]
    assert result.scores["accuracy"][0] == np.mean(model.predict(later) == truth) == model.score(later, truth)
    assert result.extent == "10 cases"
    assert result.predictions["predicted"].to_list() == model.predict(later).tolist()
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["cases"] == 10
    assert "gatestack" in str(result)


def test_a_class_that_the_fit_has_not_seen_cannot_be_scored() -> None:
    series, names = waves(8)
    model = small_classifier().fit(series, names)
    with pytest.raises(DataError, match="class 'still'"):
        model.evaluate(series[:2], ["slow", "still"])
    with pytest.raises(DataError, match="no truth"):
        model.evaluate(series)


def test_a_score_on_the_cases_of_the_fit_is_refused() -> None:
    series, names = waves(8)
    model = small_classifier().fit(series, names)
    with pytest.raises(DataError, match="all cases were in the fit") as caught:
        model.evaluate(series[:4], names[:4])
    assert "cross_validate" in str(caught.value)
    later, truth = waves(4, seed=1)
    mixed = model.evaluate([*series[:3], *later], [*names[:3], *truth])
    assert mixed.sentence.endswith("Note: 3 of the 7 cases were in the fit too.")
    assert "in the fit" not in model.evaluate(later, truth).sentence


def test_text_of_a_file_and_numbers_of_an_array_name_the_same_class(tmp_path: Any) -> None:
    series, _ = waves(8)
    model = small_classifier().fit(series, [2, 10] * 4)
    (tmp_path / "a.ts").write_text("@classLabel true 10 2\n@data\n1,2,3,4:10\n1,2,3,4:2\n")
    assert model.evaluate(tmp_path / "a.ts").predictions["truth"].to_list() == ["10", "2"]


def test_cross_validation_answers_every_case_by_a_fit_without_it() -> None:
    series, names = waves(24)
    model = small_classifier(max_steps=60)
    result = model.cross_validate(series, names, folds=3)
    assert result.extent == "24 cases, 3-fold cross-validation"
    assert result.scores["accuracy"][0] > 0.7
    assert not hasattr(model, "fitted_")
    assert not hasattr(model, "classes_")
    # Labels that are noise cannot be answered: a leak would show as an accuracy near 1.
    noise = np.random.default_rng(0).permutation(np.arange(24) % 2)
    leak = small_classifier(max_steps=100, hidden_size=16).cross_validate(series, noise, folds=3)
    assert leak.scores["accuracy"].max() < 0.85  # type: ignore[operator]
    with pytest.raises(ArgumentError, match="folds"):
        model.cross_validate(series, names, folds=1)
    with pytest.raises(ArgumentError, match="at most 24"):
        model.cross_validate(series, names, folds=25)


def test_cross_validation_of_a_regressor() -> None:
    X, y = sizes(24)
    result = small_regressor().cross_validate(X, y, folds=3)
    assert result.scores["model"].to_list() == ["gatestack", "mean", "1-nn", "linear"]
    assert result.predictions["truth"].to_list() == y.tolist()
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["folds"] == 3


@pytest.mark.slow
def test_the_default_recipe_is_strong_on_a_real_problem(shared_data: Path) -> None:
    # The training part alone: 67 days of electricity demand, 24 steps each.
    training = shared_data / "ucr_uea" / "ItalyPowerDemand" / "ItalyPowerDemand_TRAIN.ts"
    result = Classifier().cross_validate(training, folds=3)
    assert result.scores["accuracy"][0] > 0.9
    assert result.cases == 67
