"""Layers of a network without time: products, functions, joints, moves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gatestack.convert.layers import (
    Activation,
    BatchNorm,
    Constant,
    Dense,
    Dropout,
    Embedding,
    LayerNorm,
    MaskBy,
    Masking,
    MeanOverTime,
    Operator,
    PerStepLayer,
    Pool,
    Rescale,
    Standardise,
)
from gatestack.convert.onnx.activations import activated
from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.convert.onnx.modules import emit_module
from gatestack.convert.onnx.network_signals import (
    Emitted,
    GraphSignal,
    Kept,
    emit_network_layer,
    run_network_layer,
)
from gatestack.convert.onnx.recurrent import array

__all__: list[str] = []

Signals = Sequence[GraphSignal]

_SMALLEST = 1e-7  # Keras' epsilon of Normalization


@emit_network_layer.register(Dense)
def _(layer: Dense, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    y = emit_module(layer.linear, b, signals[0].value)
    return [(activated(b, layer.options.activation, y), signals[0].mask)]


@emit_network_layer.register(Activation)
def _(layer: Activation, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    options = layer.options
    y = activated(b, options.function, signals[0].value, axis=options.axis, slope=options.slope)
    return [(y, signals[0].mask)]


@emit_network_layer.register(Embedding)
def _(layer: Embedding, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    numbers = b.op("Cast", signals[0].value, to=7)  # INT64
    mask = b.op("Not", b.op("Equal", numbers, b.constant(np.int64(0)))) if layer.options.mask_zero else None
    return [(emit_module(layer.table, b, numbers), mask)]


@emit_network_layer.register(Dropout)
def _(layer: Dropout, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    return [(signals[0].value, signals[0].mask)]


@emit_network_layer.register(Masking)
def _(layer: Masking, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    x = signals[0].value
    same = b.op("Equal", x, b.number(layer.options.mask_value))
    # Not axis -1: of a batch of no rows ONNX Runtime would take away the wrong one.
    last = b.ints(signals[0].rank - 1)
    others = b.op("ReduceSum", b.op("Cast", b.op("Not", same), to=7), last, keepdims=0)
    real = b.op("Greater", others, b.constant(np.int64(0)))
    return [(b.op("Where", b.op("Unsqueeze", real, last), x, b.number(0)), real)]


@emit_network_layer.register(MaskBy)
def _(layer: MaskBy, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    steps = b.op("Cast", signals[1].value, to=9)  # BOOL: all but zero
    return [(signals[0].value, steps)]


@emit_network_layer.register(Rescale)
def _(layer: Rescale, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    scaled = b.op("Mul", signals[0].value, b.number(layer.options.scale))
    return [(b.op("Add", scaled, b.number(layer.options.offset)), signals[0].mask)]


@emit_network_layer.register(Standardise)
def _(layer: Standardise, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    places = [axis % signals[0].rank for axis in layer.options.axes]
    sizes = dict(zip(places, layer.options.shape, strict=True))
    shape = [sizes.get(axis, 1) for axis in range(signals[0].rank)]
    mean, variance = (
        b.weight(name, array(part).reshape(shape), channel_axes=len(shape))
        for name, part in (("mean", layer.mean), ("variance", layer.variance))
    )
    deviation = b.op("Max", b.op("Sqrt", variance), b.number(_SMALLEST))
    if layer.options.invert:
        return [(b.op("Add", b.op("Mul", signals[0].value, deviation), mean), signals[0].mask)]
    return [(b.op("Div", b.op("Sub", signals[0].value, mean), deviation), signals[0].mask)]


@emit_network_layer.register(MeanOverTime)
def _(layer: MeanOverTime, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    (x, mask), keep, time = (signals[0].value, signals[0].mask), int(layer.options.keep), b.ints(1)
    if mask is None:
        count = b.op("Cast", b.size(x, 1), to=1)  # FLOAT
    else:
        rank = signals[0].rank
        real = mask if rank == 2 else b.op("Unsqueeze", mask, b.ints(*range(2, rank)))
        x = b.op("Where", real, x, b.number(0))
        count = b.op("ReduceSum", b.op("Cast", real, to=1), time, keepdims=keep)
    return [(b.op("Div", b.op("ReduceSum", x, time, keepdims=keep), count), None)]


@emit_network_layer.register(LayerNorm)
def _(layer: LayerNorm, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    return [(emit_module(layer.norm, b, signals[0].value), signals[0].mask)]


@emit_network_layer.register(BatchNorm)
def _(layer: BatchNorm, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    norm, axis = layer.norm, layer.options.axis % signals[0].rank
    if norm.running_mean is None or norm.running_var is None:
        raise RuntimeError("a normalisation over batches has running statistics")
    scale = array(norm.weight) / np.sqrt(array(norm.running_var) + np.float32(norm.eps))
    shift = array(norm.bias) - array(norm.running_mean) * scale
    shape = (-1, *[1] * (signals[0].rank - 1 - axis))
    scaled = b.op("Mul", signals[0].value, b.weight("scale", scale.reshape(shape)))
    return [(b.op("Add", scaled, b.weight("shift", shift.reshape(shape))), signals[0].mask)]


@emit_network_layer.register(PerStepLayer)
def _(layer: PerStepLayer, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:
    x, mask, example = signals[0].value, signals[0].mask, signals[0].example
    rows = b.op("Reshape", x, b.op("Concat", b.ints(-1), b.op("Shape", x, start=2), axis=0))
    inner = GraphSignal(rows, None, example._replace(value=example.value.flatten(0, 1), mask=None))
    (y,) = run_network_layer(layer.layer, b, [inner], kept, f"{place}_inner")
    shape = b.op("Concat", b.op("Shape", x, start=0, end=2), b.op("Shape", y.value, start=1), axis=0)
    return [(b.op("Reshape", y.value, shape), mask)]


@emit_network_layer.register(Pool)
def _(layer: Pool, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    options, x = layer.options, signals[0].value
    axes = [axis % signals[0].rank for axis in options.axes]
    keep = int(options.keep)
    if options.operation in ("max", "min"):
        name = "ReduceMax" if options.operation == "max" else "ReduceMin"
        return [(b.op(name, x, axes=axes, keepdims=keep), None)]
    y = b.op("ReduceSum", x, b.ints(*axes), keepdims=keep)
    if options.operation == "mean":
        sizes = b.op("Gather", b.op("Shape", x), b.ints(*axes), axis=0)
        count = b.op("Cast", b.op("ReduceProd", sizes, keepdims=0), to=1)  # FLOAT
        y = b.op("Div", y, count)
    return [(y, None)]


@emit_network_layer.register(Constant)
def _(layer: Constant, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    if layer.value.is_floating_point():
        values = array(layer.value)
        return [(b.weight("value", values, channel_axes=values.ndim), None)]
    return [(b.constant(layer.value.detach().cpu().numpy()), None)]


@emit_network_layer.register(Operator)
def _(layer: Operator, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    options = layer.options
    values: list[Value | None] = [signal.value for signal in signals]
    for missing in sorted(options.missing):
        values.insert(missing, None)
    attributes = dict(options.attributes)
    if options.operator == "ConstantOfShape" and "value" in attributes:
        attributes["value"] = np.array([attributes["value"]], _kind(attributes["value"]))
    found = b.ops(options.operator, *values, outputs=options.outputs, **attributes)
    return [(value, None) for value in found]


def _kind(value: object) -> type[np.generic]:
    """Say of what kind a tensor of one number is, which a network keeps as that number."""
    if isinstance(value, bool):
        return np.bool_
    return np.int64 if isinstance(value, int) else np.float32
