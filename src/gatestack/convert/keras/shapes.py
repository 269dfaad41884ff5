"""The shapes that layers give, found without computing them: None stands for an axis that is free."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from gatestack.convert.layers import (
    Attention,
    BidirectionalLayer,
    Combine,
    Concatenate,
    ConvLSTMLayer,
    Convolution,
    Dense,
    Embedding,
    Flatten,
    MeanOverTime,
    NetworkLayer,
    Permute,
    PerStepLayer,
    Pool,
    RecurrentLayer,
    Repeat,
    Reshape,
    WindowPool,
)

__all__ = ["Shape", "shapes_of"]

Shape: TypeAlias = "tuple[int | None, ...]"
"""Without the axis of the batch."""


def shapes_of(layer: NetworkLayer, inputs: Sequence[Shape]) -> list[Shape]:
    """Give the shape of each output of a layer.

    Args:
        layer: one that Keras has.
        inputs: the shapes that it takes, without the batch.

    Raises:
        ValueError: the layer cannot take such shapes; the text says why.

    Example:
        >>> from gatestack.convert.layers import DenseOptions
        >>> shapes_of(Dense(DenseOptions(units=2, input_size=3)), [(None, 3)])
        [(None, 2)]
    """
    first = inputs[0]
    if isinstance(layer, Dense):
        return [(*first[:-1], layer.options.units)]
    if isinstance(layer, Embedding):
        return [(*first, layer.options.size)]
    if isinstance(layer, RecurrentLayer):
        return _recurrent(layer, first)
    if isinstance(layer, ConvLSTMLayer):
        return _convolved(layer, first)
    if isinstance(layer, BidirectionalLayer):
        return _bidirectional(layer, first)
    if isinstance(layer, PerStepLayer):
        (inner,) = shapes_of(layer.layer, [first[1:]])
        return [(first[0], *inner)]
    if isinstance(layer, Repeat):
        return [(layer.options.times, *first)]
    if isinstance(layer, Flatten):
        return [(_product(first),)]
    if isinstance(layer, Reshape):
        return [_reshaped(layer, first)]
    if isinstance(layer, Permute):
        return [tuple(first[axis - 1] for axis in layer.options.axes[1:])]
    if isinstance(layer, Pool | MeanOverTime):
        return [_pooled(layer, first)]
    if isinstance(layer, Convolution | WindowPool):
        return [_windows(layer, first)]
    if isinstance(layer, Attention):
        return [(*first[:-1], inputs[1][-1]), (*first[:-1], inputs[1][0])]
    if isinstance(layer, Concatenate):
        return [_concatenated(layer, inputs)]
    if isinstance(layer, Combine):
        return [_broadcast(inputs)]
    return [first]


def _recurrent(layer: RecurrentLayer, first: Shape) -> list[Shape]:
    options = layer.options
    out: Shape = (options.output_size,)
    y = (first[0], *out) if options.return_sequences else out
    return [y, *[out] * layer.state_count] if options.return_state else [y]


def _convolved(layer: ConvLSTMLayer, first: Shape) -> list[Shape]:
    options = layer.options
    ones = (1,) * len(options.kernel_size)
    if len(first) != len(ones) + 2:
        raise ValueError(f"its input is {first}, not {len(ones) + 2} axes beside the batch")
    before = first[1:-1] if options.channels_last else first[2:]
    space = [
        _out(size, kernel, stride, dilation, options.padding)
        for size, kernel, stride, dilation in zip(
            before, options.kernel_size, options.stride or ones, options.dilation or ones, strict=True
        )
    ]
    image: Shape = (*space, options.channels) if options.channels_last else (options.channels, *space)
    y = (first[0], *image) if options.return_sequences else image
    return [y, image, image] if options.return_state else [y]


def _pooled(layer: Pool | MeanOverTime, first: Shape) -> Shape:
    axes = (1,) if isinstance(layer, MeanOverTime) else layer.options.axes
    every = [1 if axis in axes else size for axis, size in enumerate(first, start=1)]
    return tuple(size for axis, size in enumerate(every, start=1) if layer.options.keep or axis not in axes)


def _windows(layer: Convolution | WindowPool, first: Shape) -> Shape:
    options = layer.options
    convolves = isinstance(layer, Convolution)
    size = options.kernel_size if convolves else options.size
    ones = (1,) * len(size)
    if len(first) != len(size) + 1:
        raise ValueError(f"its input is {first}, not {len(size) + 1} axes beside the batch")
    before, channels = (first[:-1], first[-1]) if options.channels_last else (first[1:], first[0])
    space = [
        _out(n, k, stride, dilation, options.padding)
        for n, k, stride, dilation in zip(
            before,
            size,
            options.stride or (ones if convolves else size),
            (options.dilation if convolves else None) or ones,
            strict=True,
        )
    ]
    channels = options.channels if convolves else channels
    return (*space, channels) if options.channels_last else (channels, *space)


def _out(size: int | None, kernel: int, stride: int, dilation: int, padding: str) -> int | None:
    """How many positions come out of a convolution or of windows."""
    if size is None:
        return None
    left = size - (kernel - 1) * dilation if padding == "valid" else size
    if left < 1:
        raise ValueError(f"its kernel does not fit into {size} positions")
    return -(-left // stride)


def _bidirectional(layer: BidirectionalLayer, first: Shape) -> list[Shape]:
    options = layer.options
    ahead, *states = shapes_of(layer.forward_layer, [first])
    back, *more = shapes_of(layer.backward_layer, [first])
    if options.merge == "none":
        return [ahead, back, *states, *more]
    if options.merge == "concat":
        ahead = (*ahead[:-1], (ahead[-1] or 0) + (back[-1] or 0))
    elif ahead != back:
        raise ValueError(f"its directions give {ahead} and {back}")
    return [ahead, *states, *more]


def _product(shape: Shape) -> int | None:
    return None if None in shape else math.prod(size for size in shape if size is not None)


def _reshaped(layer: Reshape, first: Shape) -> Shape:
    wanted: tuple[int, ...] = layer.options.shape[1:]
    total, known = _product(first), math.prod(size for size in wanted if size != -1)
    if total is not None and (total % known if known and -1 in wanted else total != known):
        raise ValueError(f"{first} cannot become {wanted}")
    free = total // known if total is not None and known else None
    return tuple(free if size == -1 else size for size in wanted)


def _concatenated(layer: Concatenate, inputs: Sequence[Shape]) -> Shape:
    rank = len(inputs[0]) + 1
    axis = layer.options.axis % rank - 1
    if axis < 0 or any(len(shape) != rank - 1 for shape in inputs):
        raise ValueError(f"its inputs are {', '.join(map(str, inputs))}")
    sizes = [shape[axis] for shape in inputs]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    return (*inputs[0][:axis], total, *inputs[0][axis + 1 :])


def _broadcast(inputs: Sequence[Shape]) -> Shape:
    rank = max(map(len, inputs))
    if any(len(shape) != rank for shape in inputs):
        raise ValueError(f"its inputs are {', '.join(map(str, inputs))}")
    found: list[int | None] = []
    for sizes in zip(*inputs, strict=True):
        known = {size for size in sizes if size not in (None, 1)}
        if len(known) > 1:
            raise ValueError(f"its inputs are {', '.join(map(str, inputs))}")
        found.append(known.pop() if known else (None if None in sizes else 1))
    return tuple(found)
