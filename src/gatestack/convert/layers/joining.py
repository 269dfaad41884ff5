"""Layers of several inputs, of none, and over whole axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gatestack.convert.layers.base import MANY, Axis, Flag, LayerOptions, NetworkLayer, Signal, one_mask

__all__ = [
    "Combine", "CombineOptions", "Concatenate", "ConcatenateOptions", "Constant", "ConstantOptions",
    "MeanOverTime", "MeanOverTimeOptions", "Pool", "PoolOptions", "Stacked", "StackedOptions",
]  # fmt: skip

Extent = Annotated[int, Field(strict=True, ge=0, le=2**31)]
Masks = Literal["any", "all"]
_COMBINED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "divide": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "average": torch.add,
    "power": torch.pow,
    "matrix_product": torch.matmul,
}

_POOLED: dict[str, Callable[..., Tensor]] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "max": torch.amax,
    "min": torch.amin,
}


class CombineOptions(LayerOptions):
    """Options of `Combine`.

    Args:
        operation: what is done, from the first input to the last.
        masks: how the masks of the inputs become one; see `Combine`. Default "any".
    """

    operation: Literal[
        "add", "subtract", "multiply", "divide", "maximum", "minimum", "average", "power", "matrix_product"
    ]
    masks: Masks = "any"


class Combine(NetworkLayer):
    """Combine inputs element by element; their shapes are broadcast as in torch and ONNX.

    Several signals in, one out. With masks="any", which is Keras 3, a step is real where it is in one of the
    inputs, and there is no mask if one input has none; "multiply", "maximum" and "minimum" leave out an input
    at its unreal steps, and a product is zero where no input is real. With masks="all", which is Keras 2, a
    step is real where it is in all inputs that have masks, and nothing is left out.

    Args:
        options: the operation.

    Example:
        >>> two = [Signal(torch.ones(1, 2)), Signal(torch.full((1, 2), 3.0))]
        >>> Combine(CombineOptions(operation="average")).run(two)[0].value
        tensor([[2., 2.]])
    """

    kind = "combine"
    Options = CombineOptions

    @property
    def inputs(self) -> range:
        """One or more."""
        return MANY

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Combine tensors of shapes that can be broadcast."""
        operation = self.options.operation
        values = [signal.value for signal in signals]
        masks = [signal.mask for signal in signals]
        leaves_out = self.options.masks == "any" and any(mask is not None for mask in masks)
        try:
            if leaves_out and operation == "multiply":
                y = _product(signals)
            elif leaves_out and operation in ("maximum", "minimum"):
                y = _extreme(signals, _COMBINED[operation])
            else:
                y = reduce(_COMBINED[operation], values)
        except RuntimeError:
            shapes = ", ".join(str(tuple(value.shape)) for value in values)
            raise self.refuse(f"the inputs have shapes {shapes}", "shapes that fit each other") from None
        if operation == "average":
            y = y / len(values)
        return (Signal(y, one_mask(masks) if self.options.masks == "any" else _all_of(masks)),)


class ConcatenateOptions(LayerOptions):
    """Options of `Concatenate`.

    Args:
        axis: which grows. Default -1.
        masks: how the masks of the inputs become one; see `Concatenate`. Default "any".
    """

    axis: Axis = -1
    masks: Masks = "any"


class Concatenate(NetworkLayer):
    """Put inputs side by side.

    Several signals in, one out. Where one has a mask, so has the output, as in Keras: with masks="any", which
    is Keras 3, a step is real where it is in one of the inputs, with "all", which is Keras 2, where it is in
    all; one without a mask is real everywhere. Along axis 1, the masks one after another.

    Args:
        options: the axis.

    Example:
        >>> two = [Signal(torch.zeros(1, 2)), Signal(torch.zeros(1, 3))]
        >>> Concatenate(ConcatenateOptions()).run(two)[0].value.shape
        torch.Size([1, 5])
    """

    kind = "concatenate"
    Options = ConcatenateOptions

    @property
    def inputs(self) -> range:
        """One or more."""
        return MANY

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Concatenate tensors of the same rank."""
        values = [signal.value for signal in signals]
        try:
            y = torch.cat(values, dim=self.options.axis)
        except (RuntimeError, IndexError):
            shapes = ", ".join(str(tuple(value.shape)) for value in values)
            expected = f"equal shapes but for axis {self.options.axis}"
            raise self.refuse(f"the inputs have shapes {shapes}", expected) from None
        return (Signal(y, self._mask(signals)),)

    def _mask(self, signals: Sequence[Signal]) -> Tensor | None:
        if all(signal.mask is None for signal in signals):
            return None
        axis, rank = self.options.axis, signals[0].value.dim()
        every = [_whole(signal) if signal.mask is None else signal.mask for signal in signals]
        place = axis % rank
        if place < 2:
            return torch.cat(every, dim=place)
        return one_mask(every) if self.options.masks == "any" else _all_of(every)


class StackedOptions(LayerOptions):
    """Options of `Stacked`.

    Args:
        axis: of the output, which is new. Default 0.
    """

    axis: Axis = 0


class Stacked(NetworkLayer):
    """Put inputs of equal shape one after another along a new axis.

    Several signals in, one out, without a mask.

    Args:
        options: the axis.

    Example:
        >>> Stacked(StackedOptions()).run([Signal(torch.zeros(2, 3))] * 4)[0].value.shape
        torch.Size([4, 2, 3])
    """

    kind = "stack"
    Options = StackedOptions

    @property
    def inputs(self) -> range:
        """One or more."""
        return MANY

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Stack tensors of the same shape."""
        values = [signal.value for signal in signals]
        try:
            return (Signal(torch.stack(values, dim=self.options.axis)),)
        except (RuntimeError, IndexError):
            shapes = ", ".join(str(tuple(value.shape)) for value in values)
            raise self.refuse(f"the inputs have shapes {shapes}", "equal shapes") from None


