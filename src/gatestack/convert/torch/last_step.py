"""Recurrent layers of which the last step alone is read, as layers that give the last step alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gatestack.convert.layers import RecurrentLayer, Take
from gatestack.convert.ports import Node

__all__ = ["with_last_steps"]


def with_last_steps(nodes: Sequence[Node], outputs: Sequence[str]) -> tuple[list[Node], list[str]]:
    """Put a layer that gives its last step in the place of a layer and of `y[:, -1]` behind it.

    Keras has no node for the second, and other steps need not be kept. In one direction, without lengths,
    both are the same number to the bit.

    Args:
        nodes: of a network.
        outputs: of the network.

    Returns:
        The nodes, without those whose work is done by others, and the outputs.
    """
    uses = Counter([*outputs, *(name for node in nodes for name in node.inputs)])
    shared = Counter(id(node.layer) for node in nodes)
    by_name = {node.name: node for node in nodes}
    ended: dict[str, str] = {}  # name of a layer to that of the node which takes its last step
    for node in nodes:
        below = by_name.get(node.inputs[0]) if node.inputs else None
        if isinstance(node.layer, Take) and below is not None and isinstance(below.layer, RecurrentLayer):
            options, last = below.layer.options, node.layer.options
            plain = options.return_sequences and not options.reversed and not options.takes_lengths
            alone = uses[below.name] == 1 and shared[id(below.layer)] == 1
            if plain and alone and (last.axis, last.index) == (1, -1):
                ended[below.name] = node.name
    taken = {end: name for name, end in ended.items()}
    found = []
    for node in nodes:
        if node.name in taken:
            continue
        inputs = tuple(taken.get(name, name) for name in node.inputs)
        layer = node.layer
        if node.name in ended and isinstance(layer, RecurrentLayer):
            layer = _ending(layer)
        found.append(Node(node.name, layer, inputs))
    return found, [taken.get(name, name) for name in outputs]


def _ending(layer: RecurrentLayer) -> RecurrentLayer:
    options = layer.options.model_copy(update={"return_sequences": False})
    made = RecurrentLayer(options).to(next(layer.parameters()).dtype)
    made.load_state_dict(layer.state_dict())
    for ours, theirs in zip(made.parameters(), layer.parameters(), strict=True):
        ours.requires_grad_(theirs.requires_grad)
    return made
