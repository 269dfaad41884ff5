"""Convolutional LSTM layers: a convolution of all steps, then a loop with one of the state."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gatestack.convert.onnx.activations import activated
from gatestack.convert.onnx.builder import Array, GraphBuilder, Value
from gatestack.convert.onnx.dispatch import Leaf, LeafTree, StateValues, emit_layer, state_leaves
from gatestack.convert.onnx.loops import looped
from gatestack.convert.onnx.ragged import Ragged
from gatestack.convert.onnx.recurrent import array
from gatestack.errors import ArgumentError
from gatestack.nn import ConvLSTM

__all__ = ["filled_up"]


@state_leaves.register(ConvLSTM)
def _(layer: ConvLSTM) -> LeafTree:
    space: tuple[int | str, ...] = tuple(f"out_space_{axis}" for axis in range(layer.dimensions))
    if layer.form.peepholes == "positions" and layer.peephole_l0 is not None:
        space = tuple(layer.peephole_l0.shape[2:])
    return tuple(Leaf(name, 1, (layer.channels, *space)) for name in ("h", "c"))


@emit_layer.register(ConvLSTM)
def _(
    layer: ConvLSTM, b: GraphBuilder, x: Value, ragged: Ragged, state: StateValues
) -> tuple[Value, StateValues]:
    rank, axes = 3 + layer.dimensions, b.ints(0)
    wide = _convolved(layer, b, x)  # -> (N, T, 4F, space)
    if isinstance(state, tuple):
        h, c = (b.op("Squeeze", part, axes) for part in state if isinstance(part, str))
    else:
        space = b.op("Shape", wide, start=3)
        shape = b.op("Concat", ragged.rows, b.ints(layer.channels), space, axis=0)
        h = c = b.op("ConstantOfShape", shape, value=np.zeros(1, np.float32))
    y, final = looped(b, _Step(layer, b), wide, ragged, (h, c), rank)
    output = ragged.zeroed(b, y, rank) if layer.return_sequences else final[0]
    return output, tuple(b.op("Unsqueeze", part, axes) for part in final)


class _Step:
    """One step, from the convolved input (N, 4F, space) and the state (N, F, space)."""

    def __init__(self, layer: ConvLSTM, b: GraphBuilder) -> None:
        self.layer = layer
        self.weight = b.weight("weight_hh", array(layer.weight_hh_l0))
        before = [(size - 1) // 2 for size in layer.kernel_size]
        self.pads = [
            *before,
            *(size - 1 - left for size, left in zip(layer.kernel_size, before, strict=True)),
        ]
        self.peepholes = [b.weight("peephole", part, channel_axes=part.ndim) for part in _peepholes(layer)]

    def __call__(self, body: GraphBuilder, seen: Value, state: tuple[Value, ...]) -> tuple[Value, ...]:
        h, c = state
        size, form = self.layer.channels, self.layer.form
        moved = body.op("Conv", h, self.weight, kernel_shape=self.layer.kernel_size, pads=self.pads)
        total = body.op("Add", seen, moved)
        i, f, g, o = body.ops("Split", total, body.ints(*[size] * 4), outputs=4, axis=1)
        if self.peepholes:
            i = body.op("Add", i, body.op("Mul", self.peepholes[0], c))
            f = body.op("Add", f, body.op("Mul", self.peepholes[1], c))
        i, f = (activated(body, form.gate_activation, part) for part in (i, f))
        g = activated(body, form.activation, g)
        c = body.op("Add", body.op("Mul", f, c), body.op("Mul", i, g))
        if self.peepholes:
            o = body.op("Add", o, body.op("Mul", self.peepholes[2], c))
        shown = activated(body, form.activation, c)
        return body.op("Mul", activated(body, form.gate_activation, o), shown), c


def _convolved(layer: ConvLSTM, b: GraphBuilder, x: Value) -> Value:
    """Convolve all steps of x (N, T, C, space) -> (N, T, 4F, space)."""
    images = b.op("Reshape", x, b.op("Concat", b.ints(-1), b.op("Shape", x, start=2), axis=0))
    if layer.padding == "same":
        images = filled_up(b, images, layer.kernel_size, layer.stride, layer.dilation)
    wide = b.op(
        "Conv",
        images,
        b.weight("weight_ih", array(layer.weight_ih_l0)),
        b.weight("bias", array(layer.bias_ih_l0) + array(layer.bias_hh_l0)),
        kernel_shape=layer.kernel_size,
        strides=layer.stride,
        dilations=layer.dilation,
    )
    shape = b.op("Concat", b.op("Shape", x, start=0, end=2), b.op("Shape", wide, start=1), axis=0)
    return b.op("Reshape", wide, shape)


def filled_up(
    b: GraphBuilder,
    images: Value,
    size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    *,
    causal: bool = False,
    fill: float = 0.0,
) -> Value:
    """Pad images (N, C, space) as TensorFlow does: as much as the output needs, the odd one at the end.

    ONNX' own `auto_pad` cannot be had together with a dilation.

    Args:
        b: the graph.
        images: of so many dimensions of space as there are sizes.
        size: of the window.
        stride: from one window to the next.
        dilation: from one position in the window to the next.
        causal: so much before the images that no position sees a later one, and nothing after them.
        fill: what stands there.
    """
    steps = b.ints(*stride)
    reach = b.ints(*((k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)))
    space = b.op("Shape", images, start=2)
    one, nothing = b.ints(1), b.ints(0)
    if causal:
        before, after = b.op("Sub", reach, one), b.ints(*[0] * len(size))
    else:
        last = b.op("Mul", b.op("Div", b.op("Sub", space, one), steps), steps)  # where the last window begins
        total = b.op("Max", b.op("Sub", b.op("Add", last, reach), space), nothing)
        before = b.op("Div", total, b.ints(2))
        after = b.op("Sub", total, before)
    both = b.ints(0, 0)
    pads = b.op("Concat", both, before, both, after, axis=0)
    return b.op("Pad", images, pads) if fill == 0 else b.op("Pad", images, pads, b.number(fill))


def _peepholes(layer: ConvLSTM) -> list[Array]:
    """Give the peepholes of i, f and o as they are multiplied with (N, F, space)."""
    if layer.form.peepholes is None:
        return []
    if layer.peephole_l0 is None:
        raise ArgumentError(
            "the layer has no peepholes yet",
            where="export",
            hint="build it for a size of image: layer.build(channels, image_size)",
        )
    values = array(layer.peephole_l0)
    shape = values.shape[1:] if values.ndim > 2 else (math.prod(values.shape[1:]), *[1] * layer.dimensions)
    return [part.reshape(shape) for part in values]
