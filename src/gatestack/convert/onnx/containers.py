"""Layers around layers: stacks, two directions, deep outputs, modules at each step."""

from __future__ import annotations

from torch import nn

from gatestack.convert.onnx.activations import activated
from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.convert.onnx.dispatch import LeafTree, Output, StateValues, emit_layer, state_leaves, suffixed
from gatestack.convert.onnx.loops import merged_two, turned
from gatestack.convert.onnx.modules import emit_module
from gatestack.convert.onnx.ragged import Ragged
from gatestack.convert.onnx.recurrent import cell_weights, emit_directions, recurrent_leaves
from gatestack.nn import Bidirectional, DeepOutput, PerStep, ShortcutStack, Stack, Stateful
from gatestack.nn.recurrent import Recurrent

__all__: list[str] = []


@emit_layer.register(Stack)
def _(
    layer: Stack, b: GraphBuilder, x: Value, ragged: Ragged, state: StateValues
) -> tuple[Output, StateValues]:
    finals = []
    y: Output = x
    for number, one in enumerate(layer.layers):
        below = _one(y)
        with b.scope(f"l{number}"):
            y, final = emit_layer(one, b, below, ragged, state[number] if isinstance(state, tuple) else None)
            if layer.residual and number > 0:
                shown = below if one.return_sequences else ragged.last(b, below)
                y = b.op("Add", _one(y), shown)
        finals.append(final)
    return y, tuple(finals)


@emit_layer.register(ShortcutStack)
def _(
    layer: ShortcutStack, b: GraphBuilder, x: Value, ragged: Ragged, state: StateValues
) -> tuple[Output, StateValues]:
    outputs: list[Value] = []
    finals = []
    for number, one in enumerate(layer.layers):
        fed = b.op("Concat", outputs[-1], x, axis=2) if outputs else x
        with b.scope(f"l{number}"):
            y, final = emit_layer(one, b, fed, ragged, state[number] if isinstance(state, tuple) else None)
        outputs.append(_one(y))
        finals.append(final)
    every = b.op("Concat", *outputs, axis=2)
    return (every if layer.return_sequences else ragged.last(b, every)), tuple(finals)


@state_leaves.register(Stack)
@state_leaves.register(ShortcutStack)
def _(layer: Stack | ShortcutStack) -> LeafTree:
    return tuple(suffixed(state_leaves(one), f"_l{number}") for number, one in enumerate(layer.layers))


@emit_layer.register(Bidirectional)
def _(
    layer: Bidirectional, b: GraphBuilder, x: Value, ragged: Ragged, state: StateValues
) -> tuple[Output, StateValues]:
    given = state if isinstance(state, tuple) else (None, None)
    ahead, back = layer.forward_layer, layer.reverse_layer
    if _is_plain(ahead, back) and state is not None:
        outputs, finals = _together(ahead, back, b, x, ragged, given)
    else:
        with b.scope("forward"):
            forward, forward_state = emit_layer(ahead, b, x, ragged, given[0])
        with b.scope("reverse"):
            reverse, reverse_state = emit_layer(back, b, turned(b, x, ragged), ragged, given[1])
            if layer.return_sequences:
                reverse = turned(b, _one(reverse), ragged)
        outputs, finals = (_one(forward), _one(reverse)), (forward_state, reverse_state)
    if layer.merge is None:
        return outputs, finals
    return merged_two(b, *outputs, layer.merge, axis=2 if layer.return_sequences else 1), finals


@state_leaves.register(Bidirectional)
def _(layer: Bidirectional) -> LeafTree:
    return state_leaves(layer.forward_layer), suffixed(state_leaves(layer.reverse_layer), "_reverse")


def _is_plain(ahead: nn.Module, back: nn.Module) -> bool:
    """Whether one operator of ONNX can be both directions."""
    if not isinstance(ahead, Recurrent) or not isinstance(back, Recurrent):
        return False
    return not ahead.bidirectional and not back.bidirectional and ahead.spec == back.spec


def _together(
    ahead: nn.Module,
    back: nn.Module,
    b: GraphBuilder,
    x: Value,
    ragged: Ragged,
    given: tuple[StateValues, ...],
) -> tuple[tuple[Value, Value], StateValues]:
    if not isinstance(ahead, Recurrent) or not isinstance(back, Recurrent):
        raise RuntimeError("two layers of one operator are recurrent layers")
    parts = [part if isinstance(part, tuple) else (part,) for part in given]
    start = tuple(b.op("Concat", *map(_one, pair), axis=0) for pair in zip(*parts, strict=True))
    y, final = emit_directions(b, cell_weights(ahead) + cell_weights(back), x, ragged, start)
    ends = [b.ops("Split", part, b.ints(1, 1), outputs=2, axis=0) for part in final]
    if ahead.return_sequences:
        halves = b.ops("Split", y, b.ints(1, 1), outputs=2, axis=2)  # (N, T, D, P)
        outputs = tuple(b.op("Squeeze", half, b.ints(2)) for half in halves)
    else:
        outputs = tuple(b.op("Squeeze", half, b.ints(0)) for half in ends[0])
    single = not isinstance(recurrent_leaves(ahead), tuple)
    finals = tuple(ends[0][side] if single else tuple(end[side] for end in ends) for side in range(2))
    return (outputs[0], outputs[1]), finals


@emit_layer.register(DeepOutput)
def _(
    layer: DeepOutput, b: GraphBuilder, x: Value, ragged: Ragged, state: StateValues
) -> tuple[Output, StateValues]:
    y, final = emit_layer(layer.layer, b, x, ragged, state)
    shown = _one(y)
    for number, linear in enumerate(layer.network):
        with b.scope(f"output{number}"):
            shown = emit_module(linear, b, activated(b, layer.activation, shown) if number else shown)
    return (ragged.zeroed(b, shown) if layer.return_sequences else shown), final


@state_leaves.register(DeepOutput)
@state_leaves.register(Stateful)
def _(layer: DeepOutput | Stateful) -> LeafTree:
    return state_leaves(layer.layer)


@emit_layer.register(Stateful)
def _(
    layer: Stateful, b: GraphBuilder, x: Value, ragged: Ragged, state: StateValues
) -> tuple[Output, StateValues]:
    return emit_layer(layer.layer, b, x, ragged, state)


@emit_layer.register(PerStep)
def _(
    layer: PerStep,
    b: GraphBuilder,
    x: Value,
    ragged: Ragged,
    state: StateValues,  # noqa: ARG001 (it has none)
) -> tuple[Output, StateValues]:
    rows = b.op("Reshape", x, b.op("Concat", b.ints(-1), b.op("Shape", x, start=2), axis=0))
    y = emit_module(layer.module, b, rows)
    shape = b.op("Concat", b.op("Shape", x, start=0, end=2), b.op("Shape", y, start=1), axis=0)
    return ragged.zeroed(b, b.op("Reshape", y, shape), None), ()


@state_leaves.register(PerStep)
def _(layer: PerStep) -> LeafTree:  # noqa: ARG001 (it has none)
    return ()


def _one(output: Output | StateValues) -> Value:
    if not isinstance(output, str):
        raise RuntimeError("a layer inside another one gave two outputs or none")
    return output
