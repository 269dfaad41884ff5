"""Recurrent layers of a network as modules of torch; layers of one size on top of each other become one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gatestack.convert.layers import (
    BidirectionalLayer,
    Dropout,
    Operator,
    RecurrentLayer,
    RecurrentOptions,
    Take,
)
from gatestack.convert.layers.bidirectional import directions
from gatestack.convert.ports import Node
from gatestack.convert.torch.source import SourceWriter, tuple_of

__all__ = ["Group", "grouped", "write_group"]

_CLASSES = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}


@dataclass
class Group:
    """Layers that one module of torch computes.

    Args:
        nodes: the recurrent layers, the lowest first.
        dropouts: names of the nodes between them that the module does itself.
        rate: of these.
    """

    nodes: list[Node]
    dropouts: list[str]
    rate: float = 0.0

    @property
    def options(self) -> list[RecurrentOptions]:
        """Of the forward layers."""
        return [_forward(node.layer) for node in self.nodes]


def grouped(writer: SourceWriter) -> list[Group]:
    """Find which recurrent layers can be one module: equal cells, each read by the next alone.

    Args:
        writer: of the network.
    """
    nodes = [node for node in writer.network.nodes if _is_recurrent(node)]
    layers = [id(node.layer) for node in nodes]
    groups: list[Group] = []
    for node in nodes:
        between = _joined(writer, groups[-1], node) if groups and layers.count(id(node.layer)) == 1 else None
        if between is None:
            groups.append(Group([node], []))
            continue
        group = groups[-1]
        group.nodes.append(node)
        if between:
            group.dropouts.append(between[0].name)
            group.rate = between[0].layer.options.rate
    return groups


def write_group(writer: SourceWriter, group: Group) -> None:
    """Write the module of a group, its call, and what is read of what it gives.

    Raises:
        ArgumentError: torch's modules do not compute such a layer.
    """
    first, last = group.nodes[0], group.nodes[-1]
    for node in group.nodes:
        _check(writer, node)
    both = isinstance(first.layer, BidirectionalLayer)
    called = writer.attribute(first, _constructed(group, both), _weights(group))
    options = group.options[0]
    turned = not both and options.reversed
    source = writer.value(first.inputs[0])
    given = _started(writer, group)
    x = f"{source}.flip(1)" if turned else source
    if options.takes_lengths:
        packed = writer.variable("packed")
        lengths = writer.value(first.inputs[1])
        writer.steps.append(
            f"{packed} = nn.utils.rnn.pack_padded_sequence({x}, {lengths}.cpu(), batch_first=True, "
            "enforce_sorted=False)"
        )
        x = packed
    name = re.sub(r"\.l\d+$", "", last.name)
    y = writer.variable(name)
    parts = 2 if options.cell == "lstm" else 1
    states = [writer.variable(f"{name}_{letter}") for letter in ("h", "c")[:parts]]
    taken = tuple_of(states) if parts == 2 else states[0]
    read = _reads_states(writer, group) or not group.options[-1].return_sequences
    writer.steps.append(f"{y}, {taken if read else '_'} = {called}({x}{given})")
    if options.takes_lengths:
        cut = _cut(writer, last)
        whole = "" if cut else f", total_length={source}.shape[1]"
        writer.steps.append(f"{y}, _ = nn.utils.rnn.pad_packed_sequence({y}, batch_first=True{whole})")
        for one in cut:
            writer.stand_for(one, y)
    if turned and options.reversed_output == "time" and options.return_sequences:
        writer.steps.append(f"{y} = {y}.flip(1)")
    _give_outputs(writer, group, y, states, both)


def _is_recurrent(node: Node) -> bool:
    return isinstance(node.layer, RecurrentLayer | BidirectionalLayer)


def _forward(layer: Any) -> RecurrentOptions:
    options = layer.options.forward if isinstance(layer, BidirectionalLayer) else layer.options
    if not isinstance(options, RecurrentOptions):
        raise TypeError("a recurrent layer")
    return options


def _joined(writer: SourceWriter, group: Group, node: Node) -> list[Node] | None:
    """Give the dropout between a group and a node that goes on top of it, if any; None where it cannot."""
    below = group.nodes[-1]
    by_name = {one.name: one for one in writer.network.nodes}
    places = {one.name: number for number, one in enumerate(writer.network.nodes)}
    source = node.inputs[0]
    between = [by_name[source]] if source in by_name and isinstance(by_name[source].layer, Dropout) else []
    if between:
        source = between[0].inputs[0]
    if source != below.name or type(node.layer) is not type(below.layer):
        return None
    alone = writer.uses[below.name] == 1 and all(writer.uses[one.name] == 1 for one in between)
    rate = between[0].layer.options.rate if between else 0.0
    same_drops = len(group.nodes) == 1 or rate == group.rate
    plain = not between or not between[0].layer.options.same_over_time
    # What reads a state of the lower layer comes after the module has run.
    early = [
        one
        for one in writer.network.nodes[places[below.name] : places[node.name] + 1]
        if any(
            name.rpartition(":")[0] == group_node.name for name in one.inputs for group_node in group.nodes
        )
    ]
    if not (alone and same_drops and plain) or early or not _fit(below, node):
        return None
    return between


def _fit(below: Node, node: Node) -> bool:
    lower, upper = _forward(below.layer), _forward(node.layer)
    width = lower.output_size * (2 if isinstance(node.layer, BidirectionalLayer) else 1)
    same = {"input_size": lower.input_size, "return_sequences": True, "return_state": lower.return_state}
    merges = [getattr(one.layer.options, "merge", "concat") for one in (below, node)]
    starts = [len(one.inputs) > 1 + lower.takes_lengths for one in (below, node)]
    return (
        upper.model_copy(update=same) == lower
        and upper.input_size == width
        and merges == ["concat", "concat"]
        and not lower.reversed
        and starts[0] == starts[1]
        and (not lower.takes_lengths or below.inputs[1] == node.inputs[1])
    )


def _check(writer: SourceWriter, node: Node) -> None:
    """Refuse a layer that torch's modules do not compute."""
    options = _forward(node.layer)
    layer = node.layer
    if isinstance(layer, BidirectionalLayer):
        back = layer.options.backward
        same = {"reversed": True, "reversed_output": back.reversed_output}
        if options.model_copy(update=same) != back:
            raise writer.refuse(node, "its directions differ, and torch's have one size and one cell")
    problems = {
        f"activation {options.activation} and gates of {options.gate_activation}": not options.plain,
        "peepholes": options.peepholes,
        "a GRU that resets before the product": options.reset == "before",
        "a state that is kept between calls": options.stateful,
        "dropout of inputs or of the state over time": bool(
            options.input_dropout or options.recurrent_dropout
        ),
        "a reversed layer with lengths": options.reversed and options.takes_lengths,
    }
    for what, there in problems.items():
        if there:
            raise writer.refuse(node, what)


