"""Batches of training cases: a function of the step number, so that a run can be resumed anywhere."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatestack.data.sequences import Sequences
from gatestack.tasks.labelled.options import Augmentation

__all__ = ["CaseSampler", "TrainingCases", "gaps_marked"]


class TrainingCases(NamedTuple):
    """Some cases with what is to be predicted of them.

    Attributes:
        x: (N, T, C) float32, NaN where a value is missing, zero in the padding.
        lengths: (N,) int64.
        targets: (N,) int64 classes, or (N, K) float32 standardised targets.
        start: (N, K) float32, what the linear part says of each case without having seen it.
    """

    x: Tensor
    lengths: Tensor
    targets: Tensor
    start: Tensor


def gaps_marked(sequences: Sequences) -> tuple[Tensor, Tensor]:
    """Give x (N, T, C) float32, NaN at missing values, zero in the padding, and lengths (N,)."""
    if sequences.observed is not None:
        values = np.where(sequences.observed, sequences.values, np.nan).astype(np.float32)
    else:
        values = sequences.values.astype(np.float32)
    lengths = sequences.lengths
    real = np.arange(int(lengths.max(initial=0))) < lengths[:, None]
    x = np.zeros((*real.shape, sequences.num_features), np.float32)
    x[real] = values
    return torch.from_numpy(x), torch.from_numpy(lengths.astype(np.int64))


class CaseSampler:
    """Draws the cases of a step: all cases in a new order, again and again, cut into batches.

    Args:
        cases: all of them; `x` and `lengths` as `gaps_marked` gives them.
        batch_size: at most this many; n where there are fewer.
        augmentation: changes each case when it is drawn.
        deviation: (C,) of each feature in the training part, the unit of the jitter.
        seed: of the order and of the changes.
    """

    def __init__(
        self,
        cases: TrainingCases,
        *,
        batch_size: int,
        augmentation: Augmentation,
        deviation: Tensor,
        seed: int,
    ) -> None:
        self.cases, self.batch_size = cases, min(batch_size, len(cases.x))
        self.augmentation, self.deviation, self.seed = augmentation, deviation, seed

    def __call__(self, step: int) -> TrainingCases:
        """Give the batch of a step, from 0."""
        rows = torch.from_numpy(self.rows(step))
        x, lengths, targets, start = (part[rows] for part in self.cases)
        if self.augmentation.on:
            x, lengths = self._changed(x, lengths, np.random.default_rng((self.seed, step, 1)))
        return TrainingCases(x[:, : int(lengths.max())], lengths, targets, start)

    def rows(self, step: int) -> npt.NDArray[np.int64]:
        """Give the numbers of the cases of a step."""
        cases = len(self.cases.x)
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        passes = places // cases
        orders = {int(p): self._order(int(p)) for p in np.unique(passes)}
        return np.array([orders[int(p)][k] for p, k in zip(passes, places % cases, strict=True)])

    def _order(self, number: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng((self.seed, number, 0)).permutation(len(self.cases.x))

    def _changed(self, x: Tensor, lengths: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        if self.augmentation.crop:
            longest = lengths.numpy()
            cut = np.floor(longest * self.augmentation.crop * random.random(len(longest))).astype(np.int64)
            start = random.integers(0, cut + 1)
            lengths = torch.from_numpy(longest - cut)
            places = torch.from_numpy(start)[:, None] + torch.arange(x.shape[1])
            x = x.gather(1, places.clamp(max=x.shape[1] - 1)[..., None].expand_as(x))
        if self.augmentation.jitter:
            noise = torch.from_numpy(random.standard_normal(x.shape, dtype=np.float32))
            x = x + self.augmentation.jitter * self.deviation * noise
        return x, lengths
