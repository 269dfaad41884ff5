"""The rules by which the M4 competition scored its forecasts: sMAPE, MASE, and OWA against Naive2.

    sMAPE = 200 / h · Σ |y_t - f_t| / (|y_t| + |f_t|)
    MASE  = 1 / h · Σ |y_t - f_t|  /  ( 1 / (n - m) · Σ_{t>m} |x_t - x_{t-m}| )
    OWA   = ½ ( sMAPE / sMAPE of Naive2  +  MASE / MASE of Naive2 )

with x the n values of a series before the forecast, m the season, and sMAPE and MASE averaged over the series
first. Naive2 repeats the last value, seasonally adjusted where a test finds a season: Makridakis, Spiliotis
& Assimakopoulos 2020, "The M4 Competition: 100,000 time series and 61 forecasting methods".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Of a normal distribution: the bound of the test for a season at 90 %.
_BOUND = 1.645


@dataclass(frozen=True)
class M4Scores:
    """sMAPE in per cent, MASE, and OWA once Naive2 is known."""

    smape: float
    mase: float
    owa: float


def naive2(history: Array, horizon: int, season: int) -> Array:
    """Repeat the last value, times the seasonal index of each step ahead where the series has a season."""
    if not has_season(history, season):
        return np.full(horizon, history[-1])
    index = seasonal_indices(history, season)
    place = len(history) - 1
    ahead = index[(place + np.arange(1, horizon + 1)) % season]
    forecast: Array = history[-1] / index[place % season] * ahead
    return forecast


def seasonal_naive(history: Array, horizon: int, season: int) -> Array:
    """Repeat the last season."""
    return np.resize(history[-season:], horizon)


def has_season(history: Array, season: int) -> bool:
    """Test at 90 % whether the autocorrelation at the season is more than those before it explain."""
    if len(history) < 3 * season:
        return False
    centred = history - history.mean()
    power = float(centred @ centred)
    correlation = np.array([centred[lag:] @ centred[:-lag] / power for lag in range(1, season + 1)])
    bound = _BOUND * np.sqrt((1 + 2 * np.sum(correlation[:-1] ** 2)) / len(history))
    return bool(abs(correlation[-1]) > bound)


def seasonal_indices(history: Array, season: int) -> Array:
    """Divide by a centred moving average; the mean at each phase, scaled to a mean of 1, is its index."""
    ends = [0.5, 0.5] if season % 2 == 0 else []
    weights = np.array([*ends[:1], *np.ones(season - len(ends[:1])), *ends[1:]]) / season
    trend = np.convolve(history, weights, "valid")
    first = (len(weights) - 1) // 2
    ratio = np.full(len(history), np.nan)
    ratio[first : first + len(trend)] = history[first : first + len(trend)] / trend
    means = np.array([np.nanmean(ratio[phase::season]) for phase in range(season)])
    index: Array = means / means.mean()
    return index


def smape(truth: Array, forecast: Array) -> float:
    """Symmetric mean absolute percentage error of one series, 0 to 200."""
    return float(200 * np.mean(np.abs(truth - forecast) / (np.abs(truth) + np.abs(forecast))))


def mase(history: Array, truth: Array, forecast: Array, season: int) -> float:
    """Mean absolute error of one series, divided by that of the seasonal naive forecast in its history."""
    scale = np.mean(np.abs(history[season:] - history[:-season]))
    return float(np.mean(np.abs(truth - forecast)) / scale)


def score(
    histories: Mapping[str, Array], truths: Mapping[str, Array], forecasts: Mapping[str, Array], season: int
) -> M4Scores:
    """Score the forecasts of all series by the rules of the competition."""

    def means(found: Mapping[str, Array]) -> tuple[float, float]:
        percent = [smape(truth, found[key]) for key, truth in truths.items()]
        scaled = [mase(histories[key], truth, found[key], season) for key, truth in truths.items()]
        return float(np.mean(percent)), float(np.mean(scaled))

    known = {key: naive2(histories[key], len(truth), season) for key, truth in truths.items()}
    (own_smape, own_mase), (base_smape, base_mase) = means(forecasts), means(known)
    return M4Scores(own_smape, own_mase, (own_smape / base_smape + own_mase / base_mase) / 2)
