"""What the forward and the backward pass of `fused.py` share: the tensors of a call, and how it is cut up.

Everything stands in memory with channels last: "rows" are (S, *space, F), the steps one behind the other,
"images" the same memory seen as (S, F, *space).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from gatestack.kernels.conv_lstm.rows import RealRows
from gatestack.kernels.conv_lstm.spec import ConvSpec
from gatestack.kernels.conv_lstm.step import NativeStep
from gatestack.kernels.rooms import room

__all__ = ["Inputs", "Job", "Saved", "as_images", "as_rows", "empty", "last_channels", "native_step"]

# Elements of the sums of a piece: 4 MiB of float32, few enough for the nearest caches. But two images at
# least, since of one alone oneDNN convolves few channels at half the speed.
_MOST_SUMS = 1 << 20


class Inputs(NamedTuple):
    """The tensors of a call, in the order in which autograd knows them."""

    x: Tensor
    h: Tensor
    c: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor
    peephole: Tensor | None
    factors: Tensor | None


class Saved(NamedTuple):
    """What the backward pass reads: gates, and states behind the initial ones; rows."""

    gates: Tensor
    hidden: Tensor
    cells: Tensor


@dataclass(frozen=True, eq=False)
class Job:
    """What a call is about besides its tensors.

    Args:
        spec: the geometry.
        rows: the real steps.
        from_zero: whether h is zero at first, so that the first step needs no convolution.
        sequences: whether the outputs of all steps are wanted.
    """

    spec: ConvSpec
    rows: RealRows
    from_zero: bool
    sequences: bool
    first: list[int] = field(init=False)  # where the rows of each step begin, and the end of the last

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", [0, *accumulate(self.rows.sizes)])

    def before(self, states: Tensor, step: int, low: int, high: int) -> Tensor:
        """Give the states before a step, of its rows from `low` to `high`.

        `states` are those of all steps behind the initial ones, or, N of them, the newest of each row.
        """
        N, whole = self.rows.batch, len(states) > self.rows.batch
        begin = N + self.first[step - 1] if whole and step else 0
        return states[begin + low : begin + high]

    def after(self, states: Tensor, step: int, low: int, high: int) -> Tensor:
        """Give the states after a step, likewise."""
        N, whole = self.rows.batch, len(states) > self.rows.batch
        begin = N + self.first[step] if whole else 0
        return states[begin + low : begin + high]

    def final(self, states: Tensor) -> Tensor:
        """Give the state after each row's last step, in memory of its own."""
        N = self.rows.batch
        if len(states) == N:
            return states
        return states[-N:].clone() if self.rows.last is None else states.index_select(0, self.rows.last)

    def states(self, initial: Tensor, *, whole: bool) -> Tensor:
        """Make room for the states of all steps, or for the newest; the initial ones are there already."""
        N = self.rows.batch
        by_position = initial.movedim(1, -1)
        states = empty((N + (self.first[-1] if whole else 0), *by_position.shape[1:]), initial.dtype)
        states[:N] = by_position
        return states

    def pieces(self, image: int) -> list[tuple[int, int]]:
        """Cut all rows into runs that a cache holds, at the ends of steps where that is possible.

        Args:
            image: elements of the sums of one image.
        """
        return [*self._pieces(max(2, _MOST_SUMS // image))]

    def _pieces(self, most: int) -> Iterator[tuple[int, int]]:
        begin, end = 0, self.first[-1]
        while begin < end:
            reach = min(begin + most, end)
            boundary = self.first[bisect_right(self.first, reach) - 1]
            stop = boundary if boundary > begin else reach
            yield begin, stop
            begin = stop

    def parts(self, begin: int, end: int) -> list[tuple[int, int, int]]:
        """Cut rows of which some may be of one step, some of the next -> step, first and last row in it."""
        found, step = [], bisect_right(self.first, begin) - 1
        while begin < end:
            stop = min(end, self.first[step + 1])
            found.append((step, begin - self.first[step], stop - self.first[step]))
            begin, step = stop, step + 1
        return found


def as_rows(images: Tensor) -> Tensor:
    """See (S, F, *space) as (S, *space, F); a copy where it does not stand in memory like that."""
    return images.movedim(1, -1).contiguous()


def as_images(rows: Tensor) -> Tensor:
    """See (S, *space, F) as (S, F, *space)."""
    return rows.movedim(-1, 1)


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Give memory with anything in it."""
    return room(math.prod(shape) * dtype.itemsize).view(dtype).view(*shape)


def last_channels(weight: Tensor) -> Tensor:
    """Give a weight in the layout of the images, so that a convolution does not have to."""
    layout = torch.channels_last if weight.dim() == 4 else torch.channels_last_3d
    return weight.contiguous(memory_format=layout)


def native_step(inputs: Inputs) -> NativeStep:
    """Give what calls the compiled kernels."""
    _, F, *space = inputs.h.shape
    peephole = None if inputs.peephole is None else as_rows(inputs.peephole)
    return NativeStep(inputs.h, tuple(space), F, peephole)
