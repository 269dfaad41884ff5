"""The whole study on made-up scores: the answer, its words, resuming, warnings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from made_up import MadeUp

import gatestack as gs
from gatestack.errors import ArgumentError, ModelFileError
from gatestack.study import DepthPlan, DepthRange, DepthStudy, Measure, run_depth_study

TWO = {0: 1.3, 1: 1.1, 2: 1.0, 3: 1.0, 4: 1.0}


def test_every_fit_is_computed_on_one_thread() -> None:
    threads, seen = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        run_depth_study(MadeUp(TWO, before=lambda _: seen.append(torch.get_num_threads())), DepthPlan())
        assert set(seen) == {1}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_layers_that_cost_no_more_are_not_said_to_cost_less() -> None:
    class Even(MadeUp):
        def network(self, *args: Any, **changes: Any) -> Any:
            return replace(super().network(*args, **changes), seconds=1.0)

    assert "for no more time; a third gains nothing measurable and costs no more time." in (
        run_depth_study(Even(TWO), DepthPlan()).sentence
    )


def test_the_answer_in_a_sentence() -> None:
    found = run_depth_study(MadeUp(TWO), DepthPlan())
    assert found.chosen == 2
    assert found.sentence.startswith("Two layers: 9.1 % ± 0.")
    assert found.sentence.endswith(
        "lower MASE than one, for 2.0× the time; a third gains nothing measurable and costs 1.5× the time."
    )
    assert not found.warnings


def test_the_table_has_scores_gains_and_costs() -> None:
    found = run_depth_study(MadeUp(TWO), DepthPlan())
    table = found.table
    assert table["layers"].to_list() == [0, 1, 2, 3]
    assert table["model"].to_list() == ["linear", "gatestack", "gatestack", "gatestack"]
    assert table["mase"].to_list() == pytest.approx([1.3, 1.1, 1.0, 1.0], abs=0.01)
    assert table["gain"].to_list()[1:] == pytest.approx([0.2, 0.1, 0.0], abs=0.01)
    assert (table["gain_low"] < table["gain"]).drop_nulls().all()
    assert table["parameters"].to_list() == [None, 800, 1600, 2400]
    assert table["step_ms"].to_list()[1:] == pytest.approx([0.1, 0.2, 0.3])
    assert table["step_bytes"].to_list() == [None, 3200, 6400, 9600]
    assert table.filter(pl.col("chosen"))["layers"].to_list() == [2]


def test_no_layers_is_an_answer() -> None:
    found = run_depth_study(MadeUp({0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}), DepthPlan())
    assert found.chosen == 0
    assert found.sentence == (
        f"No layers: linear, a model without recurrence, has MASE {found.row(0).score:.4g}; "
        "one layer gains nothing measurable."
    )


def test_a_deeper_network_that_is_worse_is_said_to_be_worse() -> None:
    found = run_depth_study(MadeUp(TWO | {3: 1.2}), DepthPlan())
    assert found.chosen == 2
    assert "a third has 20.0 % ±" in found.sentence
    assert "higher MASE and costs 1.5× the time" in found.sentence


def test_shares_that_should_be_high() -> None:
    accuracy = Measure(name="accuracy", label="accuracy", better="higher", percent=True)
    found = run_depth_study(MadeUp({0: 0.6, 1: 0.8, 2: 0.8, 3: 0.7}, measure=accuracy), DepthPlan())
    # At depth 0 the better of the two plain answers has the higher score.
    assert (found.row(0).model, found.chosen) == ("last_value", 0)
    found = run_depth_study(MadeUp({0: -0.5, 1: 0.7, 2: 0.8, 3: 0.7}, measure=accuracy), DepthPlan())
    assert found.chosen == 2
    assert found.sentence.startswith("Two layers: 10.0 points ± 0.1")
    assert "higher accuracy than one, for 2.0× the time; a third has 10.0 points ±" in found.sentence


def test_a_minimum_gain_is_in_the_unit_of_the_measure() -> None:
    plan = DepthPlan(depths=DepthRange(1, 3), min_gain=0.15)
    found = run_depth_study(MadeUp(TWO), plan)
    assert found.chosen == 1
    assert "a second gains less than the 0.15 that were asked for and costs 2.0× the time" in found.sentence


def test_what_was_not_looked_at_is_said() -> None:
    found = run_depth_study(MadeUp(TWO), DepthPlan(depths=DepthRange(0, 2)))
    assert found.sentence.endswith("; more than that was not looked at.")


def test_overfitting_is_warned_of() -> None:
    training = {1: 1.0, 2: 0.9, 3: 0.4}
    found = run_depth_study(MadeUp(TWO, training=training), DepthPlan())
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("With three layers the network begins to learn its training part")
    assert "MASE goes from 0.8998 to 0.3999 there" in found.warnings[0]
    # A gap that grows while the held out part gains is no overfitting.
    assert not run_depth_study(
        MadeUp(TWO | {3: 0.8, 4: 0.8}, training=training | {4: 0.4}), DepthPlan()
    ).warnings


def test_learning_by_heart_is_warned_of_at_the_smallest_depth_too() -> None:
    found = run_depth_study(MadeUp(TWO, training={1: 0.1, 2: 0.1, 3: 0.1}), DepthPlan())
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith(
        "Already with one layer the network learns its training part by heart: MASE is 0.0"
    )
    assert not run_depth_study(MadeUp(TWO, training={1: 0.5, 2: 0.5, 3: 0.5}), DepthPlan()).warnings
    accuracy = Measure(name="accuracy", label="accuracy", better="higher", percent=True)
    levels = {0: -0.5, 1: 0.7, 2: 0.8, 3: 0.7}
    for trained, said in ((0.95, True), (0.75, False)):
        training = dict.fromkeys((1, 2, 3), trained)
        found = run_depth_study(MadeUp(levels, training=training, measure=accuracy), DepthPlan())
        assert any(text.startswith("Already with one layer") for text in found.warnings) == said


def test_a_stopped_study_goes_on_where_it_was(tmp_path: Path) -> None:
    place, fits = tmp_path / "studies.db", 0

    def stop(_: int) -> None:
        nonlocal fits
        fits += 1
        if fits == 6:
            raise KeyboardInterrupt

    plan = DepthPlan(depths=DepthRange(0, 3), seeds=1)
    first, second = MadeUp(TWO, before=stop, folds=2), MadeUp(TWO, folds=2)
    with pytest.raises(KeyboardInterrupt):
        run_depth_study(first, plan, storage=place)
    found = run_depth_study(second, plan, storage=place)
    assert len(first.fitted) == 5
    assert not set(first.fitted) & set(second.fitted)
    assert found == run_depth_study(MadeUp(TWO, folds=2), plan)


def test_more_seeds_and_other_bounds_reuse_the_fits(tmp_path: Path) -> None:
    place, levels = tmp_path / "studies.db", TWO | {5: 0.5}
    deep = DepthPlan(depths=DepthRange(0, 5, start=4), seeds=1)
    earlier, later = MadeUp(levels, folds=2), MadeUp(levels, folds=2)
    run_depth_study(earlier, deep, storage=place)
    found = run_depth_study(later, DepthPlan(), storage=place)
    assert not set(earlier.fitted) & set(later.fitted)
    # Depths that only the first search looked at are no part of the second.
    assert {layers for layers, _, _ in earlier.fitted} == {0, 3, 4, 5}
    assert [row.layers for row in found.rows] == [0, 1, 2, 3]
    assert found == run_depth_study(MadeUp(levels, folds=2), DepthPlan())


def test_another_budget_is_another_study(tmp_path: Path) -> None:
    place, plan = tmp_path / "studies.db", DepthPlan(seeds=1)
    run_depth_study(MadeUp(TWO, folds=2), plan, storage=place)
    other = MadeUp(TWO, folds=2)
    found = run_depth_study(other, replace(plan, budget="equal parameters"), storage=place)
    assert len(other.fitted) == 8
    assert [row.widths for row in found.rows] == [(), (13,), (8, 8), (6, 6, 6)]


def test_a_study_is_data() -> None:
    found = run_depth_study(MadeUp(TWO), DepthPlan())
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert DepthStudy.from_dict(values) == found
    for broken in ({"rows": 3}, {"measure": {"name": "mase"}}, {"more": 1}):
        with pytest.raises(ModelFileError, match="study of depth"):
            DepthStudy.from_dict(values | broken)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (((gs.Regressor, [[1.0]] * 8), {}), "the 'estimator' parameter"),
        ((("model", [[1.0]] * 8), {}), "the 'estimator' parameter"),
        (((gs.Regressor(), [[1.0]] * 8, np.arange(8)), {}), r'a dict of its other arguments, such as \{"y"'),
        (((gs.Regressor(), [[1.0]] * 8), {"layers": 3}), "a range of depths such as 0-4"),
        (((gs.Regressor(), [[1.0]] * 8), {"min_gain": "a"}), "'min_gain'"),
        (((gs.Regressor(), [[1.0]] * 8), {"regularisation": "dropuot"}), "did you mean 'dropout'"),
    ],
)
def test_arguments_of_a_wrong_kind_are_named(arguments: Any, text: str) -> None:
    values, names = arguments
    with pytest.raises(ArgumentError, match=text):
        gs.study_depth(*values, **names)


@pytest.mark.parametrize("options", [{"budget": "equal time"}, {"seeds": 0}, {"min_gain": -1.0}])
def test_wrong_plans_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ArgumentError, match="study_depth"):
        DepthPlan(**options)  # type: ignore[arg-type]


def test_a_search_names_arguments_of_a_wrong_kind_too() -> None:
    waves = [[float(step % 3) for step in range(5)]] * 9
    for model, options, search, text in (
        (gs.Regressor, None, (), "the 'estimator' parameter of tune"),
        (gs.Regressor(), np.arange(9), (), "a dict of its other arguments"),
        (gs.Regressor(), {"y": np.arange(9.0)}, "dropuot", "the setting 'dropuot'"),
    ):
        with pytest.raises(ArgumentError, match=text):
            gs.tune(model, waves, options, search=search)
