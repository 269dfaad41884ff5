"""Layers of a network with a window over images: convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gatestack.convert.layers import Convolution, WindowPool
from gatestack.convert.onnx.activations import activated
from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.convert.onnx.conv_lstm import filled_up
from gatestack.convert.onnx.network_signals import Emitted, GraphSignal, Kept, emit_network_layer
from gatestack.convert.onnx.recurrent import array

__all__: list[str] = []

Signals = Sequence[GraphSignal]


@emit_network_layer.register(Convolution)
def _(layer: Convolution, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    options, conv = layer.options, layer.conv
    x = _turned(b, signals[0], options.channels_last)
    if options.padding != "valid":
        causal = options.padding == "causal"
        x = filled_up(b, x, conv.kernel_size, conv.stride, conv.dilation, causal=causal)
    bias = [] if conv.bias is None else [b.weight("bias", array(conv.bias))]
    y = b.op(
        "Conv",
        x,
        b.weight("weight", array(conv.weight)),
        *bias,
        kernel_shape=conv.kernel_size,
        strides=conv.stride,
        dilations=conv.dilation,
        group=options.groups,
    )
    return [(activated(b, options.activation, _back(b, signals[0], y, options.channels_last)), None)]


@emit_network_layer.register(WindowPool)
def _(layer: WindowPool, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    options = layer.options
    size, stride = options.size, options.stride or options.size
    same = options.padding == "same"
    x = _turned(b, signals[0], options.channels_last)
    if options.operation == "max":
        inside = filled_up(b, x, size, stride, (1,) * len(size), fill=-np.inf) if same else x
        y = b.op("MaxPool", inside, kernel_shape=size, strides=stride)
    else:
        y = _mean(b, x, size, stride, same)
        if same:  # what is filled up does not count
            one = b.ints(1)
            shape = b.op("Concat", one, one, b.op("Shape", x, start=2), axis=0)
            ones = b.op("ConstantOfShape", shape, value=np.ones(1, np.float32))
            y = b.op("Div", y, _mean(b, ones, size, stride, same))
    return [(_back(b, signals[0], y, options.channels_last), None)]


def _mean(b: GraphBuilder, x: Value, size: Sequence[int], stride: Sequence[int], same: bool) -> Value:
    inside = filled_up(b, x, size, stride, (1,) * len(size)) if same else x
    return b.op("AveragePool", inside, kernel_shape=tuple(size), strides=tuple(stride))


def _turned(b: GraphBuilder, signal: GraphSignal, channels_last: bool) -> Value:
    """Bring the channels before the image."""
    if not channels_last:
        return signal.value
    return b.op("Transpose", signal.value, perm=(0, signal.rank - 1, *range(1, signal.rank - 1)))


def _back(b: GraphBuilder, signal: GraphSignal, y: Value, channels_last: bool) -> Value:
    return b.op("Transpose", y, perm=(0, *range(2, signal.rank), 1)) if channels_last else y
