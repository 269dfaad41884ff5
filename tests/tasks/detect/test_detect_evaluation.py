"""Tails, rules of alarms, baselines, and the evaluation beside them."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from tests.tasks.detect.test_detector import LEARNED, SHIFT, SPIKE, STEPS, fitted, quick, waves

from gatestack.data.frequency import Frequency
from gatestack.errors import ArgumentError, DataError
from gatestack.tasks.detect import BASELINES
from gatestack.tasks.detect.alarms import AlarmState, CalibratedRule, DynamicRule, events_of
from gatestack.tasks.detect.baselines import BaselineTask, baseline_statistics, moving_z_score, scored_by_rule
from gatestack.tasks.detect.explanation import rarity
from gatestack.tasks.detect.fitting import training_steps
from gatestack.tasks.detect.tail import Tail, extremal_index


@pytest.mark.parametrize("draw", ["exponential", "pareto"])
def test_a_tail_finds_shares_inside_and_beyond_what_it_saw(draw: str) -> None:
    random = np.random.default_rng(0)
    sample, later = (
        {
            "exponential": random.exponential(size=4000),
            "pareto": random.pareto(4.0, size=4000),
        }[draw]
        for _ in range(2)
    )
    tail = Tail.fit(sample)
    for share, allowed in ((0.7, 0.1), (0.3, 0.15), (0.05, 0.2), (0.01, 0.6)):
        number = float(np.quantile(later, 1 - share))
        assert tail.share_above(number) == pytest.approx(share, rel=allowed)
    numbers = np.linspace(0, 20, 200)
    shares = [tail.share_above(number) for number in numbers.tolist()]
    assert (np.diff(shares) <= 0).all()
    assert shares[-1] >= 1e-12


def far_out(tail: Tail, share: float) -> float:
    """Find the number that so many of the usual ones reach."""
    low, high = float(tail.body[-1]), 1e9
    for _ in range(80):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if tail.share_above(middle) > share else (low, middle)
    return low


@pytest.mark.parametrize(("run", "steps"), [(1, 200), (10, 700)])
def test_a_tail_learned_from_little_keeps_its_promise_on_average(run: int, steps: int) -> None:
    random = np.random.default_rng(0)
    # Numbers that come in runs of ten are a tenth as many. Taken at face value the tails would be reached
    # 1.5 and 3 times as often as promised.
    true = [
        math.exp(-far_out(Tail.fit(np.repeat(random.exponential(size=steps // run), run)), 1e-3))
        for _ in range(200)
    ]
    assert 0.5e-3 < float(np.mean(true)) < 1.3e-3


@pytest.mark.parametrize("run", [1, 4, 10])
def test_the_extremal_index_counts_runs(run: int) -> None:
    random = np.random.default_rng(0)
    found = []
    for _ in range(20):
        draws = random.exponential(size=2000 + run)
        largest = np.lib.stride_tricks.sliding_window_view(draws, run).max(axis=1)
        found.append(extremal_index(np.flatnonzero(largest > np.quantile(largest, 0.9))))
    # The largest of `run` numbers in a row stays for `run` steps.
    assert float(np.mean(found)) == pytest.approx(1 / run, rel=0.15)
    assert extremal_index(np.array([4])) == 1.0
    assert extremal_index(np.arange(5)) == 1 / 5


def test_events_are_runs_with_less_than_quiet_steps_between() -> None:
    flags = np.zeros(20, dtype=bool)
    flags[[2, 3, 6, 10, 19]] = True
    assert np.flatnonzero(events_of(flags, 4)).tolist() == [2, 10, 19]
    rule, state, raised = CalibratedRule(1.0, 4), AlarmState(), []
    for flag in flags:
        state = rule.advance(float(flag), 0.0, state)
        raised.append(state.raised)
    assert_array_equal(raised, events_of(flags, 4))


def test_the_length_of_an_event_counts_its_pauses_and_ends_after_quiet() -> None:
    rule, state, lengths = CalibratedRule(1.0, 3), AlarmState(), []
    for score in (0, 1, 0, 1, 0, 0, 0, 0, 1):
        state = rule.advance(float(score), 0.0, state)
        lengths.append(state.length)
    assert lengths == [0, 1, 2, 3, 4, 5, 0, 0, 1]


def test_the_dynamic_threshold_finds_a_peak_and_prunes_a_ripple() -> None:
    random = np.random.default_rng(0)
    usual = 1 + 0.1 * random.random(300)

    def alarmed(errors: np.ndarray) -> list[int]:
        rule, state, steps = DynamicRule(20), AlarmState(), []
        for step, error in enumerate(errors.tolist()):
            state = rule.advance(0.0, error, state)
            if state.above:
                steps.append(step)
        return steps

    assert alarmed(usual) == []
    peak = usual.copy()
    peak[200:205] = 10.0
    found = alarmed(peak)
    assert found[0] in (200, 201)
    assert found[-1] < 240
    ripple = usual.copy()
    ripple[200:205] = 1.12
    assert alarmed(ripple) == []


def test_the_moving_z_score_is_that_of_a_plain_loop_and_knows_gaps() -> None:
    values = np.random.default_rng(0).normal(50, 3, size=(60, 2))
    values[10:14, 0] = np.nan
    values[20] = np.nan
    found = moving_z_score(values, 12)
    for step in range(3, 60):
        before, own = values[max(0, step - 12) : step], values[step]
        parts = [
            abs(own[c] - np.nanmean(before[:, c])) / np.nanstd(before[:, c])
            for c in range(2)
            if not np.isnan(own[c])
        ]
        assert found[step] == pytest.approx(max(parts), rel=1e-6) if parts else math.isnan(found[step])


def test_every_baseline_sees_a_spike_and_learns_from_the_training_part_only() -> None:
    values = waves()["v0"].to_numpy()[:, None]
    spoilt = values.copy()
    spoilt[SPIKE + 50 :] += 100.0
    found = baseline_statistics(BaselineTask(values, LEARNED, 24, 24, 0))
    other = baseline_statistics(BaselineTask(spoilt, LEARNED, 24, 24, 0))
    assert tuple(found) == BASELINES
    for name, unusual in found.items():
        # A forest cannot tell how far out a value is, only that it is.
        level = 1.3 if name == "isolation_forest" else 2.5
        scores, above, alarms = scored_by_rule(unusual, LEARNED, CalibratedRule(level, 24))
        assert above[SPIKE : SPIKE + 8].any(), name
        assert alarms.sum() <= above.sum()
        assert_allclose(unusual[: SPIKE + 50], other[name][: SPIKE + 50])
        assert np.isnan(scores[:1]).all()


def test_the_evaluation_stands_beside_baselines_and_is_the_same_by_column_and_by_windows() -> None:
    table = waves()
    result = fitted().evaluate(table)
    assert result.scores["model"].to_list() == ["gatestack", *BASELINES]
    assert set(result.columns) == set(result.scores.columns) - {"model"}
    own = result.scores.row(0, named=True)
    assert own["found"] == 2
    assert own["nab"] > 80
    assert own["nab_few_false_alarms"] <= own["nab"]
    assert 0.3 < own["vus_pr"] <= 1
    assert result.steps == STEPS - LEARNED
    assert result.anomalies == 2
    assert result.extent == "400 steps, 2 anomalies"
    assert "2 of 2 anomalies found" in result.sentence
    assert result.to_dict()["scores"][0]["model"] == "gatestack"
    times = table["time"]
    windows = [(times[SPIKE], times[SPIKE]), (times[SHIFT], times[SHIFT + 29])]
    by_windows = fitted().evaluate(table.drop("label"), windows=windows)
    assert by_windows.scores.equals(result.scores)
    flags = table.rename({"label": "odd"}).with_columns(pl.col("odd").cast(pl.Boolean))
    assert fitted().evaluate(flags, label="odd").scores.equals(result.scores)


def test_labels_change_the_scores_and_never_the_alarms() -> None:
    table = waves()
    moved = table.with_columns(label=pl.col("label").shift(60, fill_value=0))
    assert not fitted().evaluate(moved).scores.equals(fitted().evaluate(table).scores)
    assert fitted().predict(moved).equals(fitted().predict(table))
    again = quick().fit(moved, train=LEARNED)
    assert again.predict(table).equals(fitted().predict(table))


def test_later_data_can_be_scored_without_the_history() -> None:
    result = fitted().evaluate(waves()[LEARNED:])
    assert result.steps == STEPS - LEARNED
    assert result.scores["found"][0] == 2


def test_several_series_are_scored_together() -> None:
    both = pl.concat(
        [waves(seed=number).with_columns(unique_id=pl.lit(key)) for number, key in enumerate("ab")]
    )
    detector = quick(max_steps=20).fit(both, train=LEARNED)
    result = detector.evaluate(both)
    assert result.anomalies == 4
    times = both["time"]
    one = detector.evaluate(both, windows={"a": [(times[SPIKE], times[SPIKE])]})
    assert one.anomalies == 1
    with pytest.raises(ArgumentError, match="there are 2 series"):
        detector.evaluate(both, windows=[(times[0], times[1])])
    with pytest.raises(ArgumentError, match="names the series 'c'"):
        detector.evaluate(both, windows={"c": [(times[0], times[1])]})


def test_truth_that_cannot_be_used_is_refused() -> None:
    table = waves()
    start, end = table["time"][SPIKE], table["time"][SPIKE] + timedelta(hours=2)
    cases = [
        ({}, table.drop("label"), DataError, "no column 'label' of labels"),
        ({"label": "lable"}, table, DataError, "did you mean 'label'"),
        ({}, table.with_columns(label=pl.lit(2)), DataError, "the label is 2"),
        ({}, table.with_columns(label=pl.lit(0)), DataError, "no anomaly after the training part"),
        ({}, table[:LEARNED], DataError, "no anomaly after the training part"),
        ({"windows": [(end, start)]}, table, ArgumentError, "the window from"),
        ({"windows": [(1, 2)]}, table, ArgumentError, "the window from"),
        ({"windows": [(start, end)], "label": "label"}, table, ArgumentError, "both given"),
    ]
    for options, frame, error, message in cases:
        with pytest.raises(error, match=message):
            fitted().evaluate(frame, **options)  # type: ignore[arg-type]


def test_rarity_is_told_in_steps_and_in_time() -> None:
    assert rarity(3.0, Frequency.parse(1)) == "once in 1,000 usual steps"
    assert rarity(5.3, Frequency.parse("5m")) == "once in 200,000 usual steps (1.9 years)"
    assert rarity(11.0, Frequency.parse("1h")) == "less than once in 1,000,000 usual steps (114 years)"
    assert rarity(11.0, Frequency.parse(1)) == "less than once in 1,000,000 usual steps"
    assert rarity(1.0, Frequency.parse("1s")) == "once in 10 usual steps"


@pytest.mark.parametrize("train", [0, 0.0, -0.5, 1.01, True, "half"])
def test_a_training_part_is_a_share_or_a_number_of_steps(train: object) -> None:
    with pytest.raises(ArgumentError, match="train= is"):
        training_steps(np.array([10]), train)  # type: ignore[arg-type]
