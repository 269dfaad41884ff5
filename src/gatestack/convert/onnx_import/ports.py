"""The inputs of an ONNX graph as those of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatestack.convert.onnx.assemble import need_onnx
from gatestack.convert.ports import Port, PortType
from gatestack.errors import ModelFileError, quote_value

if TYPE_CHECKING:
    from onnx import GraphProto

__all__ = ["read_ports"]

# ONNX' numbers of types. Whole numbers of 32 bits become those of 64.
_TYPES: dict[int, PortType] = {1: "float32", 10: "float32", 11: "float64", 6: "int64", 7: "int64"}
# Of a recurrent node with layout 0: the axis of the batch of X, sequence_lens, initial_h, initial_c.
_BATCH_AXES = {0: 1, 4: 0, 5: 1, 6: 1}


def read_ports(graph: GraphProto, path: str) -> list[Port]:
    """Read the inputs of a graph.

    The batch is where a recurrent node that reads the input has it; else where an axis has the name that the
    batch has there, or a name that begins with "batch"; else the first open axis.

    Args:
        graph: checked.
        path: for messages.

    Raises:
        ModelFileError: an input without a shape, of rank 0, or of another dtype than numbers.
    """
    known = {tensor.name for tensor in graph.initializer}
    found = [value for value in graph.input if value.name not in known]
    direct = _batch_axes(graph)
    symbols = {
        value.type.tensor_type.shape.dim[direct[value.name]].dim_param
        for value in found
        if value.name in direct and len(value.type.tensor_type.shape.dim) > direct[value.name]
    } - {""}
    ports = []
    for value in found:
        where = f"{path}, input {quote_value(value.name)}"
        kind = value.type.tensor_type
        if kind.elem_type not in _TYPES or not kind.HasField("shape") or not kind.shape.dim:
            names = need_onnx().TensorProto.DataType
            told = names.Name(kind.elem_type).lower() if kind.elem_type in names.values() else "unknown"
            raise ModelFileError(
                f"a tensor of type {told} with {len(kind.shape.dim)} axes",
                where=where,
                expected="floats or whole numbers with one axis or more",
                hint="for a forecaster, load the model folder from which the file was exported",
            )
        dims = list(kind.shape.dim)
        batch = direct.get(value.name)
        if batch is None or batch >= len(dims):
            batch = _named_batch([dim.dim_param for dim in dims], symbols)
        if batch is None:
            batch = next((axis for axis, dim in enumerate(dims) if not dim.HasField("dim_value")), 0)
        shape = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
        del shape[batch]
        ports.append(Port(value.name, tuple(shape), _TYPES[kind.elem_type], batch))
    return ports


def _batch_axes(graph: GraphProto) -> dict[str, int]:
    axes: dict[str, int] = {}
    for node in graph.node:
        if node.op_type not in ("GRU", "LSTM", "RNN"):
            continue
        layout = next((attribute.i for attribute in node.attribute if attribute.name == "layout"), 0)
        for place, axis in _BATCH_AXES.items():
            if len(node.input) > place and node.input[place]:
                axes[node.input[place]] = 0 if layout else axis
    return axes


def _named_batch(names: list[str], symbols: set[str]) -> int | None:
    for axis, name in enumerate(names):
        if name in symbols or name.lower().startswith("batch"):
            return axis
    return None
