"""Running a fitted network over whole series: forecasts from any step, and the state after the last.

The state is carried from the first step of a series to its last, so that a forecast made here is the one a
stream makes that was fed the same steps one by one. In the mode `"windows"` each forecast reads the last
`window` steps from a zero state instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatestack.tasks.forecast.network import ForecastNetwork
from gatestack.tasks.forecast.panel import Chunk, Panel
from gatestack.tasks.forecast.state import SeriesState

__all__ = ["final_state", "forecast_at"]

IntArray = npt.NDArray[np.int64]

# Series run side by side, steps run at once, forecasts made at once: bounds on memory.
_ROWS = 64
_STEPS = 1024
_FORECASTS = 512


@torch.no_grad()
def forecast_at(
    network: ForecastNetwork, panel: Panel, rows: IntArray, positions: IntArray, *, windows: bool = False
) -> npt.NDArray[np.float64]:
    """Forecast from step `positions` of the series `rows`.

    Args:
        network: in eval mode.
        panel: the series; covariates known of the future must reach `horizon` steps past each position.
        rows: (R,) series.
        positions: (R,) step of each origin.
        windows: run each forecast's own window from a zero state.

    Returns:
        Quantiles (R, horizon, quantiles) in the user's unit.
    """
    shape = network.shape
    distribution = network.distribution
    result = np.empty((len(rows), shape.horizon, len(distribution.levels)))
    if windows:
        for first in range(0, len(rows), _FORECASTS):
            part = slice(first, first + _FORECASTS)
            begin = np.maximum(positions[part] - shape.window + 1, 0)
            chunk = panel.chunk(rows[part], begin, shape.window, window=shape.window, horizon=shape.horizon)
            hidden, _ = network.states(chunk)
            at = torch.from_numpy(positions[part] - begin)
            said = network.forecast(chunk, hidden, torch.arange(len(at)), at)
            result[part] = distribution.quantiles(said)
        return result
    for group in _groups(panel, np.unique(rows)):
        here = np.flatnonzero(np.isin(rows, group))
        row_in_group = np.argsort(group)[np.searchsorted(np.sort(group), rows[here])]
        run = _Run(network, panel, group, steps=int(positions[here].max()) + 1)
        for block in run:
            inside = np.flatnonzero(
                (positions[here] >= block.begin) & (positions[here] < block.begin + _STEPS)
            )
            for first in range(0, len(inside), _FORECASTS):
                some = inside[first : first + _FORECASTS]
                at = torch.from_numpy(positions[here[some]] - block.begin)
                row = torch.from_numpy(row_in_group[some])
                said = network.forecast(block.chunk, block.hidden, row, at)
                result[here[some]] = distribution.quantiles(said)
    return result


@torch.no_grad()
def final_state(network: ForecastNetwork, panel: Panel, *, windows: bool = False) -> SeriesState:
    """Run every series to its end.

    Args:
        network: in eval mode.
        panel: the series.
        windows: run only the last `window` steps of each, from a zero state.

    Returns:
        The state of all series, in the panel's order.
    """
    parts: list[SeriesState] = []
    order: list[IntArray] = []
    for group in _groups(panel, np.arange(len(panel.keys))):
        skipped = panel.lengths[group] - network.shape.window if windows else np.zeros_like(group)
        run = _Run(network, panel, group, skipped=np.maximum(skipped, 0))
        for _ in run:
            pass
        parts.append(run.state())
        order.append(group)
    return SeriesState.join(parts).take(np.argsort(np.concatenate(order)))


class _Block(NamedTuple):
    """Steps `begin` … of some series: hidden holds the states of `reach` more steps before them."""

    begin: int
    chunk: Chunk
    hidden: Tensor


class _Run:
    """Runs the series of one group side by side, block by block, carrying the state.

    Args:
        network, panel: what runs, over what.
        group: (N,) series.
        steps: run so many steps of each at most; None runs all.
        skipped: (N,) steps left out at the start of each.
    """

    def __init__(
        self,
        network: ForecastNetwork,
        panel: Panel,
        group: IntArray,
        *,
        steps: int | None = None,
        skipped: IntArray | None = None,
    ) -> None:
        self._network, self._panel, self._group = network, panel, group
        self._skipped = np.zeros_like(group) if skipped is None else skipped
        remaining = panel.lengths[group] - self._skipped
        self._lengths = remaining if steps is None else np.minimum(remaining, steps)
        shape = network.shape
        self._layers = network.first_state(len(group))
        # The state before the first step is zero, also where the head looks back past it.
        self._tail = torch.zeros(len(group), network.head.reach + 1, shape.widths[-1])

    def __iter__(self) -> Iterator[_Block]:
        shape, reach = self._network.shape, self._network.head.reach
        for begin in range(0, int(self._lengths.max()), _STEPS):
            left = np.clip(self._lengths - begin, 0, _STEPS)
            steps = int(left.max())
            chunk = self._panel.chunk(
                self._group, self._skipped + begin, steps, window=shape.window, horizon=shape.horizon
            )
            lengths = torch.from_numpy(left) if (left < steps).any() else None
            hidden, self._layers = self._network.states(chunk, self._layers, lengths)
            joined = torch.cat([self._tail, hidden], dim=1)
            last = torch.from_numpy(left)[:, None] + torch.arange(reach + 1)
            self._tail = joined[torch.arange(len(left))[:, None], last]
            yield _Block(begin, chunk, joined[:, 1:])

    def state(self) -> SeriesState:
        """Give the state after the last step; every series must have run to its end."""
        panel, window = self._panel, self._network.shape.window
        first, last = panel.offsets[self._group], panel.offsets[self._group + 1] - 1
        back = torch.from_numpy(np.maximum(last[:, None] - np.arange(window)[::-1], first[:, None]))
        at = torch.from_numpy(last)
        return SeriesState(
            target=panel.target[back],
            moments=panel.moments[at],
            hidden=self._tail,
            layers=self._layers,
            scaling=panel.scaling.take(self._group),
            begun=torch.tensor(
                [bool(panel.observed[a : b + 1].any()) for a, b in zip(first, last, strict=True)]
            ),
        )


def _groups(panel: Panel, rows: IntArray) -> list[IntArray]:
    """Sort series by length and cut them into groups that run side by side."""
    by_length = rows[np.argsort(panel.lengths[rows], kind="stable")]
    return [by_length[first : first + _ROWS] for first in range(0, len(by_length), _ROWS)]
