"""A network in the forms that other libraries have as well: translations of graphs are wordier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

from gatestack.convert.layers import (
    BidirectionalLayer,
    Concatenate,
    MeanOverTime,
    MeanOverTimeOptions,
    NetworkLayer,
    Pool,
    RecurrentLayer,
    Take,
)
from gatestack.convert.layers.made import layer_from_data
from gatestack.convert.network import Network
from gatestack.convert.ports import Node

__all__ = ["in_usual_forms"]

_Made = TypeVar("_Made", bound=Network)


def in_usual_forms(network: _Made) -> _Made:
    """Say by options of layers over time what nodes behind them say.

    Two directions that are put side by side become a layer with merge="concat"; the last step of a forward
    layer becomes one without `return_sequences`; the mean of its steps a mean over time; final states that
    nobody reads are not given. Numbers stay the same.

    Args:
        network: without masks, as graphs of ONNX are.

    Returns:
        A network of the same inputs and outputs.

    Example:
        >>> from gatestack.convert import Port
        >>> from gatestack.convert.layers import RecurrentOptions, TakeOptions
        >>> layer = RecurrentLayer(RecurrentOptions(cell="gru", input_size=3, hidden_size=4))
        >>> nodes = [Node("gru", layer, ("x",)), Node("last", Take(TakeOptions(axis=1)), ("gru",))]
        >>> found = in_usual_forms(Network([Port("x", (None, 3))], nodes, ["last"]))
        >>> [node.name for node in found.nodes], found.nodes[0].layer.options.return_sequences
        (['gru'], False)
    """
    readers: dict[str, list[Node]] = {}
    for node in network.nodes:
        for source in node.inputs:
            readers.setdefault(source, []).append(node)
    outputs = set(network.outputs)
    shared = Counter(id(node.layer) for node in network.nodes)
    renamed: dict[str, str] = {}
    nodes: list[Node] = []
    for old in network.nodes:
        if old.name in renamed:
            continue
        inputs = tuple(renamed.get(source, source) for source in old.inputs)
        layer = old.layer
        if isinstance(layer, RecurrentLayer | BidirectionalLayer) and shared[id(layer)] == 1:
            layer, told = _formed(old.name, layer, readers, outputs)
            renamed |= told
        elif isinstance(layer, Pool) and _is_over_time(layer, inputs, nodes):
            layer = MeanOverTime(MeanOverTimeOptions(keep=layer.options.keep))
        nodes.append(Node(old.name, layer, inputs))
    ends = [renamed.get(source, source) for source in network.outputs]
    return type(network)(network.inputs, nodes, ends, name=network.name)


def _formed(
    name: str, layer: RecurrentLayer | BidirectionalLayer, readers: dict[str, list[Node]], outputs: set[str]
) -> tuple[NetworkLayer, dict[str, str]]:
    """Give the layer with what follows it as its options, and which sources have another name then."""
    options = layer.options
    both = isinstance(layer, BidirectionalLayer)
    one = options.forward if both else options
    changes: dict[str, Any] = {}
    renamed: dict[str, str] = {}
    shown = [name, f"{name}:1"] if both and options.merge == "none" else [name]
    after = _only_reader(shown, readers, outputs)
    if both and options.merge == "none" and after is not None and _is_side_by_side(after, shown, one):
        changes["merge"] = "concat"
        renamed = {f"{name}:{k}": f"{name}:{k - 1}" for k in range(2, layer.outputs)} | {after.name: name}
    elif not both and after is not None and _is_last_step(after) and not (one.reversed or one.takes_lengths):
        changes["return_sequences"] = False
        renamed = {after.name: name}
    states = [f"{name}:{k}" for k in range(len(shown), layer.outputs)]
    if one.return_state and not any(state in readers or state in outputs for state in states):
        changes["return_state"] = False
        renamed = {source: new for source, new in renamed.items() if source not in states}
    return (_changed(layer, changes) if changes else layer), renamed


def _only_reader(sources: Sequence[str], readers: dict[str, list[Node]], outputs: set[str]) -> Node | None:
    """Give the one node that reads these values, if nothing else does."""
    found = {id(node): node for source in sources for node in readers.get(source, [])}
    if len(found) != 1 or any(source in outputs for source in sources):
        return None
    return next(iter(found.values()))


def _is_side_by_side(node: Node, shown: Sequence[str], one: Any) -> bool:
    axis = 2 if one.return_sequences else 1
    joined = isinstance(node.layer, Concatenate) and node.layer.options.axis in (axis, -1)
    return joined and list(node.inputs) == list(shown)


def _is_last_step(node: Node) -> bool:
    return isinstance(node.layer, Take) and (node.layer.options.axis, node.layer.options.index) == (1, -1)


def _is_over_time(layer: Pool, inputs: Sequence[str], nodes: Sequence[Node]) -> bool:
    """Whether it is the mean of the steps of a layer over time, whose output has three axes."""
    if (layer.options.operation, tuple(layer.options.axes)) != ("mean", (1,)):
        return False
    before = next((node.layer for node in nodes if node.name == inputs[0]), None)
    if isinstance(before, BidirectionalLayer):
        return bool(before.options.forward.return_sequences)
    return isinstance(before, RecurrentLayer) and bool(before.options.return_sequences)


def _changed(layer: RecurrentLayer | BidirectionalLayer, changes: dict[str, Any]) -> NetworkLayer:
    """Make the layer with other options and the same weights."""
    options = layer.options.model_dump()
    if isinstance(layer, BidirectionalLayer):
        merge = changes.pop("merge", options["merge"])
        parts = {name: options[name] | changes for name in ("forward", "backward")}
        options = {**parts, "merge": merge}
    else:
        options |= changes
    made = layer_from_data(layer.kind, options)
    made.load_state_dict(layer.state_dict())
    return made.train(layer.training)
