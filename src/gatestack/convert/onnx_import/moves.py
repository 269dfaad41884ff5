"""ONNX nodes that move numbers, or combine tensors element by element, as layers of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gatestack.convert.layers import (
    Combine,
    CombineOptions,
    Concatenate,
    ConcatenateOptions,
    Flatten,
    FlattenOptions,
    NetworkLayer,
    Permute,
    PermuteOptions,
    Pool,
    PoolOptions,
    Reshape,
    ReshapeOptions,
    Slice,
    SliceOptions,
    Squeeze,
    SqueezeOptions,
    Take,
    TakeOptions,
    Unsqueeze,
    UnsqueezeOptions,
)
from gatestack.convert.onnx_import.graph import GraphReader, NodeReader

__all__ = ["MOVES"]

_INT32_END = 2**31 - 1  # from here on, the end of a slice is the end of the axis


def _move(reader: GraphReader, node: NodeReader) -> bool:
    """Give the node the layer that does the same, where its numbers are in the file."""
    layer = _LAYERS[node.operator](reader, node)
    if layer is None or reader.constant(node, 0) is not None:
        return False
    reader.values[node.outputs[0]] = reader.add(node.outputs[0], layer, [reader.value(node, 0)])
    return True


def _several(reader: GraphReader, node: NodeReader) -> bool:
    """Give a node of several inputs its layer, unless all of them are known or their dtype matters."""
    known = [reader.constant(node, place) for place in range(len(node.inputs))]
    if all(array is not None for array in known):
        return False
    layer: NetworkLayer
    if node.operator == "Concat":
        layer = Concatenate(ConcatenateOptions(axis=node.attributes["axis"]))
    elif node.operator == "Div" and not any(array is not None and array.dtype.kind == "f" for array in known):
        return False  # whole numbers are divided without a rest
    else:
        layer = Combine(CombineOptions(operation=_COMBINED[node.operator]))
    inputs = [reader.value(node, place) for place in range(len(node.inputs))]
    reader.values[node.outputs[0]] = reader.add(node.outputs[0], layer, inputs)
    return True


def _axes(reader: GraphReader, node: NodeReader) -> tuple[int, ...] | None:
    if "axes" in node.attributes:
        return tuple(node.attributes["axes"])
    known = reader.constant(node, 1)
    return None if known is None else tuple(known.flatten().tolist())


def _transpose(_: GraphReader, node: NodeReader) -> NetworkLayer | None:
    axes = node.attributes.get("perm")
    return None if axes is None else Permute(PermuteOptions(axes=tuple(axes)))


def _squeeze(reader: GraphReader, node: NodeReader) -> NetworkLayer | None:
    axes = _axes(reader, node)
    return Squeeze(SqueezeOptions(axes=axes)) if axes else None


def _unsqueeze(reader: GraphReader, node: NodeReader) -> NetworkLayer | None:
    axes = _axes(reader, node)
    return Unsqueeze(UnsqueezeOptions(axes=axes)) if axes else None


def _gather(reader: GraphReader, node: NodeReader) -> NetworkLayer | None:
    index = reader.constant(node, 1)
    if index is None or index.ndim:
        return None
    return Take(TakeOptions(axis=node.attributes.get("axis", 0), index=int(index)))


def _slice(reader: GraphReader, node: NodeReader) -> NetworkLayer | None:
    if "starts" in node.attributes or not node.given(3):
        return None
    known = [reader.constant(node, place) for place in range(1, len(node.inputs)) if node.given(place)]
    if any(array is None or array.size != 1 for array in known):
        return None
    start, stop, axis, *step = (int(array.item()) for array in known if array is not None)
    if step not in ([], [1]):
        return None
    end = None if stop >= _INT32_END else stop
    return Slice(SliceOptions(axis=axis, start=start, stop=end))


def _reshape(reader: GraphReader, node: NodeReader) -> NetworkLayer | None:
    shape = reader.constant(node, 1)
    if shape is None or node.attributes.get("allowzero", 0):
        return None
    return Reshape(ReshapeOptions(shape=tuple(shape.tolist())))


def _flatten(_: GraphReader, node: NodeReader) -> NetworkLayer | None:
    return Flatten(FlattenOptions()) if node.attributes.get("axis", 1) == 1 else None


def _pool(reader: GraphReader, node: NodeReader) -> NetworkLayer | None:
    axes = _axes(reader, node)
    if not axes:
        return None
    operation: Any = node.operator.removeprefix("Reduce").lower()
    return Pool(PoolOptions(operation=operation, axes=axes, keep=bool(node.attributes.get("keepdims", 1))))


_LAYERS: dict[str, Callable[[GraphReader, NodeReader], NetworkLayer | None]] = {
    "Flatten": _flatten,
    "Gather": _gather,
    "ReduceMax": _pool,
    "ReduceMean": _pool,
    "ReduceMin": _pool,
    "ReduceSum": _pool,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
_COMBINED: dict[str, Any] = {
    "Add": "add",
    "Div": "divide",
    "Max": "maximum",
    "Min": "minimum",
    "Mul": "multiply",
    "Sub": "subtract",
}
MOVES: dict[str, Callable[[GraphReader, NodeReader], bool]] = {
    **dict.fromkeys(_LAYERS, _move),
    **dict.fromkeys([*_COMBINED, "Concat"], _several),
}
"""Operator to what adds its layer; it says False where the operator is to be computed as ONNX says."""
