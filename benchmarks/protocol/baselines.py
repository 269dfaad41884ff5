"""Forecasts that need no network: last value, seasonal naive, linear autoregression."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from protocol.problems import Problem, fill_forward

__all__ = ["LinearAutoregression", "last_value", "linear_autoregression", "seasonal_naive"]


def last_value(problem: Problem) -> np.ndarray:
    """Repeat the last observed value. Returns (origins, horizon)."""
    filled = [fill_forward(values) for values in problem.series.values]
    last = np.array([filled[s][t - 1] for s, t in problem.origins])
    return np.repeat(last[:, None], problem.settings.horizon, axis=1)


def seasonal_naive(problem: Problem, season: int) -> np.ndarray:
    """Repeat the last full season. Returns (origins, horizon)."""
    filled = [fill_forward(values) for values in problem.series.values]
    steps = np.arange(problem.settings.horizon) % season - season
    return np.array([filled[s][t + steps] for s, t in problem.origins])


@dataclass(frozen=True)
class LinearAutoregression:
    """A ridge regression from the last `window` values to all steps at once, shared by all series.

    Values are taken relative to a level and a scale: those of the series in the fitting part, or those of the
    window itself (mean and deviation), whichever does better on the inner hold-out.
    """

    coefficients: np.ndarray
    per_window: bool
    penalty: float

    @property
    def parameters(self) -> int:
        """Number of fitted coefficients."""
        return int(self.coefficients.size)


def _scaled(windows: np.ndarray, targets: np.ndarray, per_window: bool) -> tuple[np.ndarray, np.ndarray]:
    if per_window:
        level, scale = windows.mean(1, keepdims=True), windows.std(1, keepdims=True)
        scale = np.where(scale > 0, scale, 1.0)
        windows, targets = (windows - level) / scale, (targets - level) / scale
    return np.concatenate([windows, np.ones((len(windows), 1))], axis=1), targets


def _examples(
    problem: Problem, begin: float, end: float, per_window: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Per series: inputs and targets of the windows whose targets lie in [begin, end) of the fitting part."""
    window, horizon = problem.settings.window, problem.settings.horizon
    for values, train_end in zip(problem.series.values, problem.train_ends, strict=True):
        train = values[:train_end]
        level, scale = np.nanmean(train), np.nanstd(train) or 1.0
        train = (train - level) / scale
        first = max(int(begin * train_end), window)
        count = int(end * train_end) - horizon - first + 1
        if count < 1:
            continue
        rows = first + np.arange(count)[:, None]
        windows = fill_forward(train)[rows + np.arange(-window, 0)]
        targets = train[rows + np.arange(horizon)]
        complete = ~np.isnan(targets).any(axis=1)
        yield _scaled(windows[complete], targets[complete], per_window)


def _solve(problem: Problem, end: float, per_window: bool, penalties: list[float]) -> list[np.ndarray]:
    size = problem.settings.window + 1
    gram, cross = np.zeros((size, size)), np.zeros((size, problem.settings.horizon))
    for inputs, targets in _examples(problem, 0.0, end, per_window):
        gram += inputs.T @ inputs
        cross += inputs.T @ targets
    mean_diagonal = np.trace(gram) / size
    return [np.linalg.solve(gram + penalty * mean_diagonal * np.eye(size), cross) for penalty in penalties]


def fit_linear_autoregression(problem: Problem) -> LinearAutoregression:
    """Choose scaling and penalty on the last fifth of the fitting part, then refit on all of it."""
    penalties = [1e-6, 1e-4, 1e-3, 1e-2, 1e-1]
    best = (np.inf, False, penalties[0])
    for per_window in (False, True):
        held_out = list(_examples(problem, 0.8, 1.0, per_window))
        for penalty, coefficients in zip(penalties, _solve(problem, 0.8, per_window, penalties), strict=True):
            errors = [np.abs(inputs @ coefficients - targets).mean() for inputs, targets in held_out]
            best = min(best, (float(np.mean(errors)), per_window, penalty))
    _, per_window, penalty = best
    return LinearAutoregression(_solve(problem, 1.0, per_window, [penalty])[0], per_window, penalty)


def linear_autoregression(problem: Problem) -> tuple[np.ndarray, LinearAutoregression, float]:
    """Fit and forecast. Returns forecasts (origins, horizon), the model, and the seconds the fit took."""
    begin = time.perf_counter()
    model = fit_linear_autoregression(problem)
    seconds = time.perf_counter() - begin
    window = problem.settings.window
    forecasts = np.empty((len(problem.origins), problem.settings.horizon))
    filled = [fill_forward(values) for values in problem.series.values]
    for row, (index, origin) in enumerate(problem.origins):
        train = problem.series.values[index][: problem.train_ends[index]]
        level, scale = np.nanmean(train), np.nanstd(train) or 1.0
        recent = (filled[index][origin - window : origin] - level) / scale
        inner_level, inner_scale = (recent.mean(), recent.std() or 1.0) if model.per_window else (0.0, 1.0)
        inputs = np.append((recent - inner_level) / inner_scale, 1.0)
        forecasts[row] = ((inputs @ model.coefficients) * inner_scale + inner_level) * scale + level
    return forecasts, model, seconds
