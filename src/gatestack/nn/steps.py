"""Which steps of a padded batch are real: lengths and masks, brought to one form.

One meaning for both: a step that is not real leaves the state as it was, and its output is zero. A mask with
holes is run as lengths, because leaving a step out and keeping the state over it are the same thing: the
real steps of each row move to its front, the layer runs, and the outputs move back.

    mask      1 0 1 1   ->  a c d .   (length 3)  ->  A 0 C D
    x         a b c d
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

__all__ = ["Lengths", "Mask", "Steps"]

Lengths: TypeAlias = Tensor | npt.NDArray[np.integer] | Sequence[int]
Mask: TypeAlias = Tensor | npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Steps:
    """The real steps of a padded batch (N, T, ·).

    Args:
        lengths: int64 (N,) on the CPU, or None when every step is real.
        order: (N, T), for each row the positions of its real steps and then of the others; None when the real
            steps are the first ones already.
    """

    lengths: Tensor | None
    order: Tensor | None = None

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
            return cls._from_mask(x, mask, owner)
        if lengths is not None:
            return cls(_checked_lengths(x, lengths, owner))
        return cls(None)

    @classmethod
    def _from_mask(cls, x: Tensor, mask: Mask, owner: str) -> Steps:
        real = torch.as_tensor(mask, device=x.device)
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
        count = real.sum(dim=1)
        lengths = count.cpu()
        time = x.shape[1]
        if bool((lengths == time).all()):
            return cls(None)
        if bool((real == (torch.arange(time, device=x.device) < count[:, None])).all()):
            return cls(lengths)
        return cls(lengths, torch.argsort((~real).to(torch.uint8), dim=1, stable=True))

    def compress(self, x: Tensor) -> Tensor:
        """Move the real steps of each row of x (N, T, F) to its front."""
        if self.order is None:
            return x
        return x.gather(1, self.order[:, :, None].expand_as(x))

    def expand(self, y: Tensor) -> Tensor:
        """Move the steps of y (N, T, F) back to where the mask had them."""
        if self.order is None:
            return y
        back = torch.argsort(self.order, dim=1)
        return y.gather(1, back[:, :, None].expand_as(y))

    def last(self, y: Tensor) -> Tensor:
        """Take each row's last real step of a compressed y (N, T, F) -> (N, F); zero where there is none."""
        if y.shape[1] == 0:
            return y.new_zeros(y.shape[0], y.shape[2])
        if self.lengths is None:
            return y[:, -1]
        lengths = self.lengths.to(y.device)
        rows = torch.arange(y.shape[0], device=y.device)
        return y[rows, (lengths - 1).clamp(min=0)].masked_fill((lengths == 0)[:, None], 0.0)


def _checked_lengths(x: Tensor, lengths: Lengths, owner: str) -> Tensor:
    given = torch.as_tensor(lengths, device="cpu")
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
    wrong = ((given < 0) | (given > time)).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise ArgumentError(
            f"lengths[{row}] is {int(given[row])}", where=owner, expected=f"0 to {time}, the steps of x"
        )
    return given.to(torch.int64)
