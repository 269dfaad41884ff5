"""The forecast without recurrence that a network must beat: one hidden layer over the last window."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gatestack.data.series_table import SeriesTable
from gatestack.tasks.folding import fit_perceptron
from gatestack.tasks.forecast.autoregression import lags_at
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.panel import Panel
from gatestack.tasks.forecast.scaling import MOMENTS
from gatestack.tasks.forecast.split import origins_between

__all__ = ["WindowPerceptron"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_MOST_ORIGINS = 5000
_LONG_SCALE = MOMENTS.index("long_scale")


class WindowPerceptron:
    """Reads the last window, what is known now and of the steps ahead; gives changes of the last value.

    Both in units of the long-run scale of the series so far.

    Args:
        fitted: brings the scaling, and the window of its linear baseline.
        training: the series to learn from.
        horizon: steps ahead.
        units: of the hidden layer.
        seed: of initial weights and batches.
    """

    def __init__(
        self, fitted: FittedForecast, training: SeriesTable, *, horizon: int, units: int, seed: int
    ) -> None:
        self.window, self.horizon = len(fitted.autoregression.weight) - 1, horizon
        self.past = len(training.columns.past)
        panel = fitted.panel(training)
        lengths = panel.lengths
        first = np.minimum(panel.first_observed + self.window, lengths)
        rows, positions = origins_between(first, lengths, horizon=horizon, step=1, most=_MOST_ORIGINS)
        inputs, last, scale = self._inputs(panel, rows, positions)
        ahead = panel.offsets[rows][:, None] + positions[:, None] + np.arange(1, horizon + 1)
        target = training.target_at(ahead)
        known = np.isfinite(target).any(axis=1)
        # A step that is missing is read as the last value before it, as the network reads it.
        target = np.where(np.isfinite(target), target, panel.target.numpy()[ahead])
        truth = (target - last[:, None]) / scale[:, None]
        self.model = fit_perceptron(inputs[known], truth[known], units=units, classes=False, seed=seed)

    def forecast(self, panel: Panel, rows: IntArray, positions: IntArray) -> FloatArray:
        """Forecast (origins, horizon) from steps of a panel, in the user's unit."""
        inputs, last, scale = self._inputs(panel, rows, positions)
        found = self.model.predict(inputs).reshape(len(rows), self.horizon)
        forecast: FloatArray = last[:, None] + scale[:, None] * found
        return forecast

    def _inputs(
        self, panel: Panel, rows: IntArray, positions: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        lags, level, scale = lags_at(panel, rows, positions, self.window)
        values = level[:, None] + scale[:, None] * lags
        at = panel.offsets[rows] + positions
        last, long_scale = values[:, 0], panel.moments.numpy()[at, _LONG_SCALE].astype(np.float64)
        ahead = at[:, None] + np.arange(self.horizon + 1)
        covariates = panel.covariates.numpy().astype(np.float64)
        if panel.covariates_observed is not None:
            covariates = np.where(panel.covariates_observed.numpy(), covariates, 0.0)
        known = np.concatenate([covariates, panel.calendar.numpy()], axis=1)
        # Past columns are not known ahead; their values there are left out.
        future = known[ahead[:, 1:]][..., self.past :]
        static = panel.static.numpy()[rows]
        window = (values - last[:, None]) / long_scale[:, None]
        level_now = (last - values[:, -1]) / long_scale
        parts = [window[:, 1:-1], level_now[:, None], known[at], future.reshape(len(rows), -1), static]
        return np.concatenate(parts, axis=1), last, long_scale
