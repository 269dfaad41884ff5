"""Stacks: one layer after the other."""

from __future__ import annotations

from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.convert.onnx.dispatch import LeafTree, StateValues, emit_layer, state_leaves, suffixed
from gatestack.convert.onnx.ragged import Ragged
from gatestack.nn.stack import Stack

__all__: list[str] = []


@emit_layer.register(Stack)
def _(
    layer: Stack, b: GraphBuilder, x: Value, ragged: Ragged, state: StateValues
) -> tuple[Value, StateValues]:
    finals = []
    y = x
    for number, one in enumerate(layer.layers):
        given = state[number] if isinstance(state, tuple) else None
        with b.scope(f"l{number}"):
            above, final = emit_layer(one, b, y, ragged, given)
            if layer.residual and number > 0:
                shown = y if one.return_sequences else ragged.last(b, y)
                above = b.op("Add", above, shown)
        finals.append(final)
        y = above
    return y, tuple(finals)


@state_leaves.register(Stack)
def _(layer: Stack) -> LeafTree:
    return tuple(suffixed(state_leaves(one), f"_l{number}") for number, one in enumerate(layer.layers))
