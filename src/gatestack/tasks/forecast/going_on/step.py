"""Going on by one step: the state moves, adaptive intervals learn, and what comes next is forecast."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.intervals.adaptive import AdaptiveShares
from gatestack.tasks.forecast.intervals.corrected import corrected
from gatestack.tasks.forecast.state import SeriesState

__all__ = ["forecast_and_learn", "go_on"]

FloatArray = npt.NDArray[np.float64]


def go_on(
    fitted: FittedForecast,
    state: SeriesState,
    values: npt.NDArray[np.float32],
    static: npt.NDArray[np.float32],
) -> SeriesState:
    """Move the state of some series on by one step.

    Args:
        fitted: what fitting found.
        state: of N series.
        values: (N, 1 + columns), the target, then past and future columns and calendar features; NaN where
            one is missing.
        static: (N, static columns).
    """
    covariates = values[:, 1:]
    return state.advance(
        fitted.network,
        torch.from_numpy(np.ascontiguousarray(values[:, 0])),
        torch.from_numpy(np.nan_to_num(covariates)),
        torch.from_numpy(~np.isnan(covariates)),
        torch.from_numpy(static),
    )


def forecast_and_learn(
    fitted: FittedForecast,
    keys: tuple[str, ...],
    state: SeriesState,
    shares: AdaptiveShares | None,
    truth: npt.NDArray[np.float32],
    ahead: npt.NDArray[np.float32],
    static: npt.NDArray[np.float32],
) -> tuple[FloatArray, AdaptiveShares | None]:
    """Forecast from the state, with corrected intervals.

    Args:
        fitted: what fitting found.
        keys: of N series.
        state: after the last step of each.
        shares: before that step came true; None where intervals do not adapt.
        truth: (N,) target at that step, NaN where missing.
        ahead: (N, horizon, future columns and calendar features).
        static: (N, static columns).

    Returns:
        Quantiles, (N, horizon, quantiles), and the shares after what came true and was given.
    """
    if shares is not None:
        shares = shares.after_truth(truth.astype(np.float64), fitted.levels)
    quantiles = fitted.quantiles_from(state, torch.from_numpy(ahead), torch.from_numpy(static))
    scale = state.moments[:, 1].numpy().astype(np.float64)
    given = corrected(fitted, keys, quantiles, scale, shares)
    return given, None if shares is None else shares.after_forecast(given)
