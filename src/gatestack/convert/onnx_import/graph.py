"""What is known of an ONNX graph while it is read: constants, and which node of ours gives which value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from gatestack.convert.layers import Constant, ConstantOptions, NetworkLayer, Operator, OperatorOptions
from gatestack.convert.onnx.assemble import need_onnx
from gatestack.convert.ports import Node, Port
from gatestack.errors import ModelFileError, quote_value

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["GraphReader", "NodeReader"]

Array = npt.NDArray[Any]

_INSTEAD = (
    "export the recurrent layers as LSTM, GRU or RNN operators, as torch.onnx.export does with nn.LSTM; "
    "or read the model itself: a .keras file with read_keras, a module with from_torch"
)


class NodeReader:
    """A node of the graph.

    Args:
        proto: the node.
        where: file, name and operator, for messages.
        hint: what to do where it has a graph inside.

    Attributes:
        operator, domain, inputs, outputs: as they stand there; "" for what is left out.
        attributes: name to number, text, list or array.
        name: of the node; its operator where it has none.
    """

    def __init__(self, proto: NodeProto, where: str, hint: str) -> None:
        helper = need_onnx("onnx.helper")
        numpy_helper = need_onnx("onnx.numpy_helper")
        self.operator: str = proto.op_type
        self.domain: str = proto.domain
        self.inputs: list[str] = list(proto.input)
        self.outputs: list[str] = list(proto.output)
        self.name: str = proto.name or proto.op_type
        self.where = where
        self.attributes: dict[str, Any] = {}
        for attribute in proto.attribute:
            value = helper.get_attribute_value(attribute)
            if attribute.HasField("t"):
                value = _plain(numpy_helper.to_array(attribute.t), where)
                if self.operator == "ConstantOfShape":
                    if value.size != 1:
                        raise ModelFileError(f"value has {value.size} numbers", where=where, expected="one")
                    value = value.item()
            elif attribute.HasField("g") or len(attribute.graphs):
                raise ModelFileError(
                    f"the attribute {quote_value(attribute.name)} is a graph",
                    where=where,
                    expected="a node without a graph inside: no Scan, Loop or If",
                    hint=hint,
                )
            elif isinstance(value, bytes):
                value = value.decode(errors="replace")
            elif isinstance(value, list | tuple):
                value = [one.decode(errors="replace") if isinstance(one, bytes) else one for one in value]
            self.attributes[attribute.name] = value

    def given(self, place: int) -> bool:
        """Whether an optional input is there."""
        return len(self.inputs) > place and self.inputs[place] != ""

    def wanted(self, place: int) -> bool:
        """Whether an optional output is there."""
        return len(self.outputs) > place and self.outputs[place] != ""


class GraphReader:
    """A graph, and what was made of it so far.

    Args:
        model: checked.
        shapes: of the values, where they are known.
        path: of the file.
        changed: why the graph is not that of the network which the file describes.

    Attributes:
        nodes: of the graph, in order.
        constants: name of a value to array.
        values: name of a value to the name that it has in our network.
        made: the nodes of our network so far.
        shapes, path, opset: what was given.
        zeros: names of values that are zero everywhere.
        uses: how many nodes and outputs read a value.
    """

    def __init__(
        self, model: ModelProto, shapes: dict[str, Any], path: str, changed: str | None = None
    ) -> None:
        numpy_helper = need_onnx("onnx.numpy_helper")
        graph = model.graph
        self.path = path
        self.shapes = shapes
        self.opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 1)
        self.constants = {
            one.name: _plain(numpy_helper.to_array(one), f"{path}, tensor {quote_value(one.name)}")
            for one in graph.initializer
        }
        self.nodes = [
            NodeReader(
                node, f"{path}, node {quote_value(node.name or number)} ({node.op_type})", changed or _INSTEAD
            )
            for number, node in enumerate(graph.node)
        ]
        self.values: dict[str, str] = {}
        self.zeros: set[str] = set()
        self.made: list[Node] = []
        self._names: set[str] = set()
        self._constant_names: dict[str, str] = {}
        self.uses = Counter(name for node in self.nodes for name in node.inputs)
        self.uses.update(value.name for value in graph.output)

    def begin(self, ports: Sequence[Port]) -> None:
        """Take the inputs of the network."""
        for port in ports:
            self._names.add(port.name)
            self.values[port.name] = port.name

    def value(self, node: NodeReader, place: int) -> str:
        """Give the name in our network of an input of a node; a constant gets a node of its own."""
        if not node.given(place):
            raise ModelFileError(f"the input {place} is missing", where=node.where)
        return self.named(node.inputs[place], node.where)

    def named(self, name: str, where: str | None = None) -> str:
        """Give the name in our network of a value."""
        if name in self.values:
            return self.values[name]
        if name not in self.constants:
            raise ModelFileError(
                f"nothing above gives the value {quote_value(name)}", where=where or self.path
            )
        if name not in self._constant_names:
            array = self.constants[name]
            kind: Any = {"i": "int64", "u": "int64", "b": "bool"}.get(array.dtype.kind, "float32")
            layer = Constant(ConstantOptions(shape=array.shape, dtype=kind))
            layer.value.copy_(torch.as_tensor(array))
            self._constant_names[name] = self.add(name, layer, ())
        return self._constant_names[name]

    def constant(self, node: NodeReader, place: int) -> Array | None:
        """Give an input of a node where it is known."""
        return self.constants.get(node.inputs[place]) if node.given(place) else None

    def weight(self, node: NodeReader, place: int, what: str) -> Array:
        """Give an input of a node that must be known.

        Raises:
            ModelFileError: it is not.
        """
        array = self.constant(node, place)
        if array is None:
            raise ModelFileError(
                f"{what} is the value {quote_value(node.inputs[place] if node.given(place) else '')}",
                where=node.where,
                expected="an initializer: weights stand in the file",
            )
        return array

    def add(self, name: str, layer: NetworkLayer, inputs: Sequence[str]) -> str:
        """Add a node to our network, under this name or one like it -> its name."""
        free, number = name or layer.kind, 1
        while free in self._names:
            number += 1
            free = f"{name or layer.kind}_{number}"
        self._names.add(free)
        self.made.append(Node(free, layer, tuple(inputs)))
        return free

    def add_operator(self, node: NodeReader) -> None:
        """Add a node that computes as ONNX says."""
        inputs = [self.value(node, place) for place in range(len(node.inputs)) if node.given(place)]
        options = OperatorOptions(
            operator=node.operator,
            attributes=node.attributes,
            outputs=len(node.outputs),
            missing=tuple(place for place in range(len(node.inputs)) if not node.given(place)),
        )
        made = self.add(node.outputs[0], Operator(options), inputs)
        for number, name in enumerate(node.outputs):
            self.values[name] = made if number == 0 else f"{made}:{number}"


def _plain(array: Array, where: str) -> Array:
    """Give an array one of the dtypes that networks have: float32 or float64, int64, bool."""
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    if array.dtype.kind == "f":
        return array if array.dtype == np.float64 else array.astype(np.float32)
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind == "V":  # bfloat16 and the like
        return array.astype(np.float32)
    raise ModelFileError(f"a tensor of dtype {array.dtype}", where=where, expected="numbers")
