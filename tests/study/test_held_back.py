"""What a search holds back for the check, no fit of the search reads: not to learn, scale, or score."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

import gatestack as gs
from gatestack.study import FoldedTask, Outcome, TunePlan, run_tune
from gatestack.tasks import classify

FOLDS = 4
STEPS = 200
LAST = int(STEPS * (1 - 0.4 / FOLDS))  # where the last block begins: two fifths are cut into blocks
SMALL: dict[str, Any] = {"layers": 1, "hidden_size": 4, "max_steps": 3}
PLAIN = classify.Architecture(recipe="plain", dropout=0.0)
WAVES = [np.sin(np.arange(12 + case % 3) * (1 + case % 2)) + case / 40 for case in range(32)]
CHANGES: dict[str, Any] = {"dropout": 0.2}


def series() -> pl.DataFrame:
    random = np.random.default_rng(0)
    steps = np.arange(STEPS)
    return pl.DataFrame(
        {
            "ds": steps,
            "y": np.sin(steps / 3) + random.normal(size=STEPS) / 5,
            "rain": random.exponential(size=STEPS),
            "holiday": (steps % 7 == 0).astype(float),
            "sky": np.where(random.random(STEPS) < 0.5, "clear", "grey"),
        }
    )


def changed(frame: pl.DataFrame) -> pl.DataFrame:
    """Multiply all numbers of the last block, and turn its names round."""
    late = pl.col("ds") >= LAST
    turned = pl.when(late & (pl.col("sky") == "clear")).then(pl.lit("grey")).otherwise(pl.lit("clear"))
    return frame.with_columns(
        y=pl.when(late).then(50 * pl.col("y") + 7).otherwise(pl.col("y")),
        rain=pl.when(late).then(50 * pl.col("rain") + 7).otherwise(pl.col("rain")),
        holiday=pl.when(late).then(1.0).otherwise(pl.col("holiday")),
        sky=pl.when(late).then(turned).otherwise(pl.col("sky")),
    )


FORECASTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "forecaster": (gs.Forecaster(2, **SMALL, window=8), {"target": "y"}),
    "forecaster with columns": (
        gs.Forecaster(2, **SMALL, window=8),
        {"target": "y", "past": ["rain", "sky"], "future": ["holiday"]},
    ),
    "detector": (gs.AnomalyDetector("forecast", **SMALL, window=8), {"values": ["y", "rain"]}),
    "detector, repeating": (gs.AnomalyDetector("reconstruction", **SMALL, window=8), {"values": ["y"]}),
}
LABELLED: dict[str, Any] = {
    "classifier": gs.Classifier(**SMALL, architecture=PLAIN),
    "classifier, kernels": gs.Classifier(**SMALL),
    "classifier, balanced": gs.Classifier(**SMALL, architecture=PLAIN, class_weight="balanced"),
    "regressor": gs.Regressor(**SMALL, architecture=PLAIN),
}


def found_in(task: FoldedTask) -> list[Any]:
    """Give all that the fits of a search find on its folds."""
    part = task.without_last()
    outcomes = [part.network((4,), fold, 0, CHANGES) for fold in range(FOLDS - 1)]
    outcomes += [part.plain(fold, 0) for fold in range(FOLDS - 1)]
    return [(found.scores, found.training, found.parameters) for found in outcomes]


@pytest.mark.parametrize("kind", FORECASTS)
def test_the_last_block_of_series_is_not_read(kind: str) -> None:
    model, options = FORECASTS[kind]
    frame = series()
    task, other = (model.folded_task(data, options, folds=FOLDS) for data in (frame, changed(frame)))
    assert found_in(task) == found_in(other)
    # The check does read it.
    assert task.network((4,), FOLDS - 1, 1).scores != other.network((4,), FOLDS - 1, 1).scores
    assert task.network((4,), FOLDS - 1, 1).training == other.network((4,), FOLDS - 1, 1).training


@pytest.mark.parametrize("kind", LABELLED)
def test_the_last_fold_of_cases_is_not_read(kind: str) -> None:
    model = LABELLED[kind]
    classes = kind.startswith("classifier")
    answers: Any = np.array([case % 2 for case in range(32)]) if classes else np.arange(32.0)
    measure = "log_loss" if classes else None
    task: Any = model.folded_task(WAVES, {"y": answers}, folds=FOLDS, measure=measure)
    held = task.dealt == FOLDS - 1
    waves = [50 * wave + 7 if last else wave for wave, last in zip(WAVES, held, strict=True)]
    turned = np.where(held, 1 - answers if classes else 1000 + answers, answers)
    other: Any = model.folded_task(waves, {"y": turned}, folds=FOLDS, measure=measure)
    other.dealt = task.dealt  # folds have their share of each class, so other labels are dealt otherwise
    assert found_in(task) == found_in(other)
    # Without the cases altogether, too.
    rest = [wave for wave, last in zip(WAVES, held, strict=True) if not last]
    fewer: Any = model.folded_task(rest, {"y": answers[~held]}, folds=FOLDS - 1, measure=measure)
    fewer.dealt = task.dealt[~held]
    for fold in range(FOLDS - 1):
        alone, within = (part.network((4,), fold, 0) for part in (fewer, task.without_last()))
        assert (alone.scores, alone.training) == (within.scores, within.training)
    # The check fits on the other folds, and scores on this one.
    assert task.network((4,), FOLDS - 1, 1).training == other.network((4,), FOLDS - 1, 1).training
    assert task.network((4,), FOLDS - 1, 1).scores != other.network((4,), FOLDS - 1, 1).scores


def test_a_class_that_only_the_part_held_back_has_is_not_known_to_the_search() -> None:
    labels = [str(case % 2) for case in range(32)]
    task: Any = LABELLED["classifier"].folded_task(WAVES, {"y": labels}, folds=FOLDS)
    labels[int(np.flatnonzero(task.dealt == FOLDS - 1)[0])] = "rare"
    other: Any = LABELLED["classifier"].folded_task(WAVES, {"y": labels}, folds=FOLDS)
    other.dealt = task.dealt
    assert found_in(task) == found_in(other)
    assert other.classes == 3


@pytest.mark.parametrize("kind", ["classifier", "classifier, kernels"])
def test_a_class_with_one_case_is_scored_where_it_was_not_seen(kind: str) -> None:
    task: Any = LABELLED[kind].folded_task(WAVES, {"y": ["a"] * 31 + ["b"]}, folds=FOLDS)
    alone = int(task.dealt[31])
    assert task.plain(alone, 0).scores["perceptron"] == 7 / 8
    assert np.isfinite(task.network((4,), alone, 0).scores["gatestack"])


def test_a_search_asks_the_task_for_the_part_without_the_last_fold() -> None:
    asked: list[tuple[str, int]] = []

    class Noted(FoldedTask):
        def __init__(self, name: str) -> None:
            own: Any = LABELLED["regressor"].folded_task(WAVES, {"y": np.arange(32.0)}, folds=FOLDS)
            self.__dict__.update(own.__dict__)
            self.name = name

        def plain(self, fold: int, seed: int) -> Outcome:  # noqa: ARG002
            asked.append((self.name, fold))
            return Outcome(scores={"mean": 1.0}, seconds=0.0)

        def network(self, widths: Any, fold: int, seed: int, changes: Any = None) -> Outcome:  # noqa: ARG002
            asked.append((self.name, fold))
            return Outcome(scores={"gatestack": 0.5}, seconds=0.0)

        def without_last(self) -> FoldedTask:
            return Noted("search")

    run_tune(Noted("whole"), TunePlan(search=("dropout",), trials=2, check_seeds=1), (4,))
    assert {name for name, fold in asked if fold < FOLDS - 1} == {"search"}
    assert {name for name, fold in asked if fold == FOLDS - 1} == {"whole"}
