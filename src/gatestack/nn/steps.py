"""Which steps of a padded batch are real: lengths and masks, checked.

One meaning for both: a step that is not real leaves the state as it was, and its output is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatestack.errors import ArgumentError
from gatestack.nn.checks import read_tensor

__all__ = ["Lengths", "Mask", "Steps"]

Lengths: TypeAlias = Tensor | npt.NDArray[np.integer] | Sequence[int]
Mask: TypeAlias = Tensor | npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Steps:
    """The real steps of a padded batch (N, T, ·).

    Args:
        lengths: int64 (N,) on the CPU, or None.
        mask: bool (N, T) on the device of the batch, or None; every step is real where both are None.
    """

    lengths: Tensor | None
    mask: Tensor | None

    @classmethod
    def read(cls, x: Tensor, lengths: Lengths | None, mask: Mask | None, owner: str) -> Steps:
        """Check lengths or mask against x (N, T, ·).

        Raises:
            ArgumentError: both are given; a shape does not fit; a length is not a whole number from 0 to T;
                the mask is not boolean.
        """
        if lengths is not None and mask is not None:
            raise ArgumentError("lengths and mask are both given", where=owner, expected="one of them")
        if mask is not None:
            return cls(None, _checked_mask(x, mask, owner))
        if lengths is not None:
            return cls(_checked_lengths(x, lengths, owner), None)
        return _ALL

    def real(self, x: Tensor) -> Tensor | None:
        """Say which steps of x (N, T, …) are real -> bool (N, T) on the device of x; None where all are."""
        if self.lengths is None:
            return self.mask
        return torch.arange(x.shape[1], device=x.device) < self.lengths.to(x.device)[:, None]

    def cleared(self, y: Tensor) -> Tensor:
        """Set y (N, T, …) to zero where a step is not real, whatever it holds there."""
        real = self.real(y)
        return y if real is None else y.masked_fill(~real.view(*real.shape, *(1,) * (y.dim() - 2)), 0.0)

    def reversed(self) -> Steps:
        """Give the real steps of a batch that `turned` has turned round."""
        return self if self.mask is None else Steps(None, self.mask.flip(1))

    def turned(self, y: Tensor) -> Tensor:
        """Turn y (N, T, …) round in time, so that the last real step of each row is its first one.

        By lengths, the real steps change places and the rest stays: with lengths 3 and 2, `a b c -> c b a`
        and `d e . -> e d .`; a flip of the whole row would begin with the padding. With a mask the row is
        flipped, and the mask with it (`reversed`).
        """
        if self.lengths is None:
            return y.flip(1)
        lengths = self.lengths.to(y.device)[:, None]
        position = torch.arange(y.shape[1], device=y.device)
        source = torch.where(position < lengths, lengths - 1 - position, position)  # -> (N, T)
        return y.gather(1, source.view(*source.shape, *(1,) * (y.dim() - 2)).expand_as(y))

    def last(self, y: Tensor, otherwise: Tensor | None = None) -> Tensor:
        """Take each row's last real step of y (N, T, …) -> (N, …).

        Where there is none, take `otherwise` (N, …); None for zeros.
        """
        batch, time, *rest = y.shape
        if otherwise is None:
            otherwise = y.new_zeros(batch, *rest)
        if time == 0:
            return otherwise
        if self.mask is not None:
            lengths = (self.mask * torch.arange(1, time + 1, device=y.device)).amax(dim=1)
        elif self.lengths is not None:
            lengths = self.lengths.to(y.device)
        else:
            return y[:, -1]
        rows = torch.arange(batch, device=y.device)
        empty = (lengths == 0).view(-1, *(1 for _ in rest))
        return torch.where(empty, otherwise, y[rows, (lengths - 1).clamp(min=0)])


_ALL = Steps(None, None)


def _checked_mask(x: Tensor, mask: Mask, owner: str) -> Tensor:
    real = read_tensor("mask", mask, owner, x.device)
    if real.dtype != torch.bool:
        raise ArgumentError(
            f"mask has dtype {str(real.dtype).removeprefix('torch.')}",
            where=owner,
            expected="bool, True where a step is real",
        )
    if real.shape != x.shape[:2]:
        raise ArgumentError(
            f"mask has shape {tuple(real.shape)}",
            where=owner,
            expected=f"(batch, time) = {tuple(x.shape[:2])}",
        )
    return real


def _checked_lengths(x: Tensor, lengths: Lengths, owner: str) -> Tensor:
    given = read_tensor("lengths", lengths, owner)
    batch, time = x.shape[:2]
    if given.numel() == 0:
        given = given.to(torch.int64)  # an empty list has no dtype of its own
    if given.dtype == torch.bool or given.is_floating_point() or given.is_complex():
        raise ArgumentError(
            f"lengths has dtype {str(given.dtype).removeprefix('torch.')}",
            where=owner,
            expected="whole numbers",
        )
    if given.shape != (batch,):
        raise ArgumentError(
            f"lengths has shape {tuple(given.shape)}", where=owner, expected=f"(batch,) = ({batch},)"
        )
    if torch.compiler.is_compiling():
        return given.to(torch.int64)  # the values are not known yet; the kernels look at them
    wrong = ((given < 0) | (given > time)).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise ArgumentError(
            f"lengths[{row}] is {int(given[row])}", where=owner, expected=f"0 to {time}, the steps of x"
        )
    return given.to(torch.int64)
