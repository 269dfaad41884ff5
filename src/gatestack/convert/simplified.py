"""A network without the moves that undo each other, which translations between layouts leave."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

from gatestack.convert.layers import (
    Concatenate,
    ConcatenateOptions,
    Permute,
    PermuteOptions,
    Reshape,
    Squeeze,
    Stacked,
    Take,
    TakeOptions,
    Unsqueeze,
)
from gatestack.convert.network import Network
from gatestack.convert.ports import Node

__all__ = ["simplified"]

_Made = TypeVar("_Made", bound=Network)


def simplified(network: _Made) -> _Made:
    """Take out of a network what has no effect.

    Two permutations become one, or none; an axis that is added and taken away again, a tensor that is put
    into a stack and taken out again, and nodes that nobody reads go. Numbers stay the same, to the bit.

    Args:
        network: with the layers themselves of which the other is made.

    Returns:
        A network of the same inputs and outputs.

    Example:
        >>> from gatestack.convert import Node, Port
        >>> turn = [Permute(PermuteOptions(axes=(1, 0))) for _ in range(2)]
        >>> nodes = [Node("a", turn[0], ("x",)), Node("b", turn[1], ("a",)), Node("c", turn[1], ("b",))]
        >>> [node.name for node in simplified(Network([Port("x", (3,))], nodes, ["c"])).nodes]
        ['c']
    """
    nodes = list(network.nodes)
    outputs = list(network.outputs)
    while True:
        by_name = {node.name: node for node in nodes}
        renamed: dict[str, str] = {}
        found: list[Node] = []
        for old in nodes:
            node = Node(old.name, old.layer, tuple(renamed.get(name, name) for name in old.inputs))
            shorter = _shorter(node, by_name)
            if isinstance(shorter, str):
                renamed[node.name] = shorter
                by_name[node.name] = by_name.get(shorter, node)
            else:
                found += shorter
                by_name |= {one.name: one for one in shorter}
        outputs = [renamed.get(name, name) for name in outputs]
        found = _read_ones(found, outputs)
        if [(a.name, a.inputs) for a in found] == [(b.name, b.inputs) for b in nodes]:
            return _with_names(network, found, outputs)
        nodes = found


def _shorter(node: Node, by_name: dict[str, Node]) -> list[Node] | str:
    """Give the node, or nodes that do the same with fewer before them, or the name of what it gives."""
    if len(node.inputs) != 1:
        return [node]
    layer = node.layer
    before = by_name.get(node.inputs[0])
    if isinstance(layer, Permute) and layer.options.axes == tuple(range(len(layer.options.axes))):
        return node.inputs[0]
    if before is None:
        return [node]
    last = before.layer
    if isinstance(layer, Permute) and isinstance(last, Permute):
        axes = tuple(last.options.axes[axis] for axis in layer.options.axes)
        return [Node(node.name, Permute(PermuteOptions(axes=axes)), before.inputs)]
    if isinstance(layer, Squeeze) and isinstance(last, Unsqueeze) and layer.options.axes == last.options.axes:
        return before.inputs[0]
    if isinstance(layer, Take) and isinstance(last, Stacked):
        index, count = layer.options.index, len(before.inputs)
        if layer.options.axis == last.options.axis and -count <= index < count:
            return str(before.inputs[index])
    if isinstance(layer, Take) and isinstance(last, Permute):
        return [_taken_before(node, layer, before, last)]
    if isinstance(layer, Take) and isinstance(last, Concatenate):
        return _taken_part(node, layer, before, by_name)
    if isinstance(layer, Reshape) and isinstance(last, Permute):
        return _side_by_side(node, layer, before, by_name)
    return [node]


def _taken_part(node: Node, layer: Take, before: Node, by_name: dict[str, Node]) -> list[Node] | str:
    """Take one of the tensors that stacks, one after another, hold along their axis."""
    axis = layer.options.axis
    parts = [by_name.get(name) for name in before.inputs]
    stacks = [one for one in parts if one is not None and isinstance(one.layer, Stacked)]
    same = all(one.layer.options.axis == axis for one in stacks)
    if len(stacks) != len(parts) or not same or before.layer.options.axis != axis:
        return [node]
    held = [name for one in stacks for name in one.inputs]
    index = layer.options.index
    return held[index] if -len(held) <= index < len(held) else [node]


def _side_by_side(node: Node, layer: Reshape, before: Node, by_name: dict[str, Node]) -> list[Node]:
    """Put sequences (N, T, H) side by side that were stacked, turned and flattened."""
    stack = by_name.get(before.inputs[0])
    if stack is None or not isinstance(stack.layer, Stacked) or stack.layer.options.axis != 0:
        return [node]
    axes = tuple(before.layer.options.axes)
    if tuple(layer.options.shape) != (0, 0, -1) or axes not in ((1, 2, 0, 3), (2, 1, 0, 3)):
        return [node]
    joined = Node(f"{node.name}.joined", Concatenate(ConcatenateOptions(axis=2)), stack.inputs)
    turned = Permute(PermuteOptions(axes=(axes[0] - 1, axes[1] - 1, 2)))
    return [joined, Node(node.name, turned, (joined.name,))]


def _taken_before(node: Node, layer: Take, before: Node, last: Permute) -> Node:
    """Take from what is permuted, where what is left has the same order."""
    axes, axis = last.options.axes, layer.options.axis
    axis = axis % len(axes)
    left = [one for place, one in enumerate(axes) if place != axis]
    if left != sorted(left):
        return node
    take = Take(TakeOptions(axis=axes[axis], index=layer.options.index))
    return Node(node.name, take, before.inputs)


def _read_ones(nodes: list[Node], outputs: list[str]) -> list[Node]:
    """Leave out what nobody reads."""
    names = {node.name for node in nodes}
    read: Counter[str] = Counter(_owner(name, names) for name in outputs)
    kept = []
    for node in reversed(nodes):
        if read[node.name]:
            read.update(_owner(name, names) for name in node.inputs)
            kept.append(node)
    return kept[::-1]


def _owner(name: str, names: set[str]) -> str:
    return name if name in names else name.rpartition(":")[0] or name


def _with_names(network: _Made, nodes: list[Node], outputs: list[str]) -> _Made:
    return type(network)(network.inputs, nodes, outputs, name=network.name)
