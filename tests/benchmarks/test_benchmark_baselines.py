"""The baselines on series whose next values are known."""

from __future__ import annotations

import numpy as np
import pytest
from protocol.baselines import last_value, linear_autoregression, seasonal_naive
from protocol.problems import Problem, ProblemSettings, make_problem
from protocol.scores import score
from protocol.series_sets import SeriesSet


def _problem(values: np.ndarray, horizon: int = 6, window: int = 10, season: int = 4) -> Problem:
    settings = ProblemSettings("s", horizon, window, (season,), stride=3, test_steps=len(values) // 4)
    return make_problem("s", "test", SeriesSet(("s",), (values,), ("2020-01-01",), "h"), settings)


def test_last_value_is_the_last_observed_value() -> None:
    values = np.arange(80.0)
    values[59] = np.nan
    forecasts = last_value(_problem(values))
    assert forecasts[0].tolist() == [58.0] * 6
    assert forecasts[1].tolist() == [62.0] * 6


def test_seasonal_naive_is_right_on_a_series_that_repeats_itself() -> None:
    problem = _problem(np.tile([1.0, 5.0, 2.0, 7.0], 25))
    assert np.array_equal(seasonal_naive(problem, 4), problem.actual)
    assert not np.array_equal(seasonal_naive(problem, 3), problem.actual)


def test_seasonal_naive_uses_nothing_from_after_the_origin() -> None:
    values = np.random.default_rng(0).normal(size=100)
    problem = _problem(values)
    changed = values.copy()
    changed[problem.origins[0, 1] :] = 1e6
    assert np.array_equal(seasonal_naive(problem, 4)[0], seasonal_naive(_problem(changed), 4)[0])


@pytest.mark.parametrize("level", [0.0, 500.0])
def test_linear_autoregression_follows_a_linear_recurrence(level: float) -> None:
    values = level + np.sin(np.arange(400) * 0.4) + 0.5 * np.cos(np.arange(400) * 0.9)
    problem = _problem(values)
    forecasts, model, _ = linear_autoregression(problem)
    assert score(problem, forecasts).mae < 0.01
    assert model.parameters == 11 * 6


def test_linear_autoregression_is_fitted_on_the_fitting_part_only() -> None:
    generator = np.random.default_rng(1)
    values = np.cumsum(generator.normal(size=400))
    problem = _problem(values)
    changed = values.copy()
    changed[problem.train_ends[0] + 1 :] *= -50
    first, _, _ = linear_autoregression(problem)
    second, _, _ = linear_autoregression(_problem(changed))
    assert np.array_equal(first[0], second[0])
    assert not np.array_equal(first[-1], second[-1])
