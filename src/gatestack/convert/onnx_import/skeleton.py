"""The form of an ONNX graph without its names and weights: two graphs that compute alike have the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatestack.convert.onnx.assemble import need_onnx

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

__all__ = ["Skeleton", "skeleton_of"]

Array = npt.NDArray[Any]


@dataclass
class Skeleton:
    """A graph as a list of what stands in it.

    Args:
        parts: operators with their attributes, inputs and outputs; values by number, in the order in which
            they come up; a weight by its shape.
        weights: what stands at each place of a weight, in order; one that is read twice stands there twice.
    """

    parts: list[Any] = field(default_factory=list)
    weights: list[Array] = field(default_factory=list)


def skeleton_of(model: ModelProto) -> Skeleton:
    """Take the form of a graph and its weights apart.

    Weights of eight bits count as the numbers that they stand for.

    Args:
        model: checked.

    Example:
        >>> from gatestack.convert.onnx.builder import GraphBuilder
        >>> b = GraphBuilder()
        >>> b.output(b.op("Neg", b.input("x", "float32", ("batch",))), "y", ("batch",))
        >>> [part[0] for part in skeleton_of(b.model()).parts]
        ['input', 'Neg', 'Identity', 'output']
    """
    numpy_helper = need_onnx("onnx.numpy_helper")
    tensors = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    gone = _widened(model.graph, tensors)
    found = Skeleton()
    _walk(model.graph, tensors, gone, {}, found)
    return found


def _walk(
    graph: GraphProto, tensors: dict[str, Array], gone: set[int], numbers: dict[str, int], found: Skeleton
) -> None:
    inside = bool(numbers)
    for one in graph.input:
        numbers[one.name] = len(numbers)
        found.parts.append(("input", "" if inside else one.SerializeToString(deterministic=True)))
    for place, node in enumerate(graph.node):
        if not inside and place in gone:
            continue
        inputs = [_seen(name, tensors, numbers, found) for name in node.input]
        found.parts.append((node.op_type, node.domain, inputs, len(node.output)))
        _attributes(node, tensors, numbers, found)
        for name in node.output:
            numbers[name] = len(numbers)
    for one in graph.output:
        found.parts.append(("output", "" if inside else one.name, numbers.get(one.name)))


def _attributes(node: NodeProto, tensors: dict[str, Array], numbers: dict[str, int], found: Skeleton) -> None:
    for attribute in sorted(node.attribute, key=lambda one: str(one.name)):
        if attribute.HasField("g"):
            found.parts.append(("body", attribute.name))
            _walk(attribute.g, tensors, set(), numbers, found)
        else:
            found.parts.append((attribute.name, attribute.SerializeToString(deterministic=True)))


def _seen(name: str, tensors: dict[str, Array], numbers: dict[str, int], found: Skeleton) -> Any:
    if name in numbers:
        return numbers[name]
    if name not in tensors:
        return name  # left out: ""
    found.weights.append(tensors[name])
    return tensors[name].shape, str(tensors[name].dtype)


def _widened(graph: GraphProto, tensors: dict[str, Array]) -> set[int]:
    """Compute what becomes of weights of eight bits, and say which nodes did so."""
    made: set[str] = set()
    gone = set()
    for place, node in enumerate(graph.node):
        first = node.input[0] if node.input else ""
        given = [tensors.get(name) for name in node.input]
        if (
            node.op_type == "DequantizeLinear"
            and len(given) == 2
            and first in tensors
            and given[1] is not None
        ):
            scale = given[1].reshape(-1, *[1] * (tensors[first].ndim - 1))
            array = tensors[first].astype(np.float32) * scale
        elif node.op_type == "Reshape" and first in made and given[1] is not None:
            array = tensors[first].reshape(given[1].tolist())
        elif node.op_type == "Transpose" and first in made:
            array = tensors[first].T
        else:
            continue
        tensors[node.output[0]] = array
        made.add(node.output[0])
        gone.add(place)
    return gone
