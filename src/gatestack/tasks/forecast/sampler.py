"""Training batches: chunks of the series drawn at random, as a function of the step number alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatestack.tasks.forecast.distributions import Distribution
from gatestack.tasks.forecast.embeddings import drop_categories
from gatestack.tasks.forecast.network import NetworkShape
from gatestack.tasks.forecast.panel import Chunk, Panel

__all__ = ["ChunkSampler", "TrainingBatch", "batch_loss", "typical_weights"]

IntArray = npt.NDArray[np.int64]

# No series weighs more than this in the loss, however quiet its training part was.
_LARGEST_WEIGHT = 10.0
# Steps looked at together: bounds the memory.
_BLOCK = 65_536


class TrainingBatch(NamedTuple):
    """A chunk, the origins in it that are scored, and the truth.

    Shapes: `rows`, `positions` (R,); `truth` (R, horizon) in the user's unit; `weight` (R, horizon), 0 where
    there is no truth, else 1 over the typical deviation of the series.
    """

    chunk: Chunk
    rows: Tensor
    positions: Tensor
    truth: Tensor
    weight: Tensor


class ChunkSampler:
    """Draws the batch of each step from (seed, step), so that an interrupted run needs no sampler state.

    A chunk is `window` steps of one series, started from a zero state. In a chunk, `origins_per_chunk` steps
    drawn from all of them are scored (with `"windows"` only the last): neighbouring origins share nearly all
    of their truth, so that scoring every one of them costs more and teaches little more.

    Args:
        panel: the series.
        ends: (series,) number of steps of each series that may be used, targets included.
        shape: sizes of the network.
        weights: (series,), of the errors of each series; see `typical_weights`.
        batch_size: chunks per step.
        last_only: score only the last step of each chunk.
        seed: of all draws.
    """

    origins_per_chunk = 16

    def __init__(
        self,
        panel: Panel,
        ends: IntArray,
        shape: NetworkShape,
        *,
        weights: Tensor,
        batch_size: int,
        last_only: bool,
        seed: int,
    ) -> None:
        self._panel, self._shape = panel, shape
        self._ends = ends
        self._batch_size, self._last_only, self._seed = batch_size, last_only, seed
        # Series shorter than a chunk and its horizon have one start; what lies past their end is not scored.
        self._starts = np.where(ends >= 2, np.maximum(ends - shape.window - shape.horizon + 1, 1), 0)
        self._up_to = np.cumsum(self._starts)
        self._weights = weights

    def __call__(self, step: int) -> TrainingBatch:
        """Give the batch of one step."""
        random = np.random.default_rng((self._seed, step))
        drawn = random.integers(0, self._up_to[-1], self._batch_size)
        rows = np.searchsorted(self._up_to, drawn, side="right")
        begin = drawn - (self._up_to[rows] - self._starts[rows])
        batch = self.batch(rows, begin, self._positions(random))
        shape = self._shape
        chunk = drop_categories(batch.chunk, shape.categories, shape.static_categories, random)
        return batch._replace(chunk=chunk)

    def batch(self, rows: IntArray, begin: IntArray, positions: IntArray) -> TrainingBatch:
        """Give the batch of some chunks.

        Args:
            rows: (N,) series.
            begin: (N,) first step of each chunk.
            positions: (N, K) steps of each chunk that are scored.
        """
        window, horizon = self._shape.window, self._shape.horizon
        chunk = self._panel.chunk(rows, begin, window, window=window, horizon=horizon)
        ahead = (begin[:, None] + positions)[..., None] + np.arange(1, horizon + 1)  # (N, K, horizon)
        inside = ahead < self._ends[rows][:, None, None]
        # Before the first real value there is nothing to forecast from.
        inside &= (begin[:, None] + positions >= self._panel.first_observed[rows][:, None])[..., None]
        index = torch.from_numpy(self._panel.offsets[rows][:, None, None] + np.where(inside, ahead, 0))
        real = self._panel.observed[index] & torch.from_numpy(inside)
        weight = real * self._weights[torch.from_numpy(rows)][:, None, None]
        return TrainingBatch(
            chunk=chunk,
            rows=torch.arange(len(rows)).repeat_interleave(positions.shape[1]),
            positions=torch.from_numpy(positions).reshape(-1),
            truth=self._panel.target[index].reshape(-1, horizon),
            weight=weight.reshape(-1, horizon),
        )

    def _positions(self, random: np.random.Generator) -> IntArray:
        window = self._shape.window
        if self._last_only:
            return np.full((self._batch_size, 1), window - 1)
        # One draw from each of equal parts of the chunk covers it evenly.
        count = min(self.origins_per_chunk, window)
        edges = np.linspace(0, window, count + 1).astype(np.int64)
        return random.integers(edges[:-1], edges[1:], (self._batch_size, count))


def typical_weights(panel: Panel, ends: IntArray) -> Tensor:
    """Give 1 over the mean absolute deviation of each series' training part, (series,)."""
    weights = np.ones(len(ends), dtype=np.float32)
    for row, (begin, end) in enumerate(zip(panel.offsets[:-1], ends, strict=True)):
        part = panel.target[begin : begin + end].numpy()
        mean = part.mean(dtype=np.float64)
        blocks = [part[first : first + _BLOCK] for first in range(0, len(part), _BLOCK)]
        deviation = sum(float(np.abs(block - mean).sum()) for block in blocks) / max(len(part), 1)
        # What rounding leaves of a constant series is no deviation.
        weights[row] = 1.0 / deviation if deviation > 1e-9 * abs(mean) else 1.0
    # Relative to a typical series, so that the loss stays near 1 whatever the unit.
    return torch.from_numpy(np.minimum(weights, _LARGEST_WEIGHT * np.median(weights)))


def batch_loss(distribution: Distribution, parameters: Tensor, batch: TrainingBatch) -> Tensor:
    """Score what is said of a batch: the mean loss over steps ahead and origins whose truth is known.

    Args:
        distribution: whose loss it is.
        parameters: (R, horizon, parameters), in the user's unit.
        batch: with truth and weights.

    Returns:
        A scalar.
    """
    known = batch.weight > 0
    loss = distribution.loss(parameters, batch.truth, torch.where(known, batch.weight, 1.0))
    return torch.where(known, loss, 0.0).sum() / known.sum().clamp(min=1)
