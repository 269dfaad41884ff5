"""Recursive forecasts: one step is forecast, a value is drawn from it, the series goes on with that value.

The paths of many draws give the quantiles, as in Salinas et al. 2020, "DeepAR: Probabilistic forecasting with
autoregressive recurrent networks".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatestack.tasks.forecast.network import ForecastNetwork
from gatestack.tasks.forecast.state import SeriesState

__all__ = ["PATHS", "places_of_draws", "sample_paths", "sample_quantiles"]

PATHS = 200
"""Paths that are drawn for each series."""

# Series whose paths are run side by side: bounds the memory.
_ROWS = 16


def sample_quantiles(
    network: ForecastNetwork,
    state: SeriesState,
    future: Tensor,
    static: Tensor,
    levels: tuple[float, ...],
    *,
    seed: int,
) -> npt.NDArray[np.float64]:
    """Give the quantiles over the sampled paths.

    Args:
        network: with a horizon of 1.
        state: after the last step of each of N series.
        future: (N, horizon, known columns).
        static: (N, static columns).
        levels: of the quantiles.
        seed: of the draws.

    Returns:
        shape (N, horizon, quantiles).
    """
    parts = []
    for first in range(0, len(future), _ROWS):
        rows = np.arange(first, min(first + _ROWS, len(future)))
        paths = sample_paths(
            network, state.take(rows), future[rows], static[rows], levels, paths=PATHS, seed=seed
        )
        parts.append(np.moveaxis(np.quantile(paths, levels, axis=1), 0, -1))
    return np.concatenate(parts)


def sample_paths(
    network: ForecastNetwork,
    state: SeriesState,
    future: Tensor,
    static: Tensor,
    levels: tuple[float, ...],
    *,
    paths: int,
    seed: int,
) -> npt.NDArray[np.float64]:
    """Draw paths that each series may take.

    Args:
        network: with a horizon of 1, without past columns.
        state: after the last step of each of N series.
        future: (N, horizon, known columns).
        static: (N, static columns).
        levels: of the network's quantiles.
        paths: number of paths per series.
        seed: of the draws.

    Returns:
        shape (N, paths, horizon), in the user's unit. All series share the random numbers of a path, so that
        a series has the same forecast alone and among others.
    """
    count, horizon = future.shape[:2]
    rows = np.repeat(np.arange(count), paths)
    random = np.random.default_rng(seed)
    going = state.take(rows)
    constant = static[rows]
    drawn = np.empty((len(rows), horizon))
    for step in range(horizon):
        known = future[rows, step]
        quantiles = going.forecast(network, known[:, None], constant)[:, 0].numpy()
        drawn[:, step] = _draw(quantiles, levels, np.tile(random.random(paths), count))
        value = torch.from_numpy(drawn[:, step].astype(np.float32))
        going = going.advance(network, value, known, None, constant)
    return drawn.reshape(count, paths, horizon)


def places_of_draws(
    levels: tuple[float, ...], uniform: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Find where draws lie on the piecewise linear quantile function.

    Args:
        levels: of the quantiles, three or more.
        uniform: the draws, of any shape, in [0, 1).

    Returns:
        Which quantile is the lower end of the piece, and the share of the way to the next one: below 0 or
        above 1 on the outer pieces, which go on beyond their ends.

    Example:
        >>> places_of_draws((0.1, 0.5, 0.9), np.array([0.2, 1.0]))
        (array([0, 1]), array([0.25, 1.25]))
    """
    edges = np.array(levels)
    piece = np.clip(np.searchsorted(edges, uniform) - 1, 0, len(edges) - 2)
    return piece, (uniform - edges[piece]) / (edges[piece + 1] - edges[piece])


def _draw(
    quantiles: npt.NDArray[np.floating], levels: tuple[float, ...], uniform: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Read values off the piecewise linear quantile function."""
    piece, share = places_of_draws(levels, uniform)
    rows = np.arange(len(uniform))
    low, high = quantiles[rows, piece].astype(np.float64), quantiles[rows, piece + 1].astype(np.float64)
    values: npt.NDArray[np.float64] = low + share * (high - low)
    return values
