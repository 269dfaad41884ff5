"""An ONNX file as a network of layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gatestack.convert.layers.operator import computed
from gatestack.convert.layers.operator_table import OPERATORS
from gatestack.convert.network import Network
from gatestack.convert.onnx.assemble import need_onnx
from gatestack.convert.onnx.safe_read import MAX_ONNX_BYTES, CheckedModel, read_checked
from gatestack.convert.onnx_import.graph import GraphReader, NodeReader
from gatestack.convert.onnx_import.layers import LAYERS
from gatestack.convert.onnx_import.moves import MOVES
from gatestack.convert.onnx_import.own_files import NotOursError, own_network
from gatestack.convert.onnx_import.ports import read_ports
from gatestack.convert.onnx_import.recurrent import import_recurrent
from gatestack.convert.simplified import simplified
from gatestack.convert.usual_forms import in_usual_forms
from gatestack.errors import ArgumentError, ModelFileError, nearest_name, quote_value

if TYPE_CHECKING:
    import os

__all__ = ["read_onnx"]

_RECURRENT = ("GRU", "LSTM", "RNN")
_KEEPS_ZEROS = ("Cast", "Expand", "Identity", "Slice", "Tile", "Transpose")
_LARGEST_FOLDED = 2**24  # elements of a constant that is computed while reading
_MISFITS = (ArithmeticError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What torch, NumPy and pydantic raise where numbers of a file do not fit an operator."""


def read_onnx(path: str | os.PathLike[str], *, max_bytes: int = MAX_ONNX_BYTES) -> Network:
    """Read an ONNX file as a network.

    LSTM, GRU and RNN nodes become recurrent layers on our kernels, in any direction and layout, with initial
    states, lengths and peepholes; products with weights, embeddings and norms become layers; the other
    operators that usually stand around them are computed as ONNX says. What is not understood is refused with
    the name of the node.

    Args:
        path: the file.
        max_bytes: how large it may be, with its external data.

    Returns:
        The network, in eval mode; inputs and outputs have the names and axes of the file.

    Raises:
        ArgumentError: onnx is not installed.
        ModelFileError: the file is damaged or hostile, or has something that is not understood: an operator,
            an attribute such as `clip`, weights that are inputs.
        StorageError: the system would not let it be read.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import torch
        >>> from gatestack.convert import export_onnx, read_onnx
        >>> from gatestack.nn import LSTM
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     exported = export_onnx(LSTM(8, input_size=3), Path(folder) / "lstm.onnx")
        ...     network = read_onnx(exported.path)
        >>> [port.name for port in network.inputs]
        ['x', 'lengths', 'h_in', 'c_in']
    """
    checked = read_checked(path, max_bytes=max_bytes)
    try:
        found = own_network(checked.model)
    except NotOursError as error:
        return _read_graph(checked, path, f"Gatestack exported it, but not as it is: {error}")
    return found or _read_graph(checked, path, None)


def _read_graph(checked: CheckedModel, path: str | os.PathLike[str], changed: str | None) -> Network:
    """Read the nodes of a graph one by one; `changed` says why it is not the network that it describes."""
    graph = checked.model.graph
    newest = int(need_onnx("onnx.defs").onnx_opset_version())
    for one in checked.model.opset_import:
        if one.domain in ("", "ai.onnx") and one.version > newest:
            raise ModelFileError(
                f"operators of version {one.version}",
                where=str(path),
                expected=f"at most {newest}, the newest that the installed onnx knows",
            )
    reader = GraphReader(checked.model, checked.shapes, str(path), changed)
    ports = read_ports(graph, str(path))
    reader.begin(ports)
    for node in reader.nodes:
        try:
            _read_node(reader, node)
        except ArgumentError as error:
            raise ModelFileError(
                f"{error.where}: {error.what}" if error.where else error.what,
                where=node.where,
                expected=error.expected,
                hint=error.hint,
            ) from None
        except ModelFileError:
            raise
        except _MISFITS as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ModelFileError(f"its inputs do not fit: {reason}", where=node.where) from error
    outputs = [reader.named(value.name) for value in graph.output]
    try:
        network = Network(ports, reader.made, outputs, name=graph.name or "network")
    except ArgumentError as error:
        raise ModelFileError(str(error), where=str(path)) from None
    return in_usual_forms(simplified(network)).eval()


def _read_node(reader: GraphReader, node: NodeReader) -> None:
    if not any(node.outputs) or not (node.given(0) or node.operator == "Constant"):
        raise ModelFileError(
            f"{len(node.inputs)} inputs and {len(node.outputs)} outputs",
            where=node.where,
            expected="one of each or more",
        )
    if node.domain not in ("", "ai.onnx"):
        raise ModelFileError(
            f"the operator {quote_value(node.operator)} of {quote_value(node.domain)}",
            where=node.where,
            expected="operators of ONNX itself",
        )
    _follow_zeros(reader, node)
    if node.operator == "Constant":
        reader.constants[node.outputs[0]] = _constant(node)
    elif node.operator in _RECURRENT:
        import_recurrent(reader, node)
    elif node.operator in ("Identity", "Dropout"):
        _pass_on(reader, node)
    elif any(node.operator in table and table[node.operator](reader, node) for table in (LAYERS, MOVES)):
        return
    elif node.operator not in OPERATORS:
        raise ModelFileError(
            f"the operator {quote_value(node.operator)} is not understood",
            where=node.where,
            hint=nearest_name(node.operator, sorted({*OPERATORS, *LAYERS, *_RECURRENT})),
        )
    elif _is_folded(reader, node):
        _fold(reader, node)
    else:
        reader.add_operator(node)


def _follow_zeros(reader: GraphReader, node: NodeReader) -> None:
    """Note what is zero whatever the batch: torch writes the state that a recurrent layer starts from so."""
    known = reader.constant(node, 0)
    if node.operator == "ConstantOfShape":
        zero = node.attributes.get("value", 0.0) == 0
    elif node.operator in _KEEPS_ZEROS:
        zero = node.inputs[0] in reader.zeros or (known is not None and not known.any())
    else:
        return
    if zero:
        reader.zeros.add(node.outputs[0])


def _constant(node: NodeReader) -> np.ndarray[Any, Any]:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in node.attributes:
            return np.asarray(node.attributes[name])
    raise ModelFileError(f"attributes {', '.join(node.attributes)}", where=node.where, expected="numbers")


def _pass_on(reader: GraphReader, node: NodeReader) -> None:
    """A node that gives what it gets; the mask of a Dropout is not to be had."""
    name = node.inputs[0]
    if name in reader.constants:
        reader.constants[node.outputs[0]] = reader.constants[name]
    else:
        reader.values[node.outputs[0]] = reader.value(node, 0)


def _is_folded(reader: GraphReader, node: NodeReader) -> bool:
    """Whether all inputs are known and what they make is small for sure; else it is computed when it runs."""
    given = [name for name in node.inputs if name]
    if not all(name in reader.constants for name in given):
        return False
    return math.prod(max(reader.constants[name].size, 1) for name in given) <= _LARGEST_FOLDED


def _fold(reader: GraphReader, node: NodeReader) -> None:
    """Compute a node whose inputs are known."""
    values = [None if name == "" else torch.as_tensor(reader.constants[name]) for name in node.inputs]
    found = computed(node.operator, values, node.attributes)
    for name, value in zip(node.outputs, found, strict=False):
        if value.numel() > _LARGEST_FOLDED:
            raise ModelFileError(
                f"it makes a constant of {value.numel()} elements",
                where=node.where,
                expected=f"at most {_LARGEST_FOLDED}",
            )
        reader.constants[name] = value.numpy().copy()
