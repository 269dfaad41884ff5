"""Layers that move numbers and compute none: reshape, permute, slice, repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor

from gatestack.convert.layers.base import Axis, LayerOptions, NetworkLayer, Signal, Size

__all__ = [
    "Flatten", "FlattenOptions", "Permute", "PermuteOptions", "Repeat", "RepeatOptions", "Reshape",
    "ReshapeOptions", "Slice", "SliceOptions", "Squeeze", "SqueezeOptions", "Take", "TakeOptions",
    "Unsqueeze", "UnsqueezeOptions",
]  # fmt: skip

Axes = Annotated[tuple[Axis, ...], Field(max_length=32)]
Index = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]


class FlattenOptions(LayerOptions):
    """Options of `Flatten`.

    Args:
        first: the first axis of those that become one. Default 1, which leaves the batch.
    """

    first: Axis = 1


class Flatten(NetworkLayer):
    """Make one axis of several.

    One signal (N, …) in, one (N, product) out, without a mask, as in Keras.

    Args:
        options: where it begins.

    Example:
        >>> import torch
        >>> Flatten(FlattenOptions()).run([Signal(torch.zeros(2, 3, 4))])[0].value.shape
        torch.Size([2, 12])
    """

    kind = "flatten"
    Options = FlattenOptions

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Flatten (N, …) -> (N, product)."""
        value, first = signals[0].value, self.options.first
        return (Signal(value[:, None] if value.dim() <= first else value.flatten(first)),)


class ReshapeOptions(LayerOptions):
    """Options of `Reshape`.

    Args:
        shape: of the output, with the batch; 0 keeps the axis of the input at that place, one -1 takes what
            is left. `(0, 4, 5)` is Keras' `Reshape((4, 5))`.
    """

    shape: Annotated[tuple[Annotated[int, Field(strict=True, ge=-1)], ...], Field(max_length=32)]


class Reshape(NetworkLayer):
    """Give the same numbers another shape.

    One signal in, one out, without a mask, as in Keras.

    Args:
        options: the shape.

    Example:
        >>> import torch
        >>> Reshape(ReshapeOptions(shape=(0, 4, -1))).run([Signal(torch.zeros(2, 8))])[0].value.shape
        torch.Size([2, 4, 2])
    """

    kind = "reshape"
    Options = ReshapeOptions

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Reshape a tensor of any shape."""
        value = signals[0].value
        wanted = self.options.shape
        if any(size == 0 and place >= value.dim() for place, size in enumerate(wanted)):
            raise self.refuse(f"x has shape {tuple(value.shape)}", f"an axis wherever {wanted} has 0")
        shape = [value.shape[place] if size == 0 else size for place, size in enumerate(wanted)]
        try:
            return (Signal(value.reshape(shape)),)
        except RuntimeError:
            raise self.refuse(f"x has shape {tuple(value.shape)}", f"the elements of {wanted}") from None


class PermuteOptions(LayerOptions):
    """Options of `Permute`.

    Args:
        axes: for each axis of the output, which one of the input it is; with the batch. `(0, 2, 1)` is Keras'
            `Permute((2, 1))`.
    """

    axes: Axes


class Permute(NetworkLayer):
    """Put the axes into another order.

    One signal in, one out, without a mask, as in Keras.

    Args:
        options: the order.

    Example:
        >>> import torch
        >>> Permute(PermuteOptions(axes=(0, 2, 1))).run([Signal(torch.zeros(2, 3, 4))])[0].value.shape
        torch.Size([2, 4, 3])
    """

    kind = "permute"
    Options = PermuteOptions

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Permute the axes of a tensor."""
        value, axes = signals[0].value, self.options.axes
        if sorted(axis % len(axes) for axis in axes) != list(range(value.dim())):
            raise self.refuse(f"x has shape {tuple(value.shape)}", f"as many axes as in {axes}")
        return (Signal(value.permute(axes)),)


class RepeatOptions(LayerOptions):
    """Options of `Repeat`.

    Args:
        times: T of the output.
    """

    times: Size


