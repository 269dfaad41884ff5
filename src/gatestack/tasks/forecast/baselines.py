"""The naive answers that every forecast stands beside, on the same origins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gatestack.tasks.forecast.autoregression import Autoregression
from gatestack.tasks.forecast.head import phase_shifts
from gatestack.tasks.forecast.panel import Panel

__all__ = ["BASELINES", "baseline_forecasts"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BASELINES: dict[str, str] = {
    "last_value": "the last value, repeated",
    "seasonal_naive": "the value one season earlier",
    "drift": "the last value and the mean slope so far",
    "linear": "a linear autoregression (ridge) of the last window",
}
"""Name and meaning of each baseline; `seasonal_naive` is left out where there is no season."""


def baseline_forecasts(
    panel: Panel,
    rows: IntArray,
    positions: IntArray,
    *,
    horizon: int,
    season: int | None,
    autoregression: Autoregression,
) -> dict[str, FloatArray]:
    """Forecast from step `positions` of the series `rows` with every baseline.

    Args:
        panel: the series; nothing after a position is read for its forecast.
        rows: (R,) series.
        positions: (R,) step of each origin.
        horizon: steps ahead.
        season: length in steps, or None.
        autoregression: fitted on the training part.

    Returns:
        For each name of `BASELINES` an array (R, horizon) in the user's unit.
    """
    values = panel.target.numpy()
    begin = panel.offsets[rows]
    now = begin + positions
    last = values[now].astype(np.float64)[:, None]
    ahead = np.arange(1, horizon + 1)
    forecasts = {"last_value": np.repeat(last, horizon, axis=1)}
    if season is not None:
        at = now[:, None] - phase_shifts(horizon, season).numpy()
        forecasts["seasonal_naive"] = values[np.maximum(at, begin[:, None])].astype(np.float64)
    slope = (last - values[begin][:, None]) / np.maximum(positions, 1)[:, None]
    forecasts["drift"] = last + slope * ahead
    forecasts["linear"] = autoregression.forecast(panel, rows, positions)
    return forecasts