def _constructed(group: Group, both: bool) -> str:
    options = group.options[0]
    arguments = [str(options.input_size), str(options.hidden_size)]
    if len(group.nodes) > 1:
        arguments.append(f"num_layers={len(group.nodes)}")
    if options.cell == "rnn" and options.activation == "relu":
        arguments.append('nonlinearity="relu"')
    if not options.bias:
        arguments.append("bias=False")
    arguments.append("batch_first=True")
    if group.rate:
        arguments.append(f"dropout={group.rate}")
    if both:
        arguments.append("bidirectional=True")
    if options.projection_size:
        arguments.append(f"proj_size={options.projection_size}")
    return f"nn.{_CLASSES[options.cell]}({', '.join(arguments)})"


def _weights(group: Group) -> dict[str, Tensor]:
    """Give the weights of all layers by torch's names."""
    found: dict[str, Tensor] = {}
    for number, node in enumerate(group.nodes):
        layer: Any = node.layer
        for core, suffix in directions(layer):
            for name, tensor in core.weights.state_dict(keep_vars=True).items():
                if group.options[0].bias or not name.startswith("bias"):
                    found[f"{name.removesuffix('_l0')}_l{number}{suffix}"] = tensor
    return found


def _started(writer: SourceWriter, group: Group) -> str:
    """Give the argument of the state to start from."""
    options = group.options[0]
    skipped = 1 + options.takes_lengths
    states = [writer.value(name) for node in group.nodes for name in node.inputs[skipped:]]
    if not states:
        return ""
    parts = 2 if options.cell == "lstm" else 1
    taken = [name for node in group.nodes for name in node.inputs[skipped:]]
    stacked = [
        _whole_state(writer, taken[part::parts]) or f"torch.stack({tuple_of(states[part::parts])})"
        for part in range(parts)
    ]
    return ", " + (tuple_of(stacked) if parts == 2 else stacked[0])