class Repeat(NetworkLayer):
    """Make a sequence that is the same vector at every step: Keras' RepeatVector.

    One signal (N, F) in, one (N, times, F) out, without a mask.

    Args:
        options: how often.

    Example:
        >>> import torch
        >>> Repeat(RepeatOptions(times=5)).run([Signal(torch.zeros(2, 3))])[0].value.shape
        torch.Size([2, 5, 3])
    """

    kind = "repeat"
    Options = RepeatOptions

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Repeat x (N, F) -> (N, T, F)."""
        value = signals[0].value
        if value.dim() != 2:
            raise self.refuse(f"x has shape {tuple(value.shape)}", "(batch, features)")
        return (Signal(value[:, None].expand(-1, self.options.times, -1)),)


class TakeOptions(LayerOptions):
    """Options of `Take`.

    Args:
        axis: which one goes.
        index: its place on the axis; negative from the end. Default -1, the last.
    """

    axis: Axis
    index: Index = -1


class Take(NetworkLayer):
    """Take one place of an axis: `x[:, -1]`.

    One signal in, one with an axis less out. The mask passes where batch and time are not touched.

    Args:
        options: axis and index.

    Example:
        >>> import torch
        >>> Take(TakeOptions(axis=1)).run([Signal(torch.zeros(2, 3, 4))])[0].value.shape
        torch.Size([2, 4])
    """

    kind = "take"
    Options = TakeOptions

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Take from a tensor of any shape."""
        (value, mask), axis = signals[0], self.options.axis
        place = _checked(self, value, axis)
        size, index = value.shape[place], self.options.index
        if not -size <= index < size:
            raise self.refuse(f"axis {axis} of x has size {size}", f"an index of it, not {index}")
        return (Signal(value.select(place, index), mask if place > 1 else None),)


class SliceOptions(LayerOptions):
    """Options of `Slice`.

    Args:
        axis: of which a part is taken.
        start: first place; negative from the end. Default 0.
        stop: place after the last; None (default) for the end.
        step: default 1; -1 turns the whole axis around, and takes no start and stop.
    """

    axis: Axis
    start: Index = 0
    stop: Index | None = None
    step: Annotated[int, Field(strict=True, ge=-1, le=2**31)] = 1


class Slice(NetworkLayer):
    """Take a part of an axis: `x[:, 2:5]`, or turn it around.

    One signal in, one out; the mask goes along.

    Args:
        options: the part.

    Example:
        >>> import torch
        >>> Slice(SliceOptions(axis=1, start=1)).run([Signal(torch.arange(4.0)[None])])[0].value
        tensor([[1., 2., 3.]])
    """

    kind = "slice"
    Options = SliceOptions

    def __init__(self, options: SliceOptions) -> None:
        super().__init__(options)
        turned = options.step == -1 and (options.start, options.stop) != (0, None)
        if options.step == 0 or turned:
            raise self.refuse(f"start {options.start}, stop {options.stop}, step {options.step}",
                              "a step of 1 or more, or -1 alone")  # fmt: skip

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Slice a tensor of any shape."""
        value, mask = signals[0]
        axis = _checked(self, value, self.options.axis)
        if mask is not None and axis < 2:
            mask = self._cut(mask, axis)
        return (Signal(self._cut(value, axis), mask),)

    def _cut(self, value: Tensor, axis: int) -> Tensor:
        options = self.options
        if options.step == -1:
            return value.flip(axis)
        return value[(slice(None),) * axis + (slice(options.start, options.stop, options.step),)]


class SqueezeOptions(LayerOptions):
    """Options of `Squeeze`.

    Args:
        axes: of size 1, which go.
    """

    axes: Axes


class Squeeze(NetworkLayer):
    """Remove axes of size 1.

    One signal in, one out, without a mask.

    Args:
        options: which.

    Example:
        >>> import torch
        >>> Squeeze(SqueezeOptions(axes=(1,))).run([Signal(torch.zeros(2, 1, 4))])[0].value.shape
        torch.Size([2, 4])
    """

    kind = "squeeze"
    Options = SqueezeOptions

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Squeeze a tensor of any shape."""
        value = signals[0].value
        places = [_checked(self, value, axis) for axis in self.options.axes]
        if any(value.shape[place] != 1 for place in places):
            raise self.refuse(f"x has shape {tuple(value.shape)}", f"size 1 at the axes {self.options.axes}")
        return (Signal(value.squeeze(places)),)


class UnsqueezeOptions(LayerOptions):
    """Options of `Unsqueeze`.

    Args:
        axes: of the output, which are new.
    """

    axes: Axes


class Unsqueeze(NetworkLayer):
    """Add axes of size 1.

    One signal in, one out, without a mask.

    Args:
        options: where.

    Example:
        >>> import torch
        >>> Unsqueeze(UnsqueezeOptions(axes=(1, 3))).run([Signal(torch.zeros(2, 4))])[0].value.shape
        torch.Size([2, 1, 4, 1])
    """

    kind = "unsqueeze"
    Options = UnsqueezeOptions

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Unsqueeze a tensor of any shape."""
        value = signals[0].value
        rank = value.dim() + len(self.options.axes)
        if any(not -rank <= axis < rank for axis in self.options.axes):
            raise self.refuse(f"x has shape {tuple(value.shape)}", f"room for the axes {self.options.axes}")
        for axis in sorted(axis % rank for axis in self.options.axes):
            value = value.unsqueeze(axis)
        return (Signal(value),)


def _checked(layer: NetworkLayer, value: Tensor, axis: int) -> int:
    """Give the place of an axis, counted from the front."""
    if not -value.dim() <= axis < value.dim():
        raise layer.refuse(f"x has shape {tuple(value.shape)}", f"a tensor with an axis {axis}")
    return axis % value.dim()
