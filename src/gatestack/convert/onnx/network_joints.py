"""Joints of several inputs of a network, with what Keras 2 and 3 make of their masks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from gatestack.convert.layers import Combine, Concatenate, Stacked
from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.convert.onnx.network_signals import Emitted, GraphSignal, Kept, emit_network_layer
from gatestack.convert.onnx.ragged import widened

__all__: list[str] = []

Signals = Sequence[GraphSignal]

_COMBINED = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "maximum": "Max",
    "minimum": "Min",
    "average": "Add",
    "power": "Pow",
    "matrix_product": "MatMul",
}


@emit_network_layer.register(Combine)
def _(layer: Combine, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    operation = layer.options.operation
    masks = [signal.mask for signal in signals]
    given = [mask for mask in masks if mask is not None]
    any_of = layer.options.masks == "any"
    if any_of:
        mask = _joined(b, "Or", given) if len(given) == len(masks) else None
    else:
        mask = _joined(b, "And", given) if given else None
    if any_of and given and operation == "multiply":
        y = _product(b, signals, mask)
    elif any_of and given and operation in ("maximum", "minimum"):
        y = _extreme(b, signals, _COMBINED[operation])
    else:
        y = reduce(lambda a, c: b.op(_COMBINED[operation], a, c), [signal.value for signal in signals])
        if operation == "average":
            y = b.op("Div", y, b.number(len(signals)))
    return [(y, mask)]


@emit_network_layer.register(Concatenate)
def _(layer: Concatenate, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    axis = layer.options.axis % signals[0].rank
    y = b.op("Concat", *[signal.value for signal in signals], axis=axis)
    if all(signal.mask is None for signal in signals):
        return [(y, None)]
    masks = [_whole(b, signal.value) if signal.mask is None else signal.mask for signal in signals]
    if axis < 2:
        return [(y, b.op("Concat", *masks, axis=axis))]
    return [(y, _joined(b, "Or" if layer.options.masks == "any" else "And", masks))]


@emit_network_layer.register(Stacked)
def _(layer: Stacked, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    axis = layer.options.axis % (signals[0].rank + 1)
    parts = [b.op("Unsqueeze", signal.value, b.ints(axis)) for signal in signals]
    return [(b.op("Concat", *parts, axis=axis), None)]


def _joined(b: GraphBuilder, operator: str, masks: Sequence[Value]) -> Value:
    return reduce(lambda one, other: b.op(operator, one, other), masks)


def _product(b: GraphBuilder, signals: Signals, mask: Value | None) -> Value:
    """Multiply; an input takes no part at its unreal steps, and where none is real the product is zero."""
    factors = [
        signal.value if signal.mask is None else b.op("Where", _wide(b, signal), signal.value, b.number(1))
        for signal in signals
    ]
    y = reduce(lambda one, other: b.op("Mul", one, other), factors)
    if mask is None:
        return y
    rank = max(signal.rank for signal in signals)
    return b.op("Where", widened(b, mask, 2, rank), y, b.number(0))


def _extreme(b: GraphBuilder, signals: Signals, operator: str) -> Value:
    """Take the largest or the smallest; at a step that is real in one of two only, that one."""
    found, real = signals[0].value, signals[0].mask
    rank = signals[0].rank
    for signal in signals[1:]:
        value = signal.value
        if signal.mask is not None:
            value = b.op("Where", _wide(b, signal), value, found)
        if real is not None:
            found = b.op("Where", widened(b, real, 2, rank), found, value)
        found, rank = b.op(operator, found, value), max(rank, signal.rank)
        both = real is not None and signal.mask is not None
        real = b.op("Or", real, signal.mask) if both else None
    return found


def _wide(b: GraphBuilder, signal: GraphSignal) -> Value:
    """Give the mask (N, T) of a signal the axes of its value."""
    if signal.mask is None:
        raise RuntimeError("a signal without a mask")
    return widened(b, signal.mask, 2, signal.rank)


def _whole(b: GraphBuilder, x: Value) -> Value:
    """Give a mask (N, T) in which every step of x is real."""
    return b.op("ConstantOfShape", b.op("Shape", x, start=0, end=2), value=np.ones(1, np.bool_))
