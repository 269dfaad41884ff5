"""A `PackedSequence` as a padded batch with lengths, which is what the kernels take, and back.

torch packs the real steps of all rows, the longest row first, moment by moment:

    rows      a b c      packed   a d f b e c      batch_sizes  3 2 1
              d e
              f

Here each packed step is copied once into its place of (N, T, ·), and each step of the output once back.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["PackedBatch"]


class PackedBatch(NamedTuple):
    """Where the steps of a packed batch stand in the padded one.

    Args:
        rows: N.
        steps: T.
        lengths: (N,) int64 on the CPU, longest first; None where all are T.
        places: (sum of lengths,) int64, n·T + t of each packed step; None where all lengths are T.
    """

    rows: int
    steps: int
    lengths: Tensor | None
    places: Tensor | None

    @classmethod
    def of(cls, batch_sizes: Tensor) -> PackedBatch:
        """Read the sizes (T,) of the moments.

        Example:
            >>> PackedBatch.of(torch.tensor([3, 2, 1])).lengths
            tensor([3, 2, 1])
        """
        steps, rows = len(batch_sizes), int(batch_sizes[0])
        if int(batch_sizes[-1]) == rows:
            return cls(rows, steps, None, None)
        moment = torch.repeat_interleave(torch.arange(steps), batch_sizes)
        first = batch_sizes.cumsum(0) - batch_sizes
        row = torch.arange(len(moment)) - first[moment]
        return cls(rows, steps, torch.bincount(row, minlength=rows), row * steps + moment)

    def padded(self, data: Tensor) -> Tensor:
        """Lay packed steps (sum of lengths, F) out as (N, T, F); what is not real is left unwritten."""
        if self.places is None:
            return data.view(self.steps, self.rows, -1).transpose(0, 1)
        room = data.new_empty(self.rows * self.steps, data.shape[1])
        return room.index_copy(0, self.places, data).view(self.rows, self.steps, -1)

    def packed(self, y: Tensor) -> Tensor:
        """Take the real steps of y (N, T, F) -> (sum of lengths, F), in the packed order."""
        if self.places is None:
            return y.transpose(0, 1).reshape(self.rows * self.steps, -1)
        return y.reshape(self.rows * self.steps, -1).index_select(0, self.places)
