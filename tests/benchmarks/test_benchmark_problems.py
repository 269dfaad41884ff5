"""Splits and origins: what a model may see, and what it is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from protocol.problems import PROBLEMS, ProblemSettings, fill_forward, make_problem, read_problem
from protocol.series_sets import SeriesSet

HOURS = SeriesSet(("a", "b"), (np.arange(100.0), np.arange(200.0, 290.0)), ("2020-01-01",) * 2, "h")
SETTINGS = ProblemSettings("hours", 4, 8, (5,), stride=3, test_steps=20, pseudo_test_steps=15)


def test_origins_of_the_test_split_lie_in_the_last_part_a_stride_apart() -> None:
    problem = make_problem("hours", "test", HOURS, SETTINGS)
    assert problem.train_ends == (80, 70)
    own = problem.origins[problem.origins[:, 0] == 0, 1]
    assert own.tolist() == [80, 83, 86, 89, 92, 95]


def test_actual_values_are_those_from_the_origin_on() -> None:
    problem = make_problem("hours", "test", HOURS, SETTINGS)
    row = problem.origins.tolist().index([1, 73])
    assert problem.actual[row].tolist() == [273.0, 274.0, 275.0, 276.0]


def test_the_last_forecast_ends_at_the_last_value() -> None:
    problem = make_problem("hours", "test", HOURS, ProblemSettings("hours", 4, 8, (5,), 1, 20, 15))
    assert problem.origins[problem.origins[:, 0] == 1, 1].max() == 86


def test_the_validation_split_holds_no_value_of_the_test_part() -> None:
    test = make_problem("hours", "test", HOURS, SETTINGS)
    validation = make_problem("hours", "validation", HOURS, SETTINGS)
    for index, values in enumerate(validation.series.values):
        assert len(values) == test.train_ends[index]
        assert np.array_equal(values, HOURS.values[index][: len(values)])
    assert validation.train_ends == (65, 55)


def test_a_test_part_fixed_by_the_publishers_gives_one_origin_per_series() -> None:
    given = SeriesSet(HOURS.keys, HOURS.values, HOURS.starts, "h", given_test_steps=4)
    settings = ProblemSettings("hours", 4, 8, (5,))
    assert make_problem("hours", "test", given, settings).origins.tolist() == [[0, 96], [1, 86]]
    assert make_problem("hours", "validation", given, settings).origins.tolist() == [[0, 92], [1, 82]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, np.nan, np.nan, 4.0, np.nan], [1.0, 1.0, 1.0, 4.0, 4.0]),
        ([np.nan, 2.0, 3.0], [2.0, 2.0, 3.0]),
        ([1.0, 2.0], [1.0, 2.0]),
    ],
)
def test_gaps_are_filled_from_what_lies_before(values: list[float], expected: list[float]) -> None:
    assert fill_forward(np.array(values)).tolist() == expected


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_can_be_read_and_no_origin_sees_less_than_a_window(
    name: str, shared_data: Path
) -> None:
    problem = read_problem(name, "test", shared_data)
    assert problem.origins[:, 1].min() >= problem.settings.window
    for index, origin in problem.origins:
        assert origin >= problem.train_ends[index]
    assert np.isfinite(problem.actual).mean() > 0.9


def test_a_single_series_has_origins_at_every_phase_of_its_season(shared_data: Path) -> None:
    for name, settings in PROBLEMS.items():
        problem = read_problem(name, "test", shared_data)
        if len(problem.series.values) == 1:
            phases = set((problem.origins[:, 1] % settings.seasons[0]).tolist())
            assert len(phases) == settings.seasons[0], name
