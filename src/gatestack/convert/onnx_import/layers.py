"""ONNX nodes with weights, and functions, as layers of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from gatestack.convert.layers import (
    Activation,
    ActivationOptions,
    BatchNorm,
    BatchNormOptions,
    Dense,
    DenseOptions,
    Embedding,
    EmbeddingOptions,
    LayerNorm,
    LayerNormOptions,
    NetworkLayer,
)
from gatestack.convert.layers.activation import FunctionName
from gatestack.convert.onnx_import.graph import GraphReader, NodeReader
from gatestack.errors import ModelFileError

__all__ = ["LAYERS"]


def _matmul(reader: GraphReader, node: NodeReader) -> bool:
    weight = reader.constant(node, 1)
    if weight is None or weight.ndim != 2 or reader.constant(node, 0) is not None:
        return False
    _add_dense(reader, node, weight.T, None)
    return True


def _gemm(reader: GraphReader, node: NodeReader) -> bool:
    attributes = node.attributes
    if attributes.get("transA", 0):
        raise ModelFileError("the attribute transA is 1", where=node.where, expected="0")
    weight = reader.weight(node, 1, "B")
    weight = weight if attributes.get("transB", 0) else weight.T
    bias = None
    if node.given(2):
        bias = np.broadcast_to(reader.weight(node, 2, "C"), (len(weight),)) * attributes.get("beta", 1.0)
    _add_dense(reader, node, weight * attributes.get("alpha", 1.0), bias)
    return True


def _add_dense(reader: GraphReader, node: NodeReader, weight: Any, bias: Any) -> None:
    layer = Dense(DenseOptions(units=weight.shape[0], input_size=weight.shape[1], bias=bias is not None))
    _put(layer.linear, {"weight": weight} | ({} if bias is None else {"bias": bias}))
    _give(reader, node, layer)


def _bias(reader: GraphReader, node: NodeReader) -> bool:
    """Take the sum with a vector into the product before it, where nothing else reads that one."""
    if len(node.inputs) != 2:
        return False
    constants = [reader.constant(node, place) for place in (0, 1)]
    place = 0 if constants[0] is None else 1
    bias, name = constants[1 - place], node.inputs[place]
    source = reader.values.get(name)
    if bias is None or source is None or reader.uses[name] != 1:
        return False
    made = next((number for number, one in enumerate(reader.made) if one.name == source), None)
    before = None if made is None else reader.made[made].layer
    if made is None or not isinstance(before, Dense) or before.options.bias:
        return False
    if bias.shape != (before.options.units,):
        return False
    options = before.options.model_copy(update={"bias": True})
    layer = Dense(options)
    _put(layer.linear, {"weight": before.linear.weight.detach().numpy(), "bias": bias})
    reader.made[made] = type(reader.made[made])(source, layer, reader.made[made].inputs)
    reader.values[node.outputs[0]] = source
    return True


def _embedding(reader: GraphReader, node: NodeReader) -> bool:
    table = reader.constant(node, 0)
    floats = table is not None and table.dtype.kind == "f" and table.ndim == 2
    if (
        table is None
        or not floats
        or node.attributes.get("axis", 0) != 0
        or reader.constant(node, 1) is not None
    ):
        return False
    layer = Embedding(EmbeddingOptions(vocabulary_size=table.shape[0], size=table.shape[1]))
    _put(layer.table, {"weight": table})
    _give(reader, node, layer)
    return True


def _batch_norm(reader: GraphReader, node: NodeReader) -> bool:
    if node.attributes.get("training_mode", 0):
        raise ModelFileError("the attribute training_mode is 1", where=node.where, expected="0")
    names = ("weight", "bias", "running_mean", "running_var")
    arrays = {name: reader.weight(node, place, name) for place, name in enumerate(names, start=1)}
    epsilon = node.attributes.get("epsilon", 1e-5)
    layer = BatchNorm(BatchNormOptions(features=len(arrays["weight"]), axis=1, epsilon=epsilon))
    _put(layer.norm, arrays)
    _give(reader, node, layer)
    return True


def _layer_norm(reader: GraphReader, node: NodeReader) -> bool:
    scale = reader.weight(node, 1, "Scale")
    axis = node.attributes.get("axis", -1)
    shape = reader.shapes.get(node.inputs[0])
    last = -axis if axis < 0 else len(shape or ()) - axis
    if last != scale.ndim:
        raise ModelFileError(
            f"axis {axis} with a scale of shape {scale.shape}",
            where=node.where,
            expected="a scale with every axis that is normalised",
        )
    bias = reader.weight(node, 2, "B") if node.given(2) else np.zeros_like(scale)
    epsilon = node.attributes.get("epsilon", 1e-5)
    layer = LayerNorm(LayerNormOptions(shape=scale.shape, epsilon=epsilon))
    _put(layer.norm, {"weight": scale, "bias": bias})
    _give(reader, node, layer)
    return True


def _softmax(reader: GraphReader, node: NodeReader) -> bool:
    axis = node.attributes.get("axis", -1 if reader.opset >= 13 else 1)
    rank = len(reader.shapes.get(node.inputs[0]) or ())
    if reader.opset < 13 and axis not in (-1, rank - 1):
        raise ModelFileError(
            f"axis {axis} of {rank} in opset {reader.opset}, where all axes behind it are one",
            where=node.where,
            expected="the last axis",
        )
    soft = node.operator == "Softmax"
    options = ActivationOptions(function="softmax" if soft else "log_softmax", axis=axis)
    _give(reader, node, Activation(options))
    return True


def _function(name: FunctionName) -> Callable[[GraphReader, NodeReader], bool]:
    def add(reader: GraphReader, node: NodeReader) -> bool:
        _give(reader, node, Activation(ActivationOptions(function=name)))
        return True

    return add


def _sloped(name: FunctionName, usual: float) -> Callable[[GraphReader, NodeReader], bool]:
    def add(reader: GraphReader, node: NodeReader) -> bool:
        slope = node.attributes.get("alpha", usual)
        _give(reader, node, Activation(ActivationOptions(function=name, slope=slope)))
        return True

    return add


def _hard_sigmoid(reader: GraphReader, node: NodeReader) -> bool:
    numbers = (node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5))
    known: tuple[tuple[float, FunctionName], ...] = ((0.2, "hard_sigmoid_2"), (1 / 6, "hard_sigmoid"))
    for alpha, name in known:
        if abs(numbers[0] - alpha) < 1e-6 and numbers[1] == 0.5:
            return _function(name)(reader, node)
    raise ModelFileError(f"alpha and beta {numbers}", where=node.where, expected="0.2 or 1/6, and 0.5")


def _gelu(reader: GraphReader, node: NodeReader) -> bool:
    tanh = node.attributes.get("approximate", "none") == "tanh"
    return _function("gelu_tanh" if tanh else "gelu")(reader, node)


def _give(reader: GraphReader, node: NodeReader, layer: NetworkLayer) -> None:
    name = node.outputs[0]
    reader.values[name] = reader.add(name, layer, [reader.value(node, 0 if node.operator != "Gather" else 1)])


def _put(module: nn.Module, arrays: dict[str, Any]) -> None:
    """Copy arrays into a module of torch, whose sizes were made from them."""
    with torch.no_grad():
        state = module.state_dict()
        for name, array in arrays.items():
            if tuple(state[name].shape) != tuple(array.shape):
                raise ModelFileError(
                    f"{name} has shape {tuple(array.shape)}", expected=f"{tuple(state[name].shape)}"
                )
            state[name].copy_(torch.from_numpy(np.ascontiguousarray(array)))


LAYERS: dict[str, Callable[[GraphReader, NodeReader], bool]] = {
    "Add": _bias,
    "BatchNormalization": _batch_norm,
    "Elu": _sloped("elu", 1.0),
    "Erf": _function("erf"),
    "Gather": _embedding,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _function("hard_silu"),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _sloped("leaky_relu", 0.01),
    "Log": _function("logarithm"),
    "LogSoftmax": _softmax,
    "MatMul": _matmul,
    "Mish": _function("mish"),
    "Relu": _function("relu"),
    "Selu": _function("selu"),
    "Sigmoid": _function("sigmoid"),
    "Softmax": _softmax,
    "Softplus": _function("softplus"),
    "Softsign": _function("softsign"),
    "Tanh": _function("tanh"),
}
"""Operator to what adds its layer; it says False where the operator is to be computed as ONNX says."""