class PoolOptions(LayerOptions):
    """Options of `Pool`.

    Args:
        operation: "mean", "sum", "max" or "min".
        axes: over which; default (1,), the time.
        keep: leave the axes, with size 1. Default False.
    """

    operation: Literal["mean", "sum", "max", "min"]
    axes: Annotated[tuple[Axis, ...], Field(min_length=1, max_length=32)] = (1,)
    keep: Flag = False


class Pool(NetworkLayer):
    """Sum, average or take the largest over whole axes. The mask is not looked at, and ends here.

    One signal in, one out.

    Args:
        options: operation and axes.

    Example:
        >>> Pool(PoolOptions(operation="mean")).run([Signal(torch.ones(2, 5, 3))])[0].value.shape
        torch.Size([2, 3])
    """

    kind = "pool"
    Options = PoolOptions

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Pool a tensor of any shape."""
        value, options = signals[0].value, self.options
        if any(not -value.dim() <= axis < value.dim() for axis in options.axes):
            raise self.refuse(f"x has shape {tuple(value.shape)}", f"the axes {options.axes}")
        return (Signal(_POOLED[options.operation](value, dim=options.axes, keepdim=options.keep)),)


class MeanOverTimeOptions(LayerOptions):
    """Options of `MeanOverTime`.

    Args:
        keep: leave the time, with size 1. Default False.
    """

    keep: Flag = False


class MeanOverTime(NetworkLayer):
    """The mean of the real steps: Keras' GlobalAveragePooling1D.

    One signal (N, T, …) in, one (N, …) out, without a mask. A row without a real step gives NaN, as in Keras.

    Args:
        options: whether the axis stays.

    Example:
        >>> x, mask = torch.tensor([[[1.0], [3.0], [8.0]]]), torch.tensor([[True, True, False]])
        >>> MeanOverTime(MeanOverTimeOptions()).run([Signal(x, mask)])[0].value
        tensor([[2.]])
    """

    kind = "mean_over_time"
    Options = MeanOverTimeOptions

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Average x (N, T, …)."""
        value, mask = signals[0]
        if value.dim() < 2:
            raise self.refuse(f"x has shape {tuple(value.shape)}", "(batch, time, …)")
        if mask is None:
            return (Signal(value.mean(dim=1, keepdim=self.options.keep)),)
        real = _spread(mask, value)
        total = value.masked_fill(~real, 0.0).sum(dim=1, keepdim=self.options.keep)
        return (Signal(total / real.sum(dim=1, keepdim=self.options.keep)),)


class ConstantOptions(LayerOptions):
    """Options of `Constant`.

    Args:
        shape: of the tensor, all of it.
        dtype: "float32" (default; follows the network's), "int64" or "bool".
        trainable: a parameter. Default False.
    """

    shape: Annotated[tuple[Extent, ...], Field(max_length=32)] = ()
    dtype: Literal["float32", "int64", "bool"] = "float32"
    trainable: Flag = False


class Constant(NetworkLayer):
    """Give the same tensor at every call.

    No signal in, one out. `value` is a parameter or a buffer; it starts with zeros.

    Args:
        options: its shape.

    Example:
        >>> Constant(ConstantOptions(shape=(2,))).run([])[0].value
        tensor([0., 0.])
    """

    kind = "constant"
    Options = ConstantOptions

    def __init__(self, options: ConstantOptions) -> None:
        super().__init__(options)
        dtype = None if options.dtype == "float32" else getattr(torch, options.dtype)
        value = torch.zeros(options.shape, dtype=dtype)
        if options.trainable:
            self.value: Tensor = nn.Parameter(value)
        else:
            self.register_buffer("value", value)

    @property
    def inputs(self) -> range:
        """None."""
        return range(1)

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:  # noqa: ARG002 (there are none)
        """Give the tensor."""
        return (Signal(self.value),)


def _spread(mask: Tensor, like: Tensor) -> Tensor:
    """Give a mask (N, T) the axes of a tensor (N, T, …)."""
    return mask.view(*mask.shape, *(1,) * (like.dim() - 2))


def _all_of(masks: Sequence[Tensor | None]) -> Tensor | None:
    given = [mask for mask in masks if mask is not None]
    return reduce(torch.logical_and, given) if given else None


def _product(signals: Sequence[Signal]) -> Tensor:
    """Multiply; an input takes no part at its unreal steps, and where none is real the product is zero."""
    factors = [
        value if mask is None else value.masked_fill(~_spread(mask, value), 1.0) for value, mask in signals
    ]
    y, mask = reduce(torch.mul, factors), one_mask([signal.mask for signal in signals])
    return y if mask is None else y.masked_fill(~_spread(mask, y), 0.0)


def _extreme(signals: Sequence[Signal], operation: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Take the largest or the smallest; at a step that is real in one of two only, that one.

    What has been found so far stands in for an input at its unreal steps, and the other way round, as long
    as all inputs have masks.
    """
    found, real = signals[0]
    for value, mask in signals[1:]:
        if mask is not None:
            value = torch.where(_spread(mask, value), value, found)
        if real is not None:
            found = torch.where(_spread(real, found), found, value)
        real = None if mask is None or real is None else real | mask
        found = operation(found, value)
    return found


def _whole(signal: Signal) -> Tensor:
    return torch.ones(signal.value.shape[:2], dtype=torch.bool, device=signal.value.device)
