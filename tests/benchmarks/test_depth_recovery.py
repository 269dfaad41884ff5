"""What the benchmark of depth draws, and how it counts what a rule loses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from depth_tasks import TASKS
from protocol.depth_recovery_page import Mean, depth_recovery_page, regrets, summary_of


def _repetition(study: int, argmin: int, errors: tuple[float, ...] = (0.4, 0.2, 0.1, 0.2)) -> dict[str, Any]:
    return {
        "measure": "MAE",
        "test": {str(depth): error for depth, error in enumerate(errors)},
        "wide": {"units": 7, "test": 0.125},
        "naive": 0.5,
        "chosen": {"study": study, "argmin": argmin, "always two": 2},
        "seconds": 3.0,
    }


def test_regret_is_relative_to_the_best_depth_of_the_same_repetition() -> None:
    found = [_repetition(1, 2), _repetition(0, 2, (0.3, 0.6, 0.9, 1.2))]
    assert regrets(found, "study") == pytest.approx([1.0, 0.0])
    assert regrets(found, "argmin") == pytest.approx([0.0, 2.0])


def test_a_summary_counts_right_depths_and_pairs_the_rules_by_repetition() -> None:
    found = [_repetition(2, 2), _repetition(1, 2), _repetition(2, 3)]
    summary = summary_of(found, (2, 3))
    assert summary["rules"]["study"]["right"] == 2
    argmin = summary["rules"]["argmin"]
    assert (argmin["study_better"], argmin["study_worse"]) == (1, 1)
    assert argmin["study_less"].value == pytest.approx(0.0)
    assert summary["second_layer"].value == pytest.approx(0.5)
    assert summary["second_over_wide"].value == pytest.approx(0.2)
    assert summary["best"] == "2: 3×"


def test_a_mean_is_sure_where_its_interval_leaves_zero_out() -> None:
    assert Mean.of([1.0, 1.1, 0.9, 1.0]).sure
    assert not Mean.of([1.0, -1.1, 0.9, -1.0]).sure
    assert not Mean.of([1.0, 1.0]).sure


def test_the_page_says_where_the_study_loses() -> None:
    # By how much it loses differs a little, or the interval would have no width.
    found = [_repetition(1, 2, (0.4, 0.2 + 0.01 * row, 0.1, 0.3)) for row in range(4)]
    settings = {"words": "a sum", "right": (2, 3), "training": 9, "test": 9, "units": 4, "updates": 5}
    page = depth_recovery_page(
        {
            "tasks": {"sum": settings | {"summary": summary_of(found, (2, 3))}},
            "folds": 5,
            "repetitions": 20,
            "machine": dict.fromkeys(("processor", "cores", "memory_gib", "system", "python", "date"), "?"),
            "versions": {"gatestack": "0"},
        }
    )
    assert "measurably less on none; measurably more on `sum` (-115.0 ± 6.5)" in page
    assert "**4 of 20 repetitions are finished.**" in page
    assert "the lowest mean error is that of depth 2, as it should be" in page


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if not isinstance(task.source, str)])
def test_a_draw_studies_its_first_cases_and_tests_on_the_others(name: str) -> None:
    task = replace(TASKS[name], training=20, test=30)
    study, test = task.draw((0, 1), Path())
    training, held = test._parts(0)
    assert len(study.data) == len(training) == 20
    assert len(held) == 30
    assert np.array_equal(training.sequences.values, study.data.sequences.values)
    again, _ = task.draw((0, 1), Path())
    other, _ = task.draw((0, 2), Path())
    assert again.identity == study.identity
    assert other.identity["data"] != study.identity["data"]


def test_no_single_input_tells_anything_of_the_sum_of_signs() -> None:
    source = TASKS["signs"].source
    assert not isinstance(source, str)
    random = np.random.default_rng(0)
    series, answers = zip(*(source(random) for _ in range(4000)), strict=True)
    for column in range(3):
        sums = [steps[:, column].sum() for steps in series]
        assert abs(np.corrcoef(sums, answers)[0, 1]) < 0.06
    assert answers[0] == pytest.approx(series[0].prod(axis=1).sum() / 2)
