"""Attention of a network: every query compared with every key."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gatestack.convert.layers import Attention
from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.convert.onnx.network_signals import Emitted, GraphSignal, Kept, emit_network_layer
from gatestack.convert.onnx.recurrent import array

__all__: list[str] = []

Signals = Sequence[GraphSignal]

_UNSEEN = 1e9  # what Keras takes from the score of a step that is not to be seen


@emit_network_layer.register(Attention)
def _(layer: Attention, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    query, value, key = (signal.value for signal in (*signals, signals[1])[:3])
    scores = _scores(layer, b, query, key)
    real = _real(layer, b, scores, signals[1].mask)
    if real is not None:
        scores = b.op("Where", real, scores, b.op("Sub", scores, b.number(_UNSEEN)))
    weights = b.op("Softmax", scores, axis=-1)
    y, mask = b.op("MatMul", weights, value), signals[0].mask
    if mask is not None:
        y = b.op("Where", b.op("Unsqueeze", mask, b.ints(2)), y, b.number(0))
    return [(y, mask), (weights, None)]


def _scores(layer: Attention, b: GraphBuilder, query: Value, key: Value) -> Value:
    """Compare -> (N, Tq, Tv)."""
    scale = None
    if layer.scale is not None:
        values = array(layer.scale)
        scale = b.weight("scale", values, channel_axes=values.ndim)
    if layer.options.score == "dot":
        product = b.op("MatMul", query, b.op("Transpose", key, perm=(0, 2, 1)))
        return product if scale is None else b.op("Mul", product, scale)
    both = b.op("Add", b.op("Unsqueeze", query, b.ints(2)), b.op("Unsqueeze", key, b.ints(1)))
    if layer.weight is None:
        bent = b.op("Tanh", both)
        return b.op("ReduceSum", bent if scale is None else b.op("Mul", scale, bent), b.ints(3), keepdims=0)
    bent = b.op("Tanh", both if scale is None else b.op("Mul", scale, both))
    weight = b.weight("weight", array(layer.weight), channel_axes=0)
    return b.op("Mul", weight, b.op("ReduceSum", bent, b.ints(3), keepdims=0))


def _real(layer: Attention, b: GraphBuilder, scores: Value, mask: Value | None) -> Value | None:
    """Say which steps of the value a query may see."""
    real = None if mask is None else b.op("Unsqueeze", mask, b.ints(1))
    if not layer.options.causal:
        return real
    first, one = b.constant(np.int64(0)), b.constant(np.int64(1))
    rows, columns = (
        b.op("Range", first, b.op("Squeeze", b.size(scores, axis), b.ints(0)), one) for axis in (1, 2)
    )
    past = b.op("GreaterOrEqual", b.op("Unsqueeze", rows, b.ints(1)), columns)  # -> (Tq, Tv)
    return past if real is None else b.op("And", real, past)
