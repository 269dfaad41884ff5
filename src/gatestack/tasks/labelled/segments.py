"""What a recurrent stack reads of a long series: a few dozen segments, each told by how kernels respond."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gatestack.tasks.labelled.kernels import FixedKernels, segment_averaging
from gatestack.tasks.labelled.scaling import differences, length_batches

__all__ = ["SegmentReader"]

_MOST_DILATIONS = 6
_CASES_PER_FIT = 256  # training cases whose segments give mean and deviation
_INPUT_DROPOUT = 0.5


class SegmentReader(nn.Module):
    """Cuts each series into segments and gives one vector for each.

    A segment is told by the shares of `FixedKernels` in it, of the values and of their differences, and by
    the mean of each channel; all in units of the training part, then through a linear layer and tanh.

    Args:
        channels: of the input; flags of missing values, which the kernels do not read, are the last ones.
        flags: how many these are.
        steps: typical length of a series.
        segments: S, of a series that has as many steps.
        size: of the vector.
    """

    mean: Tensor
    unit: Tensor

    def __init__(self, channels: int, *, flags: int, steps: int, segments: int, size: int) -> None:
        super().__init__()
        self.read, self.segments = channels - flags, segments

        def kernels() -> FixedKernels:
            return FixedKernels(self.read, steps, most_dilations=_MOST_DILATIONS, thresholds=1)

        self.of_values, self.of_differences = kernels(), kernels()
        features = 2 * self.of_values.output_size + channels
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("unit", torch.ones(features))
        self.dropout = nn.Dropout(_INPUT_DROPOUT)
        self.project = nn.Linear(features, size)

    @torch.no_grad()
    def fit(self, x: Tensor, lengths: Tensor, seed: int) -> None:
        """Draw the kernels' thresholds, and take mean and deviation over the segments of some cases.

        Args:
            x: (n, T, channels), scaled, zero in the padding.
            lengths: (n,).
            seed: of what is drawn.
        """
        random = np.random.default_rng((seed, 3))
        values = x[..., : self.read]
        self.of_values.fit(values, lengths, random)
        self.of_differences.fit(differences(values, lengths), lengths, random)
        rows = torch.from_numpy(random.permutation(len(x))[:_CASES_PER_FIT])
        x, lengths = x[rows], lengths[rows]
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for part in length_batches(lengths.numpy()):
            some = torch.from_numpy(part)
            told, parts = self.tell(x[some, : int(lengths[some].max())], lengths[some])
            seen = told[torch.arange(told.shape[1]) < parts[:, None]].double()
            count, total, squares = count + len(seen), total + seen.sum(0), squares + seen.square().sum(0)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
        self.mean.copy_(mean)
        # what hardly varies says nothing, and in units of its deviation would be noise
        self.unit.copy_((1 / deviation).masked_fill(deviation < 1e-4, 0.0))

    def forward(self, told: Tensor) -> Tensor:
        """Put what `tell` gave, (N, S, F), into vectors (N, S, size)."""
        vectors: Tensor = self.project(self.dropout((told - self.mean) * self.unit)).tanh()
        return vectors

    def tell(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Give shares and means of each segment of x (N, T, channels).

        Nothing in it is trained.

        Returns:
            (N, S', F) with S' the most segments that a row has, and the number of each row, (N,).
        """
        values, parts = x[..., : self.read], lengths.clamp(max=self.segments)
        most = int(parts.max())
        told = torch.cat(
            [
                self.of_values(values, lengths, most),
                self.of_differences(differences(values, lengths), lengths, most),
                segment_averaging(x, lengths, most).transpose(1, 2) @ x,
            ],
            dim=-1,
        )
        return told, parts
