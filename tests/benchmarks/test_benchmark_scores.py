"""Scores against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from protocol.problems import Problem, ProblemSettings, make_problem
from protocol.scores import first_quarter, score
from protocol.series_sets import SeriesSet

# Fitting part 0 2 0 2 0 2 has a mean seasonal difference (season 1) of 2; the test part is 4, NaN, 6, 8.
VALUES = np.array([0.0, 2, 0, 2, 0, 2, 4, np.nan, 6, 8])


def _problem(*series: np.ndarray, stride: int = 2) -> Problem:
    keys = tuple("abc"[: len(series)])
    settings = ProblemSettings("s", 2, 2, (1,), stride=stride, test_steps=4)
    return make_problem("s", "test", SeriesSet(keys, series, ("2020-01-01",) * len(series), "h"), settings)


def test_mae_and_mase_by_hand() -> None:
    scores = score(_problem(VALUES), np.array([[5.0, 100.0], [6.0, 5.0]]))
    assert scores.mae == pytest.approx((1 + 0 + 3) / 3)  # the NaN counts nowhere
    assert scores.mae_per_step == pytest.approx([0.5, 3.0])
    assert scores.mase_per_step == pytest.approx([0.25, 1.5])
    assert scores.mase == pytest.approx(0.875)


def test_mase_is_the_mean_over_series_and_does_not_depend_on_their_size() -> None:
    problem = _problem(VALUES, 1000 * VALUES)
    forecasts = np.array([[5.0, 0.0], [6.0, 5.0], [5000.0, 0.0], [6000.0, 5000.0]])
    scores = score(problem, forecasts)
    assert scores.mase == pytest.approx(0.875)
    assert scores.mae == pytest.approx((4 + 4000) / 6)


@pytest.mark.parametrize("forecasts", [np.zeros((2, 3)), np.full((2, 2), np.nan)])
def test_forecasts_that_are_not_all_there_are_refused(forecasts: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"shape|not finite"):
        score(_problem(VALUES), forecasts)


def test_the_first_quarter_is_rounded_up() -> None:
    assert [first_quarter(h) for h in (24, 48, 7, 1)] == [6, 12, 2, 1]
