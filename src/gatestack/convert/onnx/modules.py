"""Modules without a state: dense layers, activations, normalisations, embeddings."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any

import numpy as np
from torch import nn

from gatestack.convert.onnx.activations import activated
from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.convert.onnx.recurrent import array
from gatestack.errors import ArgumentError

__all__ = ["emit_module"]


@singledispatch
def emit_module(module: nn.Module, b: GraphBuilder, x: Value) -> Value:  # noqa: ARG001 (cases read them)
    """Add a module without a state to a graph, as it is in eval mode.

    Args:
        module: `Linear`, an activation, `Dropout`, `LayerNorm`, `BatchNorm1d` on (N, F), `Embedding` (x is
            int64), `Flatten`, `Identity`, or a `Sequential` of these.
        b: the graph.
        x: (N, …), for a dense layer (…, in).

    Returns:
        Its output.

    Raises:
        ArgumentError: there is no ONNX for the module or for an option of it.

    Example:
        >>> b = GraphBuilder()
        >>> x = b.input("x", "float32", ("batch", 3))
        >>> b.output(emit_module(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), b, x), "y", ("batch", 2))
        >>> [node.op_type for node in b.model().graph.node]
        ['MatMul', 'Add', 'Relu', 'Identity']
    """
    raise ArgumentError(f"there is no ONNX for {type(module).__name__}", where="export")


@emit_module.register(nn.Sequential)
def _(module: nn.Sequential, b: GraphBuilder, x: Value) -> Value:
    for number, one in enumerate(module):
        with b.scope(str(number)):
            x = emit_module(one, b, x)
    return x


@emit_module.register(nn.Linear)
def _(module: nn.Linear, b: GraphBuilder, x: Value) -> Value:
    product = b.op("MatMul", x, b.matrix("weight", array(module.weight)))
    return product if module.bias is None else b.op("Add", product, b.weight("bias", array(module.bias)))


@emit_module.register(nn.Identity)
@emit_module.register(nn.Dropout)
def _(module: nn.Module, b: GraphBuilder, x: Value) -> Value:  # noqa: ARG001
    return x


@emit_module.register(nn.LayerNorm)
def _(module: nn.LayerNorm, b: GraphBuilder, x: Value) -> Value:
    shape = tuple(module.normalized_shape)
    ones, zeros = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    gain = ones if module.weight is None else array(module.weight)
    shift = zeros if module.bias is None else array(module.bias)
    kept = [
        b.weight(name, part, channel_axes=part.ndim) for name, part in (("weight", gain), ("bias", shift))
    ]
    return b.op("LayerNormalization", x, *kept, axis=-len(shape), epsilon=module.eps)


@emit_module.register(nn.BatchNorm1d)
def _(module: nn.BatchNorm1d, b: GraphBuilder, x: Value) -> Value:
    if module.running_mean is None or module.running_var is None:
        raise ArgumentError(
            "BatchNorm1d(track_running_stats=False) depends on the batch it sees",
            where="export",
            expected="running statistics",
        )
    scale = 1 / np.sqrt(array(module.running_var) + np.float32(module.eps))
    if module.affine:
        scale = scale * array(module.weight)
    shift = -array(module.running_mean) * scale
    if module.affine:
        shift = shift + array(module.bias)
    return b.op("Add", b.op("Mul", x, b.weight("scale", scale)), b.weight("shift", shift))


@emit_module.register(nn.Embedding)
def _(module: nn.Embedding, b: GraphBuilder, x: Value) -> Value:
    return b.op("Gather", b.weight("weight", array(module.weight)), x, axis=0)


@emit_module.register(nn.Flatten)
def _(module: nn.Flatten, b: GraphBuilder, x: Value) -> Value:
    if (module.start_dim, module.end_dim) != (1, -1):
        raise ArgumentError(
            f"Flatten({module.start_dim}, {module.end_dim})", where="export", expected="Flatten(1, -1)"
        )
    return b.op("Flatten", x, axis=1)


def _named(name: str) -> Callable[[nn.Module, GraphBuilder, Value], Value]:
    def emit(module: nn.Module, b: GraphBuilder, x: Value) -> Value:  # noqa: ARG001
        return activated(b, name, x)

    return emit


for _class, _name in (
    (nn.Tanh, "tanh"),
    (nn.Sigmoid, "sigmoid"),
    (nn.ReLU, "relu"),
    (nn.Hardsigmoid, "hard_sigmoid"),
    (nn.SELU, "selu"),
    (nn.Softsign, "softsign"),
    (nn.SiLU, "silu"),
    (nn.ReLU6, "relu6"),
):
    emit_module.register(_class, _named(_name))


@emit_module.register(nn.ELU)
def _(module: nn.ELU, b: GraphBuilder, x: Value) -> Value:
    return b.op("Elu", x, alpha=float(module.alpha))


@emit_module.register(nn.LeakyReLU)
def _(module: nn.LeakyReLU, b: GraphBuilder, x: Value) -> Value:
    return b.op("LeakyRelu", x, alpha=float(module.negative_slope))


@emit_module.register(nn.GELU)
def _(module: nn.GELU, b: GraphBuilder, x: Value) -> Value:
    return activated(b, "gelu" if module.approximate == "none" else "gelu_tanh", x)


@emit_module.register(nn.Softplus)
def _(module: nn.Softplus, b: GraphBuilder, x: Value) -> Value:
    if module.beta != 1:
        raise ArgumentError(f"Softplus(beta={module.beta})", where="export", expected="beta=1")
    return activated(b, "softplus", x)


@emit_module.register(nn.Softmax)
@emit_module.register(nn.LogSoftmax)
def _(module: Any, b: GraphBuilder, x: Value) -> Value:
    if module.dim is None:
        raise ArgumentError(f"{type(module).__name__} without dim", where="export", expected="dim=-1")
    return b.op(type(module).__name__, x, axis=int(module.dim))
