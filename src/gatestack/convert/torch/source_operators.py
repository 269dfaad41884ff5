"""Operators of ONNX as lines of Python: those that trees of torch come with.

Sizes are tuples of Python there, so that a shape is computed as people write it.
"""

from __future__ import annotations

from collections.abc import Callable

from gatestack.convert.layers import Operator
from gatestack.convert.ports import Node
from gatestack.convert.torch.source import SourceWriter
from gatestack.errors import nearest_name

__all__ = ["write_operator"]

Write = Callable[[SourceWriter, Node], str]

_SIZES = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "//"}
_BETWEEN = {
    "Equal": "==", "Greater": ">", "GreaterOrEqual": ">=", "Less": "<", "LessOrEqual": "<=", "And": "&",
    "Or": "|", "Mod": "%",
}  # fmt: skip
_TYPES = {1: "float", 6: "int", 7: "long", 9: "bool", 11: "double"}


def write_operator(writer: SourceWriter, node: Node) -> None:
    """Write an operator.

    Args:
        writer: of the source.
        node: whose layer is an `Operator`.

    Raises:
        ArgumentError: an operator that trees of torch do not come with.
    """
    layer = node.layer
    if not isinstance(layer, Operator):
        raise TypeError("a layer of the kind operator")
    name, attributes = layer.options.operator, layer.options.attributes
    if layer.options.missing or layer.options.outputs != 1:
        raise writer.refuse(node, f"{name} with inputs left out, or several outputs")
    if name in _SIZES:
        (a, *_), (b, *_) = (writer.sizes(one) for one in node.inputs)
        writer.stand_for_sizes(node.name, [f"({a} {_SIZES[name]} {b})"])
    elif name == "Shape":
        x = writer.value(node.inputs[0])
        places = range(_whole(writer, node, "start"), _whole(writer, node, "end"))
        writer.stand_for_sizes(node.name, [f"{x}.shape[{place}]" for place in places])
    elif name == "Concat" and attributes.get("axis") == 0:
        writer.stand_for_sizes(node.name, [size for one in node.inputs for size in writer.sizes(one)])
    elif name in _BETWEEN:
        a, b = (writer.operand(one) for one in node.inputs)
        writer.give(node.name, f"{a} {_BETWEEN[name]} {b}")
    elif name in _WRITTEN:
        writer.give(node.name, _WRITTEN[name](writer, node))
    else:
        known = [*_SIZES, "Shape", "Concat", *_BETWEEN, *_WRITTEN]
        raise writer.refuse(node, f"the operator {name}", nearest_name(name, known))


def _whole(writer: SourceWriter, node: Node, name: str) -> int:
    """Give an attribute that must be a whole number: nothing else of it may get into the source."""
    value = node.layer.options.attributes.get(name)
    if not isinstance(value, int):
        raise writer.refuse(node, f"the attribute {name} is of type {type(value).__name__}")
    return int(value)


def _cast(writer: SourceWriter, node: Node) -> str:
    to = _whole(writer, node, "to")
    if to not in _TYPES:
        raise writer.refuse(node, f"a cast to type {to}")
    x = writer.value(node.inputs[0])
    # A size is a number of Python, which becomes what it meets.
    return x if writer.is_size(node.inputs[0]) else f"{x}.{_TYPES[to]}()"


def _cast_like(writer: SourceWriter, node: Node) -> str:
    x, like = (writer.value(one) for one in node.inputs)
    return f"{x}.to({like}.dtype)"


def _clip(writer: SourceWriter, node: Node) -> str:
    x, low, high = node.inputs
    return f"{writer.value(x)}.clamp({writer.operand(low)}, {writer.operand(high)})"


def _where(writer: SourceWriter, node: Node) -> str:
    condition, a, b = node.inputs
    return f"torch.where({writer.value(condition)}, {writer.operand(a)}, {writer.operand(b)})"


def _sized(method: str) -> Write:
    def write(writer: SourceWriter, node: Node) -> str:
        x, sizes = node.inputs
        return f"{writer.value(x)}.{method}({', '.join(writer.sizes(sizes))})"

    return write


def _expand(writer: SourceWriter, node: Node) -> str:
    x, sizes = node.inputs
    # ONNX has 1 where torch has -1: the axis stays as it is.
    shape = ["-1" if size == "1" else size for size in writer.sizes(sizes)]
    return f"{writer.value(x)}.expand({', '.join(shape)})"


def _slice(writer: SourceWriter, node: Node) -> str:
    x, *bounds = node.inputs
    (first, *_), (last, *_), (axis, *_) = (writer.sizes(one) for one in bounds)
    if not axis.isdecimal():
        raise writer.refuse(node, "a slice of an axis that is not fixed")
    return f"{writer.value(x)}[{':, ' * int(axis)}{first}:{last}]"


def _reduced(writer: SourceWriter, node: Node) -> str:
    if node.layer.options.attributes.get("axes") or len(node.inputs) > 1:
        raise writer.refuse(node, "ReduceMax over some axes")
    return f"{writer.value(node.inputs[0])}.max()"


def _gather(writer: SourceWriter, node: Node) -> str:
    x, places = (writer.value(one) for one in node.inputs)
    axis = _whole(writer, node, "axis")
    return f"{x}.gather({axis}, {places} % {x}.shape[{axis}])"


def _argmax(writer: SourceWriter, node: Node) -> str:
    axis, keep = _whole(writer, node, "axis"), bool(_whole(writer, node, "keepdims"))
    return f"{writer.value(node.inputs[0])}.argmax(dim={axis}, keepdim={keep})"


def _cumsum(writer: SourceWriter, node: Node) -> str:
    x, axis = node.inputs
    return f"{writer.value(x)}.cumsum({writer.sizes(axis)[0]})"


def _zeros(writer: SourceWriter, node: Node) -> str:
    if node.layer.options.attributes.get("value", 0.0) != 0:
        raise writer.refuse(node, "ConstantOfShape of another number than 0")
    return f"torch.zeros({', '.join(writer.sizes(node.inputs[0]))})"


def _not(writer: SourceWriter, node: Node) -> str:
    return f"~{writer.value(node.inputs[0])}"


_WRITTEN: dict[str, Write] = {
    "ArgMax": _argmax,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Clip": _clip,
    "ConstantOfShape": _zeros,
    "CumSum": _cumsum,
    "Expand": _expand,
    "GatherElements": _gather,
    "Not": _not,
    "ReduceMax": _reduced,
    "Reshape": _sized("reshape"),
    "Slice": _slice,
    "Tile": _sized("repeat"),
    "Where": _where,
}
