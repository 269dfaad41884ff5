"""A table of series as the forecaster computes with it: flat tensors over all steps, and chunks of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatestack.data.calendar_encoding import calendar_features
from gatestack.data.series_table import SeriesTable
from gatestack.tasks.forecast.scaling import LEVELS, MOMENTS, ScaleOverTime

__all__ = ["Chunk", "Panel", "last_observed", "static_columns"]

IntArray = npt.NDArray[np.int64]

# Steps over which the scaling of one series is computed at once: bounds the memory of its running sums.
_SCALING_BLOCK = 16_384


class Chunk(NamedTuple):
    """A piece of N series, T steps long, with what the network may read around it.

    Shapes: `target` (N, window - 1 + T), gaps filled, in the user's unit; `observed` (N, T); `moments`
    (N, T, 4); `covariates` and `covariates_observed` (N, T + horizon, columns), past columns first, then
    those known of the future; `static` (N, static columns).
    """

    target: Tensor
    observed: Tensor
    moments: Tensor
    covariates: Tensor
    covariates_observed: Tensor | None
    static: Tensor


@dataclass(frozen=True)
class Panel:
    """All steps of all series, one after the other, as the network needs them.

    Attributes:
        target: (total,) float32, each gap filled by the last observed value (leading gaps by the first).
        observed: (total,) bool, True where the target is real.
        moments: (total, 4) float32, see `scaling.py`.
        first_observed: (series,) the first step with a real target; no forecast is made before it.
        covariates: (total, past + future columns) float32, in the user's unit; 0 where not observed.
        covariates_observed: (total, columns) bool, or None when every value is real.
        calendar: (total, calendar features) float32.
        static: (series, static columns) float32.
        offsets: (series + 1,) where each series begins.
        keys: the name of each series.
        scaling: the running scale of every series after its last step.
    """

    target: Tensor
    observed: Tensor
    moments: Tensor
    first_observed: IntArray
    covariates: Tensor
    covariates_observed: Tensor | None
    calendar: Tensor
    static: Tensor
    offsets: IntArray
    keys: tuple[str, ...]
    scaling: ScaleOverTime

    @classmethod
    def from_table(cls, table: SeriesTable, scaling: ScaleOverTime, calendar: tuple[str, ...] = ()) -> Panel:
        """Prepare a table.

        Args:
            table: the series, on a regular grid of steps.
            scaling: a fresh running scale, one row per series.
            calendar: names of calendar features, see `gatestack.data.calendar_features`.
        """
        sequences = table.sequences
        values, offsets = sequences.values, sequences.offsets
        total = len(values)
        observed = np.ones(total, dtype=bool) if sequences.observed is None else sequences.observed[:, 0]
        moments = np.empty((total, len(MOMENTS)), dtype=np.float32)
        # Without gaps the table's own numbers serve, uncopied.
        whole = bool(observed.all()) and values.dtype == np.float32
        filled = values[:, 0] if whole else np.empty(total, dtype=np.float32)
        first_observed = np.diff(offsets)
        ended = []
        for row, (begin, end) in enumerate(itertools.pairwise(offsets)):
            running = scaling.take(np.array([row]))
            if not whole:
                filled[begin:end] = last_observed(values[begin:end, 0], observed[begin:end])
            for first in range(begin, end, _SCALING_BLOCK):
                part = slice(first, min(first + _SCALING_BLOCK, end))
                moments[part] = running.advance(values[None, part, 0], observed[None, part])[0]
            # Before the first real value the network reads zeros, whatever fills the gap.
            if observed[begin:end].any():
                first_observed[row] = np.argmax(observed[begin:end])
            leading = slice(begin, begin + first_observed[row])
            moments[leading, LEVELS] = filled[leading, None]
            ended.append(running)
        seen = None if sequences.observed is None or sequences.observed.all() else sequences.observed[:, 1:]
        return cls(
            target=torch.from_numpy(filled),
            observed=torch.from_numpy(np.ascontiguousarray(observed)),
            moments=torch.from_numpy(moments),
            first_observed=first_observed,
            covariates=torch.from_numpy(values)[:, 1:],
            covariates_observed=None if seen is None else torch.from_numpy(seen),
            calendar=torch.from_numpy(_calendar(table, calendar)),
            static=torch.from_numpy(static_columns(table)),
            offsets=offsets,
            keys=sequences.keys or tuple(str(row) for row in range(len(sequences))),
            scaling=scaling.join(ended),
        )

    @property
    def lengths(self) -> IntArray:
        """Number of steps of each series, shape (series,)."""
        return np.diff(self.offsets)

    def chunk(self, rows: IntArray, begin: IntArray, steps: int, *, window: int, horizon: int) -> Chunk:
        """Cut a piece of `steps` steps out of the series `rows`, from step `begin` of each.

        Steps before the start of a series repeat its first step, steps after its end its last: callers read
        only outputs at real steps.
        """
        first, last = self.offsets[rows][:, None], self.offsets[rows + 1][:, None] - 1
        around = first + begin[:, None] + np.arange(1 - window, steps + horizon)
        index = torch.from_numpy(np.clip(around, first, last))  # (N, window - 1 + T + horizon)
        inside, ahead = index[:, window - 1 : window - 1 + steps], index[:, window - 1 :]
        covariates = torch.cat([self.covariates[ahead], self.calendar[ahead]], dim=2)
        return Chunk(
            target=self.target[index[:, : window - 1 + steps]],
            observed=self.observed[inside].float(),
            moments=self.moments[inside],
            covariates=covariates,
            covariates_observed=None if self.covariates_observed is None else self.covariates_observed[ahead],
            static=self.static[torch.from_numpy(rows)],
        )


def last_observed(
    values: npt.NDArray[np.floating], observed: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Fill each gap with the last observed value, a leading gap with the first.

    Args:
        values: shape (time,).
        observed: shape (time,), True where a value is real.

    Returns:
        shape (time,), float32; all 0 when nothing is observed.

    Example:
        >>> last_observed(np.array([0.0, 2.0, 0.0]), np.array([False, True, False]))
        array([2., 2., 2.], dtype=float32)
    """
    if observed.all():
        return values.astype(np.float32)
    if not observed.any():
        return np.zeros(len(values), dtype=np.float32)
    source = np.maximum.accumulate(np.where(observed, np.arange(len(values)), 0))
    first = int(np.argmax(observed))
    return values[np.maximum(source, first)].astype(np.float32)


def _calendar(table: SeriesTable, names: tuple[str, ...]) -> npt.NDArray[np.float32]:
    if not names:
        return np.zeros((len(table.sequences.values), 0), dtype=np.float32)
    return calendar_features(table.wall_times, names)[0]


def static_columns(table: SeriesTable) -> npt.NDArray[np.float32]:
    """Give the static columns of a table, (series, static columns), also where there are none."""
    static = table.sequences.static
    if static is None:
        return np.zeros((len(table.sequences), 0), dtype=np.float32)
    return static.astype(np.float32)
