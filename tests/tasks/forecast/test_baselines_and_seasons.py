"""Naive forecasts by hand, the autoregression on series with a known answer, seasons and windows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from gatestack.data.series_table import SeriesTable
from gatestack.tasks.forecast.autoregression import Autoregression, fit_autoregression
from gatestack.tasks.forecast.baselines import BASELINES, baseline_forecasts
from gatestack.tasks.forecast.panel import Panel, last_observed
from gatestack.tasks.forecast.scaling import TrailingScale
from gatestack.tasks.forecast.seasons import default_window, find_seasons


def panel_of(values: list[float | None] | np.ndarray, window: int = 4) -> Panel:
    frame = pl.DataFrame({"ds": range(len(values)), "y": values}, schema_overrides={"y": pl.Float64})
    return Panel.from_table(SeriesTable.from_frame(frame), TrailingScale(1, window))


def naive(values: list[float | None], position: int, season: int | None) -> dict[str, list[float]]:
    nothing = Autoregression(np.zeros((5, 4)), np.zeros(4), np.ones(4))
    found = baseline_forecasts(
        panel_of(values),
        np.array([0]),
        np.array([position]),
        horizon=4,
        season=season,
        autoregression=nothing,
    )
    return {name: forecast[0].tolist() for name, forecast in found.items()}


def test_naive_forecasts_by_hand() -> None:
    found = naive([1, 2, 3, 1, 2, 4, 99, 99, 99, 99], position=5, season=3)
    assert found["last_value"] == [4, 4, 4, 4]
    assert found["seasonal_naive"] == [1, 2, 4, 1]
    assert found["drift"] == pytest.approx([4.6, 5.2, 5.8, 6.4])
    assert list(found) == list(BASELINES)


def test_naive_forecasts_read_the_last_known_value_in_a_gap() -> None:
    found = naive([1, 2, 3, None, 2, None, 99, 99, 99, 99], position=5, season=3)
    assert found["last_value"] == [2, 2, 2, 2]
    assert found["seasonal_naive"] == [3, 2, 2, 3]  # 3 stands for the missing value after it


def test_without_a_season_there_is_no_seasonal_forecast() -> None:
    assert list(naive([1, 2, 3, 4, 5, 6, 7], position=2, season=None)) == ["last_value", "drift", "linear"]


def test_gaps_are_filled_from_before_and_a_leading_gap_from_its_end() -> None:
    values = np.array([0.0, 5.0, 0.0, 7.0, 0.0])
    observed = np.array([False, True, False, True, False])
    assert last_observed(values, observed).tolist() == [5, 5, 5, 7, 7]
    assert last_observed(values, ~observed & False).tolist() == [0] * 5


def simulate(weights: tuple[float, ...], steps: int, noise: float) -> np.ndarray:
    random = np.random.default_rng(0)
    values = np.zeros(steps)
    for step in range(len(weights), steps):
        before = values[step - len(weights) : step][::-1]
        values[step] = np.dot(weights, before) + noise * random.normal()
    return values


def test_the_autoregression_recovers_one_of_second_order() -> None:
    values = simulate((1.2, -0.6), 3000, noise=1.0)
    panel = panel_of(values, window=5)
    fitted = fit_autoregression(panel, np.array([3000]), window=5, horizon=2, seasons=())
    positions = np.arange(100, 2900)
    found = fitted.forecast(panel, np.zeros_like(positions), positions)
    wanted = 1.2 * values[positions] - 0.6 * values[positions - 1]
    assert np.corrcoef(found[:, 0], wanted)[0, 1] > 0.998
    np.testing.assert_allclose(found[:, 0], wanted, atol=0.5)
    two_ahead = 1.2 * wanted - 0.6 * values[positions]
    np.testing.assert_allclose(found[:, 1], two_ahead, atol=0.8)


def test_the_autoregression_copies_a_season() -> None:
    pattern = np.array([0.0, 3.0, -2.0, 5.0, 1.0, 7.0, -4.0])
    values = np.tile(pattern, 60) + np.random.default_rng(0).normal(size=420) * 0.01
    panel = panel_of(values, window=8)
    fitted = fit_autoregression(panel, np.array([420]), window=8, horizon=9, seasons=(7,))
    found = fitted.forecast(panel, np.array([0]), np.array([400]))[0]
    np.testing.assert_allclose(found, pattern[np.arange(401, 410) % 7], atol=0.05)


def test_the_autoregression_keeps_to_the_last_value_of_a_random_walk() -> None:
    values = np.cumsum(np.random.default_rng(5).normal(size=2000))
    panel = panel_of(values, window=10)
    fitted = fit_autoregression(panel, np.array([2000]), window=10, horizon=1, seasons=())
    positions = np.arange(50, 1990)
    found = fitted.forecast(panel, np.zeros_like(positions), positions)[:, 0]
    error = np.abs(found - values[positions + 1]).mean()
    last = np.abs(values[positions] - values[positions + 1]).mean()
    assert error < 1.01 * last
    assert np.abs(found - values[positions]).mean() < 0.1 * last


def test_the_autoregression_reads_nothing_after_its_end() -> None:
    values = simulate((0.9,), 300, noise=1.0)
    changed = np.where(np.arange(300) < 200, values, 1e3)
    fits = []
    for given in (values, changed):
        frame = pl.DataFrame({"ds": range(300), "y": given})
        panel = Panel.from_table(SeriesTable.from_frame(frame), TrailingScale(1, 5))
        fits.append(fit_autoregression(panel, np.array([200]), window=5, horizon=3, seasons=(3,)))
    assert np.array_equal(fits[0].weight, fits[1].weight)
    assert np.array_equal(fits[0].bias, fits[1].bias)


def test_too_few_origins_give_the_last_value() -> None:
    panel = panel_of([1.0, 2.0, 5.0, 3.0, 4.0, 8.0], window=2)
    fitted = fit_autoregression(panel, np.array([6]), window=2, horizon=2, seasons=())
    assert fitted.forecast(panel, np.array([0]), np.array([3])).tolist() == [[3.0, 3.0]]


TIME = np.arange(600)
NOISE = np.random.default_rng(0).normal(size=600)


@pytest.mark.parametrize(
    ("values", "candidates", "found"),
    [
        (np.sin(TIME * 2 * np.pi / 24), (24, 168), (24,)),
        (np.sin(TIME * 2 * np.pi / 7) + 0.5 * NOISE, (7, 365), (7,)),
        (NOISE, (7, 30), ()),
        (NOISE, (), ()),
        (0.1 * TIME + 0.01 * NOISE, (7, 30), ()),
        (np.cumsum(NOISE), (7, 30), ()),
        (np.full(600, 3.3), (7, 30), ()),
        (np.full(600, 3.3), (), ()),
        (np.sin(TIME * 2 * np.pi / 13) + 0.2 * NOISE, (), (13,)),
        (np.sin(TIME * 2 * np.pi / 13) + 0.01 * TIME, (), (13,)),
        (np.sin(TIME * 2 * np.pi / 48), (), (48,)),
        (TIME % 2 + 0.1 * NOISE, (), (2,)),
        (np.sin(TIME * 2 * np.pi / 7), (400,), ()),
        (np.zeros(3), (2, 7), ()),
        (np.zeros(0), (), ()),
    ],
    ids=["day", "week", "noise", "noise, search", "trend", "walk", "constant", "constant, search",
         "search", "search in a trend", "slow wave", "two", "too long", "three steps", "empty"],
)  # fmt: skip
def test_seasons_are_found_where_there_are_any(
    values: np.ndarray, candidates: tuple[int, ...], found: tuple[int, ...]
) -> None:
    assert find_seasons([values], candidates) == found
    assert find_seasons([1e9 * values + 5e9, values * 1e-9], candidates) == found


def test_a_week_on_top_of_a_day_is_found_beside_it() -> None:
    hours = np.arange(24 * 7 * 6)
    weekend = (hours // 24) % 7 >= 5
    values = np.sin(hours * 2 * np.pi / 24) * np.where(weekend, 0.3, 1.0) + weekend
    assert find_seasons([values], (24, 168)) == (24, 168)


@pytest.mark.parametrize(
    ("horizon", "seasons", "shortest", "window"),
    [(24, (24,), 5000, 96), (24, (24, 168), 5000, 336), (7, (7,), 60, 20), (1, (), 1000, 8), (3, (), 5, 2)],
)
def test_the_default_window_holds_seasons_and_horizons(
    horizon: int, seasons: tuple[int, ...], shortest: int, window: int
) -> None:
    assert default_window(horizon, seasons, shortest) == window
