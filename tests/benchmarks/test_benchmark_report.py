"""The page says who won and who lost."""

from __future__ import annotations

import numpy as np
import pytest
from protocol.accuracy_report import accuracy_page
from protocol.contenders import GATESTACK, NHITS
from protocol.jobs import Budget
from protocol.problems import Problem, ProblemSettings, make_problem
from protocol.results import Row, summarise
from protocol.scores import Scores
from protocol.series_sets import SeriesSet

MACHINE = {
    "processor": "a processor",
    "cores": 2,
    "memory_gib": 8,
    "system": "Linux",
    "python": "3.11",
    "date": "2026",
}


@pytest.fixture
def problem() -> Problem:
    settings = ProblemSettings("ett", 4, 4, (2,), stride=2, test_steps=8)
    return make_problem("ett", "test", SeriesSet(("a",), (np.arange(30.0),), ("2020",), "h"), settings)


def _row(model: str, kind: str, seed: int, error: float, first: float) -> Row:
    return Row("ett", model, kind, seed, Scores(error, error / 2, [first] * 4, [first / 2] * 4))


ROWS = [
    *(_row(GATESTACK.label, "recurrent", seed, error, 2.0) for seed, error in enumerate((1.0, 1.2, 1.1))),
    _row("Darts BlockRNN LSTM", "recurrent", 0, 2.2, 1.0),
    _row(NHITS, "network", 0, 1.0, 1.0),
    _row("last value", "baseline", 0, 4.4, 0.5),
]


def test_the_summary_is_the_median_with_the_extremes() -> None:
    ours = summarise(ROWS, "ett")[0]
    assert ours.mae == (1.1, 1.0, 1.2)
    assert ours.seeds == 3


def test_the_page_tells_wins_and_losses(problem: Problem) -> None:
    page = accuracy_page(ROWS, [problem], Budget(), MACHINE)
    whole, early = (line for line in page.splitlines() if line.startswith("| ett |"))
    # Darts, the best naive answer, NHITS: its 1.0 lies within the range of the three seeds.
    assert whole == "| ett | -50.0 % (1 seed) | -75.0 % | +10.0 % ≈ |"
    # Worse at the first step, though better over the whole horizon.
    assert early.startswith("| ett | +100.0 % (1 seed), 0 of 1 |")
    verdict = next(line for line in page.splitlines() if line.startswith("**Verdict.**"))
    assert f"number 2 of 4 models, behind {NHITS};" in verdict
    assert "best recurrent peer, Darts BlockRNN LSTM: better (-50.0 %)" in verdict
    assert "behind last value" not in verdict  # Darts is better than that here.
    assert "at step 1 that peer errs 2.0 times as much as the last value" in verdict
    assert "among the first 1: 0 against Darts BlockRNN LSTM, 0 against last value" in verdict


def test_the_page_says_first_what_is_missing(problem: Problem) -> None:
    missing = [("ett", "Darts BlockRNN LSTM", 2), ("ett", "Darts BlockRNN LSTM", 1)]
    page = accuracy_page(ROWS, [problem], Budget(), MACHINE, missing)
    assert "`ett`, seeds missing of Darts BlockRNN LSTM: 1, 2" in page.split("## ett")[0]
    assert "Not finished" not in accuracy_page(ROWS, [problem], Budget(), MACHINE)


def test_models_are_sorted_by_their_error(problem: Problem) -> None:
    page = accuracy_page(ROWS, [problem], Budget(), MACHINE)
    lines = [
        line for line in page.splitlines() if (line.startswith("| ") and "(1–1.2)" in line) or "4.4" in line
    ]
    assert lines[0].startswith(f"| **{GATESTACK.label}** | 3 | 1.1 (1–1.2)")
    assert lines[1].startswith("| last value")
