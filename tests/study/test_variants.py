"""Regularisation by name as the second axis of a study of depth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from made_up import MadeUp

import gatestack as gs
from gatestack.errors import ArgumentError
from gatestack.study import DepthPlan, DepthRange, DepthStudy, compare_paired, run_depth_study
from gatestack.study.variants import USUAL, parse_variants
from gatestack.tasks import classify
from gatestack.tasks.folding import with_changes
from gatestack.tasks.forecast import Architecture
from gatestack.training import Training

TWO = {0: 1.3, 1: 1.1, 2: 1.0, 3: 1.0, 4: 1.0}
WORTH = {"zoneout": -1.0, "dropout": 1.0}


def test_what_helps_is_found_by_name() -> None:
    plan = DepthPlan(regularisation=("zoneout", "dropout=0.2", "zoneout=0.05+layer_norm"))
    found = run_depth_study(MadeUp(TWO, worth=WORTH), plan)
    assert found.chosen == 2
    names = ["zoneout=0.1", "dropout=0.2", "layer_norm+zoneout=0.05"]
    assert [row.name for row in found.regularisation] == names
    assert [row.worth for row in found.regularisation] == [True, False, True]
    assert [row.layers for row in found.regularisation] == [2, 2, 2]
    gains = [row.gain.mean for row in found.regularisation]
    assert gains == pytest.approx([0.1, -0.2, 0.05], abs=1e-9)
    assert "Regularisation: zoneout=0.1 with 2 layers has MASE 0.8998, 0.1 ± " in found.sentence
    assert found.sentence.endswith("better than without, the best of 3 ways.")
    assert DepthStudy.from_dict(found.to_dict()) == found
    assert "dropout=0.2: 2 layers, MASE 1.2" in str(found)


def test_what_does_not_help_is_said() -> None:
    found = run_depth_study(MadeUp(TWO, worth=WORTH), DepthPlan(regularisation=("dropout",)))
    assert found.sentence.endswith("Regularisation: nothing measurable is gained by dropout=0.3.")


def test_the_depth_as_given_is_found_as_without_the_second_axis(tmp_path: Path) -> None:
    place, plan = tmp_path / "studies.db", DepthPlan(seeds=1)
    plain = run_depth_study(MadeUp(TWO, folds=2), plan, storage=place)
    both_axes = MadeUp(TWO, folds=2, worth=WORTH)
    found = run_depth_study(both_axes, replace(plan, regularisation=("zoneout",)), storage=place)
    assert found.rows == plain.rows
    # What was fitted is not fitted again: only the variant is new, and it has no depth 0.
    assert {layers for layers, _, _ in both_axes.fitted} == {1, 2, 3}
    assert len(both_axes.fitted) == 3 * 2


def test_the_best_of_many_ways_needs_more_than_luck() -> None:
    """The interval of each way is that of a family: six ways, 95 of 100 studies without a false gain."""
    folds = np.array([[0.0], [0.1], [0.2], [0.1], [0.35]])
    one, six = (compare_paired(folds, 0 * folds, test_share=0.25, comparisons=ways) for ways in (1, 6))
    assert (one.mean, one.error) == (six.mean, six.error)
    # The table of Student's t with 4 degrees of freedom: 97.5 %, and 1 - 0.025 / 6.
    assert one.half_width / one.error == pytest.approx(2.776445, rel=1e-6)
    assert six.half_width / six.error == pytest.approx(4.851, rel=1e-3)
    random, alarms = np.random.default_rng(3), 0
    for _ in range(500):
        noise = 0.745 * random.normal(size=(5, 1)) + random.normal(size=(6, 5, 1))
        gains = [compare_paired(way, 0 * way, test_share=0.25, comparisons=6) for way in noise]
        alarms += any(gain.low > 0 for gain in gains)
    assert alarms / 500 <= 0.05


def test_what_acts_between_layers_begins_with_two() -> None:
    task = MadeUp(TWO, worth={"variational_dropout": -1.0})
    plan = DepthPlan(regularisation=("variational_dropout",))
    (row,) = run_depth_study(task, plan).regularisation
    assert (row.layers, row.worth) == (2, True)
    with pytest.raises(ArgumentError, match="acts between layers"):
        DepthPlan(depths=DepthRange(0, 1), regularisation=("variational_dropout",))


def test_what_the_estimator_cannot_have_is_refused_before_the_first_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from gatestack.tasks.forecast.folded import ForecastFolds

    model = gs.Forecaster(2, architecture=Architecture(cell="gru"))
    task = model.folded_task(SERIES, {}, folds=2)
    monkeypatch.setattr(ForecastFolds, "plain", None)
    monkeypatch.setattr(ForecastFolds, "network", None)
    with pytest.raises(ArgumentError, match="layer_norm"):
        run_depth_study(task, DepthPlan(regularisation=("layer_norm",)))


def test_against_no_layers() -> None:
    levels = {0: 1.0, 1: 1.05, 2: 1.05, 3: 1.05}
    found = run_depth_study(MadeUp(levels, worth=WORTH), DepthPlan(regularisation=("zoneout",)))
    assert found.chosen == 0
    (row,) = found.regularisation
    assert (row.layers, row.worth) == (1, True)
    assert row.gain.mean == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dropuot", "did you mean 'dropout'"),
        ("dropout=1", "a strength such as dropout=0.3"),
        ("dropout=much", "a strength such as dropout=0.3"),
        ("layer_norm=0.5", "layer_norm alone"),
        ("weight_decay=-1", "weight_decay=0.1"),
        ("dropout+dropout=0.2", "names one thing twice"),
    ],
)
def test_what_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        DepthPlan(regularisation=(text,))


def test_changes_keep_what_was_given() -> None:
    own = {"window": 8, "architecture": Architecture(cell="gru"), "training": Training(batch_size=7)}
    found = with_changes(own, {"window": 9, "zoneout": 0.2, "weight_decay": 0.3}, Architecture)
    assert found["window"] == 9
    assert found["architecture"] == Architecture(cell="gru", zoneout=0.2)
    assert found["training"] == Training(batch_size=7, weight_decay=0.3)
    with pytest.raises(ArgumentError, match="no option 'zone_out'"):
        with_changes(own, {"zone_out": 0.2}, Architecture)


PLAIN = classify.Architecture(recipe="plain", dropout=0.0)
WAVES = [np.sin(np.arange(16) * (1 + case % 2)) for case in range(24)]
SERIES = pl.DataFrame({"ds": range(160), "y": np.sin(np.arange(160) / 3)})
ESTIMATORS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "forecaster": (gs.Forecaster(2, hidden_size=4, window=8, season=8, max_steps=3), SERIES, {}),
    "classifier": (
        gs.Classifier(hidden_size=4, max_steps=3, architecture=PLAIN),
        WAVES,
        {"y": ["slow", "fast"] * 12},
    ),
    "regressor": (
        gs.Regressor(hidden_size=4, max_steps=3, architecture=PLAIN),
        WAVES,
        {"y": np.arange(24.0)},
    ),
    "detector": (gs.AnomalyDetector(hidden_size=4, window=8, max_steps=3), SERIES, {}),
}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_every_estimator_is_fitted_with_the_changes(kind: str) -> None:
    model, data, options = ESTIMATORS[kind]
    fine = {"classifier": "log_loss"}.get(kind)
    task = model.folded_task(data, options, folds=2, measure=fine)
    plain = task.network((4, 4), 0, 0).training
    # A decay of the weights shows after three updates where it is strong.
    for changes in parse_variants(
        [name for name in USUAL if name != "weight_decay"] + ["weight_decay=50"]
    ).values():
        changed = task.network((4, 4), 0, 0, changes).training
        assert (changed == plain) == (not changes)
    assert task.network((4, 4), 0, 0, {"learning_rate": 0.1}).training != plain


def test_a_study_of_a_real_estimator() -> None:
    model, data, options = ESTIMATORS["regressor"]
    plan = DepthPlan(depths=DepthRange(1, 1), seeds=1, regularisation=("zoneout",))
    found = run_depth_study(model.folded_task(data, options, folds=2), plan)
    assert [row.name for row in found.regularisation] == ["zoneout=0.1"]