def _whole_state(writer: SourceWriter, names: list[str]) -> str | None:
    """Give the input of the network of which these are all the parts, in order."""
    nodes = [writer.node_of(name) for name in names]
    sources = {node.inputs for node in nodes if node is not None and isinstance(node.layer, Take)}
    wanted = [(0, place) for place in range(len(names))]
    if None in nodes or len(sources) != 1:
        return None
    if [(n.layer.options.axis, n.layer.options.index) for n in nodes if n is not None] != wanted:
        return None
    (source,) = sources.pop()
    ports = [port for port in writer.network.inputs if port.name == source]
    whole = ports and ports[0].batch_axis == 1 and ports[0].shape[:1] == (len(names),)
    return writer.value(source) if whole else None


def _cut(writer: SourceWriter, last: Node) -> list[str]:
    """Give the nodes that cut the output to its longest row, if nothing else reads it: torch cuts too."""
    readers = [one for one in writer.network.nodes if last.name in one.inputs]
    for one in readers:
        layer = one.layer
        longest = writer.node_of(one.inputs[2]) if len(one.inputs) == 4 else None
        if not isinstance(layer, Operator) or layer.options.operator != "Slice" or longest is None:
            return []
        if not isinstance(longest.layer, Operator) or longest.layer.options.operator != "ReduceMax":
            return []
        if longest.inputs != (last.inputs[1],) or writer.sizes(one.inputs[3]) != ["1"]:
            return []
    return [one.name for one in readers] if last.name not in writer.network.outputs else []


def _reads_states(writer: SourceWriter, group: Group) -> bool:
    return any(
        writer.uses[f"{node.name}:{number}"]
        for node in group.nodes
        for number in range(1, node.layer.outputs)
    )


def _give_outputs(writer: SourceWriter, group: Group, y: str, states: list[str], both: bool) -> None:
    last = group.nodes[-1]
    directions = 2 if both else 1
    merge = getattr(last.layer.options, "merge", "concat")
    if not group.options[-1].return_sequences:
        ends = [f"{states[0]}[{place - directions}]" for place in range(directions)]
    else:
        ends = [y] if merge == "concat" or not both else [f"{y}.chunk(2, dim=2)[{place}]" for place in (0, 1)]
    if merge == "none":
        writer.stand_for(last.name, ends[0])
        writer.stand_for(f"{last.name}:1", ends[1])
    elif len(ends) == 1:
        writer.stand_for(last.name, ends[0])
    else:
        joined = {
            "concat": f"torch.cat({tuple_of(ends)}, dim=-1)",
            "sum": " + ".join(ends),
            "mul": " * ".join(ends),
            "average": f"({' + '.join(ends)}) / 2",
        }[merge]
        writer.give(last.name, joined)
    writer.parts |= dict.fromkeys(states, len(group.nodes) * directions)
    first_state = 2 if merge == "none" and both else 1
    for number, node in enumerate(group.nodes):
        for direction in range(directions):
            for part, state in enumerate(states):
                place = first_state + direction * len(states) + part
                writer.stand_for(f"{node.name}:{place}", f"{state}[{number * directions + direction}]")
