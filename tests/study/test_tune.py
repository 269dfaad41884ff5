"""The budgeted search: what it finds, its budget, resuming, several workers, the part held back."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from made_up import MadeUp

import gatestack as gs
from gatestack.errors import ArgumentError, TrainingError
from gatestack.study import (
    HeldBack,
    Measure,
    StudyDatabase,
    TrialRow,
    TunePlan,
    TuneStudy,
    progress,
    run_tune,
    search,
)
from gatestack.study.space import Range, parse_space
from gatestack.study.trials import Trials
from gatestack.study.tuned import tune_sentence
from gatestack.tasks import classify

LEVELS = {0: 1.5, 1: 1.0, 2: 0.8, 3: 0.9}
WORTH = {"zoneout": 2.0, "dropout": -0.1}
SEARCH = ("layers", "zoneout", "dropout")


def found_by(task: MadeUp, place: Path | None = None, **changes: Any) -> TuneStudy:
    plan = TunePlan(**{"search": SEARCH, "trials": 25} | changes)
    return run_tune(task, plan, (8,), storage=place)


def test_it_finds_what_is_better_and_says_what_that_is_worth() -> None:
    found = found_by(MadeUp(LEVELS, worth=WORTH))
    assert found.best["layers"] == 2
    assert found.best["zoneout"] < 0.1
    assert found.winner.score < found.given.score - 0.1
    assert len(found.rows) == 25
    assert {row.state for row in found.rows} <= {"complete", "pruned"}
    assert {"linear", "last_value"} == set(found.baselines)
    assert found.sentence.startswith("Best of 25 trials: layers 2, ")
    assert "on the part held back, with fresh seeds, it has" in found.sentence
    assert found.sentence.endswith("The gain holds there, with every seed.")
    assert found.beats_baseline
    assert len(found.held_back.best) == 3
    assert max(found.importance, key=found.importance.get) in ("layers", "zoneout")  # type: ignore[arg-type]
    assert found.table.height == 26
    assert json.loads(json.dumps(found.to_dict()))["best"] == found.best


def test_the_last_fold_is_not_looked_at_by_the_search() -> None:
    task = MadeUp(LEVELS, worth=WORTH)
    found_by(task)
    seen = [(fold, seed) for layers, fold, seed in task.fitted if layers]
    assert {seed for fold, seed in seen if fold == 4} == {1, 2, 3}
    assert {seed for fold, seed in seen if fold < 4} == {0}
    assert len([fold for fold, _ in seen if fold == 4]) == 2 * 3


def test_where_nothing_is_better_the_settings_stay() -> None:
    found = found_by(MadeUp(LEVELS, worth={"zoneout": 5.0}), search=("zoneout=0.05-0.3",), trials=4)
    assert found.best == {}
    assert found.winner == found.given
    assert found.sentence.startswith("None of 4 trials is better than the settings as given: MASE 0.9")


def test_a_gain_that_does_not_hold_is_said() -> None:
    class Luck(MadeUp):
        def network(self, widths: Any, fold: int, seed: int, changes: Any = None) -> Any:
            found = super().network(widths, fold, seed, changes)
            if fold == self.folds - 1 and changes:
                return type(found)(**found.to_dict() | {"scores": {"gatestack": 9.0}})
            return found

    found = found_by(Luck(LEVELS, worth=WORTH), trials=5)
    assert found.sentence.endswith("The gain does not hold there: keep the settings as given.")


def test_the_words_say_how_surely_a_gain_holds_and_what_the_baseline_does() -> None:
    measure = Measure(name="mase", label="MASE")
    row = TrialRow(
        number=1, settings={"zoneout": 0.1}, score=0.9, scores=(0.9,), state="complete", seconds=1.0
    )
    given = replace(row, number=None, settings={}, score=1.0, scores=(1.0,))

    def words(best: tuple[float, ...], own: tuple[float, ...], plain: float) -> str:
        held = HeldBack(best=best, given=own, baseline="linear", baseline_score=plain)
        return tune_sentence(row, given, 9, {"linear": 1.2}, held, measure)

    assert words((0.8, 0.9), (1.0, 1.1), 1.2).endswith("The gain holds there, with every seed.")
    assert words((0.8, 1.0), (0.9, 1.1), 1.2).endswith("seeds differ by more: it may be chance.")
    assert words((0.8,), (0.9,), 1.2).endswith("The gain holds there, as far as one seed tells.")
    assert words((1.1, 1.2), (0.9, 1.1), 1.2).endswith("does not hold there: keep the settings as given.")
    assert words((0.8, 0.9), (1.0, 1.1), 0.7).endswith("No network is better than linear there: take linear.")


def test_one_name_is_a_search_and_labels_are_no_options() -> None:
    model, data, options = ESTIMATORS["regressor"]
    found = gs.tune(model, data, options, search="zoneout", trials=1, folds=3, check_seeds=1)
    assert list(found.space) == ["zoneout"]
    with pytest.raises(ArgumentError, match="a dict of its other arguments"):
        gs.tune(model, data, np.arange(24.0))  # type: ignore[arg-type]


def test_the_bar_counts_what_its_label_says(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, int, int]] = []

    class Bar:
        def start(self) -> None: ...
        def stop(self) -> None: ...
        def refresh(self) -> None: ...
        def add_task(self, *_: object, **__: object) -> int:
            return 0

        def update(self, _: int, *, completed: int, total: int, unit: str, text: str) -> None:
            assert not text or "left" in text
            shown.append((unit, completed, total))

    monkeypatch.setattr(progress, "_make_bar", Bar)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    found_by(MadeUp(LEVELS, worth=WORTH), trials=3)
    assert list(dict.fromkeys(unit for unit, _, _ in shown)) == [
        "fits as given",
        "trials",
        "fits of the check",
    ]
    assert {total for unit, _, total in shown if unit == "fits as given"} == {4 + 4}
    assert [done for unit, done, _ in shown if unit == "trials"] == [0, 1, 2, 3]
    assert shown[-1] == ("fits of the check", 1 + 2 * 3, 1 + 2 * 3)


def test_what_falls_behind_is_left_early() -> None:
    task = MadeUp(LEVELS, worth={"zoneout": 5.0})
    found = found_by(task, search=("zoneout",), sampler="random")
    pruned = [row for row in found.rows if row.state == "pruned"]
    assert pruned
    assert all(len(row.scores) < 4 for row in pruned)
    whole = found_by(
        MadeUp(LEVELS, worth={"zoneout": 5.0}), search=("zoneout",), sampler="random", pruner="none"
    )
    assert {row.state for row in whole.rows} == {"complete"}
    assert whole.best == found.best
    found_by(MadeUp(LEVELS), search=("zoneout",), pruner="halving", trials=3)


def test_a_stopped_search_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    fits = 0

    def stop(_: int) -> None:
        nonlocal fits
        fits += 1
        if fits == 9:
            raise KeyboardInterrupt

    first, second = (MadeUp(LEVELS, worth=WORTH, before=act, folds=3) for act in (stop, None))
    with pytest.raises(KeyboardInterrupt):
        found_by(first, tmp_path / "study.db", trials=6)
    found = found_by(second, tmp_path / "study.db", trials=6)
    straight = MadeUp(LEVELS, worth=WORTH, folds=3)
    expected = found_by(straight, trials=6)
    assert found.best == expected.best
    assert sorted(row.score or 0 for row in found.rows) == sorted(row.score or 0 for row in expected.rows)
    # No fit was done twice.
    assert len(first.fitted) + len(second.fitted) == len(straight.fitted)
    again = MadeUp(LEVELS, worth=WORTH, folds=3)
    assert found_by(again, tmp_path / "study.db", trials=6) == found
    assert not again.fitted
    more = found_by(again, tmp_path / "study.db", trials=7)
    assert len(more.rows) == 7
    assert more.rows[:6] == found.rows


def test_minutes_end_the_search() -> None:
    found = found_by(MadeUp(LEVELS), minutes=1e-9)
    assert found.rows == ()
    assert found.sentence.startswith("None of 0 trials is better")


def test_minutes_that_end_in_the_middle_of_a_trial_leave_it_for_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    class Slow(MadeUp):
        def network(self, widths: Any, fold: int, seed: int, changes: Any = None) -> Any:
            clock[0] += 120.0 if changes and fold == 1 else 0.0
            return super().network(widths, fold, seed, changes)

    slow = Slow(LEVELS, worth=WORTH, folds=4)
    first = found_by(slow, tmp_path / "study.db", trials=2, minutes=1, search=("zoneout",))
    assert first.rows == ()
    assert [fit[1] for fit in slow.fitted[6:8]] == [
        0,
        1,
    ]  # after the folds of baselines and settings as given
    after = MadeUp(LEVELS, worth=WORTH, folds=4)
    found = found_by(after, tmp_path / "study.db", trials=2, search=("zoneout",))
    assert found == found_by(MadeUp(LEVELS, worth=WORTH, folds=4), trials=2, search=("zoneout",))
    # The first two folds of the trial were kept.
    assert [fit[1] for fit in after.fitted[:4]] == [2, 0, 1, 2]


def test_fewer_trials_than_were_begun_come_to_an_end(tmp_path: Path) -> None:
    class Stopped(MadeUp):
        def network(self, widths: Any, fold: int, seed: int, changes: Any = None) -> Any:
            if changes and len(self.fitted) > 16:
                raise KeyboardInterrupt
            return super().network(widths, fold, seed, changes)

    with pytest.raises(KeyboardInterrupt):
        found_by(Stopped(LEVELS, folds=4), tmp_path / "study.db", trials=6, search=("zoneout",))
    found = found_by(MadeUp(LEVELS, folds=4), tmp_path / "study.db", trials=2, search=("zoneout",))
    assert 2 < len(found.rows) < 6  # those that the call before had done


def test_a_worker_that_slept_leaves_its_trial_to_the_heir(tmp_path: Path) -> None:
    from optuna.trial import TrialState

    with StudyDatabase(tmp_path / "study.db", "search") as database:
        space = parse_space(["zoneout"])
        trials = Trials(database, space, sampler="random", pruner="none", seed=0, most=1)
        with trials.next() as taken:
            assert taken is not None
            database.end(taken.trial_id, TrialState.FAIL)  # as another worker does after a minute
            with trials.next() as heir:
                assert heir is not None
                assert heir.settings == taken.settings
                heir.add(0.5, [0.5], 1.0)
                heir.end(whole=True)
            taken.add(9.0, [9.0], 1.0)
            raise AssertionError("what the worker finds is not taken")
        assert trials.left() == 0
        (row,) = trials.ended()
        assert (row.place, row.scores) == (0, [0.5])


def test_widths_are_those_that_the_settings_say() -> None:
    task = MadeUp(LEVELS, folds=3)
    widths: list[tuple[int, ...]] = []

    class Noted(MadeUp):
        def network(self, own: Any, fold: int, seed: int, changes: Any = None) -> Any:
            widths.append(own)
            assert not {"layers", "hidden_size"} & set(changes)
            return super().network(own, fold, seed, changes)

    plan = TunePlan(search=("layers=2-2",), trials=1)
    run_tune(Noted(LEVELS, folds=3), plan, (32, 16))
    assert set(widths) == {(32, 16), (task.hidden_size,) * 2}
    widths.clear()
    plan = TunePlan(search=("layers=3-3", "hidden_size=5-5"), trials=1)
    run_tune(Noted(LEVELS, folds=3), plan, (32, 16))
    assert set(widths) == {(32, 16), (5, 5, 5)}


def test_widths_that_are_given_are_not_searched_alone() -> None:
    model = gs.Regressor(layers=[4, 2], max_steps=2, architecture=PLAIN)
    with pytest.raises(ArgumentError, match="a number of layers, or search layers too"):
        gs.tune(model, WAVES, {"y": np.arange(24.0)}, search=["hidden_size"])


def test_settings_that_cannot_be_fitted_are_passed_over() -> None:
    class Fragile(MadeUp):
        def network(self, widths: Any, fold: int, seed: int, changes: Any = None) -> Any:
            if (changes or {}).get("zoneout", 0) > 0.15:
                raise TrainingError("the loss is not finite")
            return super().network(widths, fold, seed, changes)

    found = found_by(Fragile(LEVELS), search=("zoneout",), trials=12, sampler="random")
    states = [row.state for row in found.rows]
    assert {"failed", "complete"} <= set(states)
    assert (
        found.failures
        == f"{states.count('failed')} trials of 12 could not be fitted; the first: the loss is not finite"
    )
    assert all(row.settings["zoneout"] <= 0.15 for row in found.rows if row.state == "complete")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zone_out", "did you mean 'zoneout'"),
        ("colour", "there are: layers, hidden_size"),
        ("window", "a model with a window"),
        ("dropout=0.5-1.5", "a share below 1, a range such as 0-0.5"),
        ("layers=0-2", "1 or more, a range such as 1-3"),
        ("layers=1.5-2", "whole numbers, a range such as 1-3"),
        ("learning_rate=0-0.1", "more than 0, a range such as 0.0003-0.03"),
        ("learning_rate=fast", "cannot be read .* a range such as"),
        ("learning_rate=0.1", "cannot be read .* a range such as"),
        ("learning_rate=1.2.3-4", "cannot be read"),
        ("learning_rate=0.1-0.001", "is empty(.|\n)*write it as 0.001-0.1"),
        ("zoneout=0.2-0.1", "write it as 0.1-0.2"),
        ("layer_norm=0-1", "layer_norm alone: it is on or off"),
    ],
)
def test_what_cannot_be_searched_is_refused(text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        parse_space([text])


def test_no_setting_is_searched_twice() -> None:
    with pytest.raises(ArgumentError, match="zoneout is searched twice"):
        parse_space(["zoneout", "zoneout=0.1-0.2"])


def test_the_widths_that_are_searched_hold_that_which_was_given() -> None:
    assert parse_space([], width=4)["hidden_size"].text == "4-128"
    assert parse_space([], width=300)["hidden_size"].text == "16-300"
    assert parse_space(["hidden_size=20-30"], width=4)["hidden_size"].text == "20-30"


def test_ranges_are_read() -> None:
    found = parse_space(["learning-rate=1e-4-1e-2", "window=8-24"], windows=(4, 32))
    assert found["learning_rate"] == Range(1e-4, 1e-2, log=True)
    assert found["window"] == Range(8, 24, whole=True, log=True)
    assert "layer_norm" not in parse_space([], layer_norm=False)
    with pytest.raises(ArgumentError, match="a model of LSTM layers"):
        parse_space(["layer_norm"], layer_norm=False)


PLAIN = classify.Architecture(recipe="plain", dropout=0.0)
WAVES = [np.sin(np.arange(16) * (1 + case % 2)) for case in range(24)]
SERIES = pl.DataFrame({"ds": range(160), "y": np.sin(np.arange(160) / 3)})
SMALL: dict[str, Any] = {"layers": 1, "hidden_size": 4, "max_steps": 2}
ESTIMATORS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "forecaster": (gs.Forecaster(2, **SMALL, window=8, season=8), SERIES, {}),
    "classifier": (gs.Classifier(**SMALL, architecture=PLAIN), WAVES, {"y": ["slow", "fast"] * 12}),
    "regressor": (gs.Regressor(**SMALL, architecture=PLAIN), WAVES, {"y": np.arange(24.0)}),
    "detector": (gs.AnomalyDetector(**SMALL, window=8), SERIES, {}),
}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_every_estimator_can_be_tuned_over_everything(kind: str) -> None:
    model, data, options = ESTIMATORS[kind]
    before = dict(model.get_params(deep=False))
    found = gs.tune(model, data, options, search=["hidden_size=2-5"], trials=2, folds=3, check_seeds=1)
    assert [set(row.settings) for row in found.rows] == [{"hidden_size"}] * 2
    everything = gs.tune(model, data, options, trials=1, folds=3, check_seeds=1)
    names = {"layers", "hidden_size", "learning_rate", "weight_decay", "dropout", "variational_dropout"}
    names |= {"recurrent_dropout", "zoneout", "layer_norm"}
    assert set(everything.space) == names | ({"window"} if kind in ("forecaster", "detector") else set())
    assert everything.rows[0].state == "complete"
    assert model.get_params(deep=False) == before


def test_all_windows_are_scored_in_one_unit() -> None:
    """MASE is in units of the seasonal naive error, and a short window holds no season."""
    steps = np.arange(210)
    noise = np.random.default_rng(0).normal(size=210) / 9
    frame = pl.DataFrame({"ds": steps, "y": np.sin(steps * 2 * np.pi / 7) + noise}).with_columns(
        ds=pl.date(2024, 1, 1) + pl.duration(days="ds")
    )
    model = gs.Forecaster(2, **SMALL)
    mase, mae = (model.folded_task(frame, {}, folds=3, measure=name) for name in ("mase", "mae"))
    units = []
    for window in (4, 16):
        found = [task.network((4,), 0, 0, {"window": window}).scores["gatestack"] for task in (mase, mae)]
        units.append(found[1] / found[0])
    given = [task.plain(0, 0).scores["last_value"] for task in (mase, mae)]
    assert units == pytest.approx([given[1] / given[0]] * 2)


def test_a_depth_to_begin_with_is_needed() -> None:
    model, data, options = ESTIMATORS["regressor"]
    auto = type(model)(**model.get_params(deep=False) | {"layers": "auto"})
    with pytest.raises(ArgumentError, match="a number of layers to begin with"):
        gs.tune(auto, data, options)


@pytest.mark.parametrize(
    "wrong", [{"trials": 0}, {"sampler": "guess"}, {"pruner": "shears"}, {"minutes": 0}, {"check_seeds": 0}]
)
def test_plans_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        TunePlan(**wrong)
