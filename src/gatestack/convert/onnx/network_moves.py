"""Layers of a network that move numbers: reshape, permute, slice, repeat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gatestack.convert.layers import Flatten, Permute, Repeat, Reshape, Slice, Squeeze, Take, Unsqueeze
from gatestack.convert.onnx.builder import GraphBuilder
from gatestack.convert.onnx.network_signals import Emitted, GraphSignal, Kept, emit_network_layer, flipped

__all__: list[str] = []

Signals = Sequence[GraphSignal]

_END = 2**63 - 1  # what ONNX takes for "to the end"


@emit_network_layer.register(Flatten)
def _(layer: Flatten, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    x, first = signals[0].value, layer.options.first
    if signals[0].rank <= first:
        return [(b.op("Unsqueeze", x, b.ints(1)), None)]
    # Not -1: of a batch of no rows nothing tells how long the rest is.
    first %= signals[0].rank
    rest = b.op("ReduceProd", b.op("Shape", x, start=first), keepdims=1)
    return [(b.op("Reshape", x, b.op("Concat", b.op("Shape", x, start=0, end=first), rest, axis=0)), None)]


@emit_network_layer.register(Reshape)
def _(layer: Reshape, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    return [(b.reshape(signals[0].value, layer.options.shape), None)]


@emit_network_layer.register(Permute)
def _(layer: Permute, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    order = [axis % signals[0].rank for axis in layer.options.axes]
    return [(b.op("Transpose", signals[0].value, perm=order), None)]


@emit_network_layer.register(Repeat)
def _(layer: Repeat, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    x = b.op("Unsqueeze", signals[0].value, b.ints(1))
    return [(b.op("Expand", x, b.ints(1, layer.options.times, 1)), None)]


@emit_network_layer.register(Take)
def _(layer: Take, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    axis = layer.options.axis % signals[0].rank
    y = b.op("Gather", signals[0].value, b.constant(np.int64(layer.options.index)), axis=axis)
    return [(y, signals[0].mask if axis > 1 else None)]


@emit_network_layer.register(Slice)
def _(layer: Slice, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    options, axis = layer.options, layer.options.axis % signals[0].rank

    def cut(value: str) -> str:
        if options.step == -1:
            return flipped(b, value, axis)
        stop = _END if options.stop is None else options.stop
        return b.op("Slice", value, b.ints(options.start), b.ints(stop), b.ints(axis), b.ints(options.step))

    mask = signals[0].mask
    return [(cut(signals[0].value), cut(mask) if mask is not None and axis < 2 else mask)]


@emit_network_layer.register(Squeeze)
def _(layer: Squeeze, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    axes = [axis % signals[0].rank for axis in layer.options.axes]
    return [(b.op("Squeeze", signals[0].value, b.ints(*axes)), None)]


@emit_network_layer.register(Unsqueeze)
def _(layer: Unsqueeze, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    rank = signals[0].rank + len(layer.options.axes)
    axes = sorted(axis % rank for axis in layer.options.axes)
    return [(b.op("Unsqueeze", signals[0].value, b.ints(*axes)), None)]
