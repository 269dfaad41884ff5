"""Regularisation by name as the second axis of a study of depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from made_up import MadeUp

import gatestack as gs
from gatestack.errors import ArgumentError
from gatestack.study import DepthPlan, DepthRange, DepthStudy, run_depth_study
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
    assert found.sentence.endswith("better than without.")
    assert DepthStudy.from_dict(found.to_dict()) == found
    assert "dropout=0.2: 2 layers, MASE 1.2" in str(found)


def test_what_does_not_help_is_said() -> None:
    found = run_depth_study(MadeUp(TWO, worth=WORTH), DepthPlan(regularisation=("dropout",)))
    assert found.sentence.endswith("Regularisation: nothing measurable is gained by dropout=0.3.")


def test_the_depth_as_given_is_found_as_without_the_second_axis(tmp_path: Path) -> None:
    place = tmp_path / "studies.db"
    plain = run_depth_study(MadeUp(TWO), DepthPlan(), storage=place)
    both_axes = MadeUp(TWO, worth=WORTH)
    found = run_depth_study(both_axes, DepthPlan(regularisation=("zoneout",)), storage=place)
    assert found.rows == plain.rows
    # What was fitted is not fitted again: only the variant is new, and it has no depth 0.
    assert {layers for layers, _, _ in both_axes.fitted} == {1, 2, 3}
    assert len(both_axes.fitted) == 3 * 5 * 2


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
    for changes in parse_variants(list(USUAL)).values():
        changed = task.network((4, 4), 0, 0, changes).training
        # A decay of the weights shows after more than three updates.
        assert (changed == plain) == (not changes) or "weight_decay" in changes
    assert task.network((4, 4), 0, 0, {"learning_rate": 0.1}).training != plain


def test_a_study_of_a_real_estimator() -> None:
    model, data, options = ESTIMATORS["regressor"]
    plan = DepthPlan(depths=DepthRange(1, 1), seeds=1, regularisation=("zoneout",))
    found = run_depth_study(model.folded_task(data, options, folds=2), plan)
    assert [row.name for row in found.regularisation] == ["zoneout=0.1"]
