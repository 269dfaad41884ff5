"""Recursive forecasts: one step is forecast, a value is drawn from it, the series goes on with that value.

The paths of many draws give the quantiles, as in Salinas et al. 2020, "DeepAR: Probabilistic forecasting with
autoregressive recurrent networks". Each draw is the value of the step's distribution at a random level, so
that all series share the random numbers of a path.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatestack.tasks.forecast.network import ForecastNetwork
from gatestack.tasks.forecast.state import SeriesState

__all__ = ["PATHS", "levels_of_paths", "sample_paths", "sample_quantiles"]

PATHS = 200
"""Paths that a forecast draws for each series."""

# Series whose paths are held at once, and paths that are run side by side: bounds on memory.
_ROWS = 64
_AT_ONCE = 16 * PATHS


def sample_quantiles(
    network: ForecastNetwork, state: SeriesState, future: Tensor, static: Tensor, *, seed: int
) -> npt.NDArray[np.float64]:
    """Give the quantiles over the sampled paths.

    Args:
        network: with a horizon of 1.
        state: after the last step of each of N series.
        future: (N, horizon, known columns).
        static: (N, static columns).
        seed: of the draws.

    Returns:
        shape (N, horizon, quantiles).
    """
    levels = network.distribution.levels
    parts = []
    for first in range(0, len(future), _ROWS):
        rows = np.arange(first, min(first + _ROWS, len(future)))
        drawn = sample_paths(network, state.take(rows), future[rows], static[rows], paths=PATHS, seed=seed)
        parts.append(np.moveaxis(np.quantile(drawn, levels, axis=1), 0, -1))
    return np.concatenate(parts)


def sample_paths(
    network: ForecastNetwork, state: SeriesState, future: Tensor, static: Tensor, *, paths: int, seed: int
) -> npt.NDArray[np.float64]:
    """Draw paths that each series may take.

    Args:
        network: with a horizon of 1, without past columns.
        state: after the last step of each of N series.
        future: (N, horizon, known columns).
        static: (N, static columns).
        paths: number of paths per series.
        seed: of the draws.

    Returns:
        shape (N, paths, horizon), in the user's unit. All series share the random numbers of a path, so that
        a series has the same forecast alone and among others.
    """
    count, horizon = future.shape[:2]
    levels = levels_of_paths(seed, horizon, paths)
    drawn = np.empty((count * paths, horizon))
    for first in range(0, count * paths, _AT_ONCE):
        row, path = np.divmod(np.arange(first, min(first + _AT_ONCE, count * paths)), paths)
        going, constant = state.take(row), static[row]
        for step in range(horizon):
            known = future[row, step]
            said = going.forecast(network, known[:, None], constant)[:, 0]
            values = network.distribution.at(said.numpy().astype(np.float64), levels[step, path])
            drawn[first : first + len(row), step] = values
            going = going.advance(network, torch.from_numpy(values.astype(np.float32)), known, None, constant)
    return drawn.reshape(count, paths, horizon)


def levels_of_paths(seed: int, horizon: int, paths: int) -> npt.NDArray[np.float64]:
    """Draw the level of each step of each path, (horizon, paths), in (0, 1).

    Example:
        >>> levels_of_paths(seed=0, horizon=2, paths=3).shape
        (2, 3)
    """
    drawn = np.random.default_rng(seed).random((horizon, paths))
    return np.maximum(drawn, 2.0**-53)  # at level 0 most distributions are infinite
