"""Layers of a network over time, with what Keras, torch and ONNX mean by their calls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gatestack.convert.layers import BidirectionalLayer, ConvLSTMLayer, OverTime
from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.convert.onnx.dispatch import StateValues, mapped, started, state_leaves
from gatestack.convert.onnx.emit import emit_sequence_layer
from gatestack.convert.onnx.layer_vectors import flat
from gatestack.convert.onnx.loops import merged_two
from gatestack.convert.onnx.network_signals import Emitted, GraphSignal, Kept, emit_network_layer, flipped
from gatestack.convert.onnx.ragged import front_order, gathered, real_steps
from gatestack.convert.own.layer import OwnLayer

__all__: list[str] = []

Signals = Sequence[GraphSignal]
_END = 2**63 - 1  # what ONNX takes for "to the end"
Ended = tuple[Value, tuple[Value, ...]]


@emit_network_layer.register(OverTime)
def _(layer: OverTime, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:
    options = layer.options
    rest = [signal.value for signal in signals[1:]]
    lengths = rest.pop(0) if options.takes_lengths else None
    x = signals[0]
    y, state = _core(layer, b, x, x.mask, lengths, tuple(rest), kept, place)
    passed = x.mask if options.return_sequences else None
    return [(y, passed), *((part, None) for part in state if options.return_state)]


@emit_network_layer.register(BidirectionalLayer)
def _(layer: BidirectionalLayer, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:
    one, merge = layer.options.forward, layer.options.merge
    rest = [signal.value for signal in signals[1:]]
    lengths = rest.pop(0) if one.takes_lengths else None
    x, first = signals[0], layer.forward_layer.state_count
    given = (tuple(rest[:first]), tuple(rest[first:]))
    with b.scope("forward"):
        ahead, ended = _core(layer.forward_layer, b, x, x.mask, lengths, given[0], kept, place)
    with b.scope("reverse"):
        reverse = place + "_reverse"
        back, back_ended = _core(layer.backward_layer, b, x, x.mask, lengths, given[1], kept, reverse)
    if one.return_sequences and layer.options.backward.reversed_output != "time":
        back = flipped(b, back)
    passed = x.mask if one.return_sequences else None
    outputs = [ahead, back] if merge == "none" else [merged_two(b, ahead, back, merge, axis=-1)]
    states = (*ended, *back_ended) if one.return_state else ()
    return [*((y, passed) for y in outputs), *((part, None) for part in states)]


@emit_network_layer.register(OwnLayer)
def _(layer: OwnLayer, b: GraphBuilder, signals: Signals, kept: Kept, place: str) -> list[Emitted]:  # noqa: ARG001
    x, *rest = signals
    values = [signal.value for signal in rest]
    lengths = values.pop(0) if values else None
    tree = state_leaves(layer.inner)
    state: StateValues = None
    if values:
        if layer.trained:
            fresh = b.op("Not", b.op("Equal", values.pop(0), b.constant(np.int64(0))))
            leaves = list(flat(tree))
            values = [started(b, *pair, fresh) for pair in zip(leaves, values, strict=True)]
        parts = iter(values)
        state = mapped(tree, None, lambda leaf, given: next(parts))  # noqa: ARG005
    y, ended = emit_sequence_layer(
        b, layer.inner, x.value, lengths=lengths, mask=x.mask, state=state, rank=x.rank
    )
    passed = x.mask if layer.inner.return_sequences else None
    return [*((one, passed) for one in flat(y)), *((part, None) for part in flat(ended))]


def _core(
    layer: OverTime,
    b: GraphBuilder,
    signal: GraphSignal,
    mask: Value | None,
    lengths: Value | None,
    given: tuple[Value, ...],
    kept: Kept,
    place: str,
) -> Ended:
    """Compute one direction -> y, and the state, batch first."""
    options = layer.options
    x, rank = _into(layer, b, signal.value), signal.rank
    if options.reversed:
        if lengths is not None:  # what fills up a row comes first now
            mask, lengths = real_steps(b, x, lengths), None
        x = flipped(b, x)
        mask = None if mask is None else flipped(b, mask)
    state = _start(layer, b, given, kept.given.get(place))
    y, final = emit_sequence_layer(b, layer.core, x, lengths=lengths, mask=mask, state=state, rank=rank)
    if not isinstance(y, str):
        raise RuntimeError("one direction gave two outputs")
    ended = tuple(part for part in (final if isinstance(final, tuple) else (final,)) if isinstance(part, str))
    kept.ended[place] = ended
    if mask is not None and options.return_sequences:
        y = _held(b, y, mask, rank) if options.masked_output == "hold" else y
    elif mask is not None and options.masked_output != "zero":
        last = options.masked_output == "zero_last"
        counted = b.op("Slice", mask, b.ints(-1), b.ints(_END), b.ints(1)) if last else mask
        y = _zero_without_steps(b, y, counted, rank - 1)
    if options.return_sequences and options.reversed and options.reversed_output == "time":
        y = flipped(b, y)
    rows = tuple(b.op("Squeeze", part, b.ints(0)) for part in ended)
    return _out_of(layer, b, y, rank, options.return_sequences), tuple(
        _out_of(layer, b, part, rank, False) for part in rows
    )


def _start(
    layer: OverTime, b: GraphBuilder, given: tuple[Value, ...], kept: tuple[Value, ...] | None
) -> StateValues:
    """Give the state to start from as the core has it; None for zeros."""
    parts = kept
    if given:
        parts = tuple(b.op("Unsqueeze", _state_into(layer, b, part), b.ints(0)) for part in given)
    if parts is None:
        return None
    return parts if isinstance(state_leaves(layer.core), tuple) else parts[0]


def _held(b: GraphBuilder, y: Value, mask: Value, rank: int) -> Value:
    """Repeat the output of the last real step where a step is not real; zero before the first real one."""
    count = b.op("CumSum", b.op("Cast", mask, to=7), b.constant(np.int64(1)))  # real steps so far
    nothing = b.constant(np.int64(0))
    place = b.op("Max", b.op("Sub", count, b.constant(np.int64(1))), nothing)
    held = gathered(b, y, b.op("GatherElements", front_order(b, mask), place, axis=1))
    some = b.op("Unsqueeze", b.op("Greater", count, nothing), b.ints(*range(2, rank)))
    return b.op("Where", some, held, b.number(0))


def _zero_without_steps(b: GraphBuilder, y: Value, mask: Value, rank: int) -> Value:
    """Give zero for rows of y (N, …) without a real step, as Keras does."""
    count = b.op("ReduceSum", b.op("Cast", mask, to=7), b.ints(1), keepdims=0)
    some = b.op("Unsqueeze", b.op("Greater", count, b.constant(np.int64(0))), b.ints(*range(1, rank)))
    return b.op("Where", some, y, b.number(0))


def _into(layer: OverTime, b: GraphBuilder, x: Value) -> Value:
    """Bring x to the axes of the core: channels before the image."""
    if not _channels_last(layer):
        return x
    space = len(layer.options.kernel_size)
    return b.op("Transpose", x, perm=(0, 1, 2 + space, *range(2, 2 + space)))


def _out_of(layer: OverTime, b: GraphBuilder, y: Value, rank: int, sequences: bool) -> Value:
    if not _channels_last(layer):
        return y
    first, last = (2, rank) if sequences else (1, rank - 1)
    return b.op("Transpose", y, perm=(*range(first), *range(first + 1, last), first))


def _state_into(layer: OverTime, b: GraphBuilder, state: Value) -> Value:
    if not _channels_last(layer):
        return state
    space = len(layer.options.kernel_size)
    return b.op("Transpose", state, perm=(0, 1 + space, *range(1, 1 + space)))


def _channels_last(layer: OverTime) -> bool:
    return isinstance(layer, ConvLSTMLayer) and layer.options.channels_last
