"""Scores of detectors: NAB's rules by hand, ranges, and the surface, against plain loops."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatestack.errors import ArgumentError
from gatestack.tasks.detect.nab_score import PROFILES, nab_score, probation_steps, score_file
from gatestack.tasks.detect.range_scores import range_precision, range_recall, ranges_of, vus_pr

STANDARD = PROFILES["standard"]


def alarms_at(*steps: int, length: int = 2000) -> np.ndarray:
    flags = np.zeros(length, dtype=bool)
    flags[list(steps)] = True
    return flags


def sigmoid(place: float) -> float:
    return 2 / (1 + math.exp(5 * place)) - 1


def test_only_the_first_alarm_of_a_window_counts_and_early_is_better() -> None:
    window = [(1000, 1099)]
    assert score_file(alarms_at(1000), window, STANDARD).raw == pytest.approx(1.0)
    middle = score_file(alarms_at(1050, 1060, 1099), window, STANDARD)
    assert middle.raw == pytest.approx(sigmoid(-0.5) / sigmoid(-1.0))
    assert (middle.hits, middle.false_alarms) == (1, 0)
    assert score_file(alarms_at(1099), window, STANDARD).raw == pytest.approx(sigmoid(-0.01) / sigmoid(-1))


def test_false_alarms_cost_more_the_further_they_are_behind_a_window() -> None:
    window = [(1000, 1099)]
    silent = score_file(alarms_at(), window, STANDARD).raw
    assert silent == -1.0
    before = score_file(alarms_at(900), window, STANDARD).raw
    just_after = score_file(alarms_at(1109), window, STANDARD).raw
    far_after = score_file(alarms_at(1900), window, STANDARD).raw
    assert before == far_after == pytest.approx(silent - 0.11)
    assert just_after == pytest.approx(silent + 0.11 * sigmoid(10 / 99))
    cautious = score_file(alarms_at(900), window, PROFILES["few_false_alarms"]).raw
    assert cautious == pytest.approx(silent - 0.22)


def test_alarms_in_the_probation_are_not_counted() -> None:
    assert probation_steps(2000) == 300
    result = score_file(alarms_at(10, 299), [(1000, 1099)], STANDARD)
    assert (result.raw, result.false_alarms) == (-1.0, 0)
    assert score_file(alarms_at(300), [(1000, 1099)], STANDARD).false_alarms == 1


@pytest.mark.parametrize("name", PROFILES)
def test_silence_is_0_and_perfection_100(name: str) -> None:
    profile, windows = PROFILES[name], [(500, 599), (1500, 1550)]
    assert nab_score([score_file(alarms_at(), windows, profile)], profile) == 0.0
    perfect = score_file(alarms_at(500, 1500), windows, profile)
    assert nab_score([perfect], profile) == pytest.approx(100.0)
    half = score_file(alarms_at(500), windows, profile)
    assert nab_score([half], profile) == pytest.approx(50.0)


def test_files_without_an_anomaly_only_cost() -> None:
    with_window = score_file(alarms_at(500), [(500, 599)], STANDARD)
    noisy = score_file(alarms_at(*range(400, 420)), [], STANDARD)
    assert nab_score([with_window, noisy], STANDARD) == pytest.approx(100 * (2 - 20 * 0.11) / 2)
    with pytest.raises(ArgumentError, match="no file has a window"):
        nab_score([noisy], STANDARD)


def test_scores_of_files_are_those_of_the_benchmarks_own_repository() -> None:
    # Rows that reach the published threshold of three published detectors, and what the repository gives.
    cases = json.loads((Path(__file__).parent / "nab_published.json").read_text(encoding="utf-8"))["cases"]
    assert {case["profile"] for case in cases} == set(PROFILES)
    for case in cases:
        alarms = alarms_at(*case["alarms"], length=case["rows"])
        windows = [(first, last) for first, last in case["windows"]]
        found = score_file(alarms, windows, PROFILES[case["profile"]])
        assert found.raw == pytest.approx(case["score"], abs=1e-9), (case["detector"], case["file"])


@pytest.mark.parametrize("windows", [[(10, 5)], [(1990, 2000)], [(500, 600), (600, 700)], [(-1, 5)]])
def test_windows_outside_the_file_or_out_of_order_are_refused(windows: list[tuple[int, int]]) -> None:
    with pytest.raises(ArgumentError, match="the window from step"):
        score_file(alarms_at(), windows, STANDARD)


def test_ranges_reward_existence_and_overlap_and_punish_pieces() -> None:
    truth = np.zeros(20, dtype=bool)
    truth[5:15] = True
    whole = np.zeros(20, dtype=bool)
    whole[5:15] = True
    assert range_recall(truth, whole) == range_precision(truth, whole) == 1.0
    pieces = whole.copy()
    pieces[9] = False
    assert range_recall(truth, pieces) == pytest.approx(0.5 + 0.5 * 0.9 / 2)
    assert range_precision(truth, pieces) == 1.0
    beside = np.roll(whole, 5)
    assert range_precision(truth, beside) == 0.5
    assert range_recall(truth, beside, existence=0.0) == 0.5
    assert math.isnan(range_recall(np.zeros(3, dtype=bool), np.ones(3, dtype=bool)))
    assert math.isnan(range_precision(truth, np.zeros(20, dtype=bool)))


def slow_vus(truth: np.ndarray, scores: np.ndarray, largest_buffer: int) -> float:
    """The definition, one threshold and one buffer after the other."""
    areas = []
    for buffer in range(largest_buffer + 1):
        labels = truth.astype(float)
        for step in range(len(truth)):
            for other in np.flatnonzero(truth):
                away = abs(step - other)
                if 0 < away <= buffer // 2:
                    labels[step] = max(labels[step], math.sqrt(1 - away / buffer))
        segments = ranges_of(labels > 0)
        area, recall_before = 0.0, 0.0
        for threshold in sorted(set(scores), reverse=True):
            alarms = scores >= threshold
            hits = (labels * alarms).sum()
            existence = np.mean([alarms[first : last + 1].any() for first, last in segments])
            recall = min(1.0, hits / ((truth.sum() + labels.sum()) / 2)) * existence
            area += (recall - recall_before) * hits / alarms.sum()
            recall_before = recall
        areas.append(area)
    return float(np.mean(areas))


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=25).filter(
        lambda steps: any(flag for flag, _ in steps)
    ),
    st.integers(0, 6),
)
def test_the_surface_is_that_of_its_definition(steps: list[tuple[bool, int]], buffer: int) -> None:
    truth = np.array([flag for flag, _ in steps])
    scores = np.array([score for _, score in steps], dtype=float)
    assert vus_pr(truth, scores, buffers=range(buffer + 1)) == pytest.approx(slow_vus(truth, scores, buffer))


def test_the_surface_forgives_a_few_steps() -> None:
    truth = np.zeros(200, dtype=bool)
    truth[100:110] = True
    late = np.zeros(200)
    late[112] = 1.0
    assert vus_pr(truth, late, buffers=range(11)) > vus_pr(truth, late, buffers=[0]) + 0.01
    assert vus_pr(truth, truth.astype(float), buffers=[0]) == 1.0
    for bad in (np.full(200, np.nan), np.zeros(199)):
        with pytest.raises(ArgumentError):
            vus_pr(truth, bad, buffers=[3])
    for wrong in (-1, [], [0.5]):
        with pytest.raises(ArgumentError, match="buffers is"):
            vus_pr(truth, late, buffers=wrong)
