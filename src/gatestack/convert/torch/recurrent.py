"""Recurrent modules of torch as recurrent layers: `nn.LSTM`, `GRU`, `RNN`, their cells, and the drop-ins.

| | torch | here |
|---|---|---|
| input | (T, N, C); with batch_first (N, T, C) | (N, T, C), an axis moved before and after |
| layers | `num_layers` in one module | a layer each, with dropout between them |
| state | h, c (L·D, N, ·) | (N, ·) for each layer and direction, taken apart and stacked |
| `PackedSequence` | steps of all rows side by side | the padded batch, with lengths |
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from gatestack.convert.layers import (
    BidirectionalLayer,
    BidirectionalOptions,
    Dropout,
    DropoutOptions,
    Permute,
    PermuteOptions,
    RecurrentLayer,
    RecurrentOptions,
    Stacked,
    StackedOptions,
    Take,
    TakeOptions,
    Unsqueeze,
    UnsqueezeOptions,
)
from gatestack.convert.layers.bidirectional import directions
from gatestack.convert.torch.reading import TreeReader
from gatestack.convert.torch.values import Packed, Unusable, Wire, Zeros

__all__ = ["call_layer", "made_layer", "read_cell", "read_recurrent", "stacked_states", "taken_states"]

_CELLS = {
    "LSTM": ("lstm", "tanh"),
    "GRU": ("gru", "tanh"),
    "RNN_TANH": ("rnn", "tanh"),
    "RNN_RELU": ("rnn", "relu"),
}
_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
Parts = Sequence[str]


def read_recurrent(reader: TreeReader, module: nn.RNNBase, x: Any, hx: Any = None) -> Any:
    """Read a call of `nn.LSTM`, `GRU` or `RNN`.

    Args:
        reader: of the tree.
        module: that is called.
        x: (T, N, C), (N, T, C) with `batch_first`, or packed.
        hx: state, or None.

    Returns:
        What torch gives: the output, then h or (h, c).
    """
    packed = isinstance(x, Packed)
    wire = x.padded if packed else reader.wire(x, "the input")
    if wire.rank != 3:
        raise reader.refuse(f"an input of {wire.rank} axes", "batch, time and features")
    turned = not packed and not module.batch_first
    first = wire.name if not turned else _turned(reader, wire.name)
    directions = 2 if module.bidirectional else 1
    width = directions * (module.proj_size or module.hidden_size)
    given = _given(reader, hx, 2 if module.mode == "LSTM" else 1)
    layers = _layers(reader, module, packed, given is not None)
    states: list[list[str]] = []
    y = first
    for number, layer in enumerate(layers):
        if number and module.dropout:
            y = reader.add(Dropout(DropoutOptions(rate=module.dropout)), [y], f"{reader.target}.dropout")
        start = [] if given is None else taken_states(reader, given, number * directions, directions)
        name = reader.target + (f".l{number}" if len(layers) > 1 else "")
        y, ended = call_layer(reader, layer, y, x.lengths.name if packed else None, start, name)
        states.append(ended)
    finals = stacked_states(reader, states, 2 if module.mode == "LSTM" else 1)
    if not packed:
        return (_turned(reader, y) if turned else y), finals
    sizes = (*wire.sizes[:2], (width, width))
    return Packed(Wire(y, sizes, wire.dtype), x.lengths, x.steps), finals


def read_cell(reader: TreeReader, module: nn.RNNCellBase, x: Any, hx: Any = None) -> Any:
    """Read a call of `nn.LSTMCell`, `GRUCell` or `RNNCell`: a layer over one step.

    Args:
        reader: of the tree.
        module: that is called.
        x: (N, C).
        hx: state (N, H), or None.

    Returns:
        h, or (h, c).
    """
    wire = reader.wire(x, "the input")
    if wire.rank != 2:
        raise reader.refuse(f"an input of {wire.rank} axes", "batch and features")
    kind = type(module).__name__.removesuffix("Cell").lower()
    given = _given(reader, hx, 2 if kind == "lstm" else 1)
    if id(module) not in reader.layers:
        options = RecurrentOptions.model_validate(
            {"cell": kind, "input_size": module.input_size, "hidden_size": module.hidden_size,
             "activation": getattr(module, "nonlinearity", "tanh"), "bias": module.bias,
             "return_sequences": False, "return_state": True,
             "takes_state": given is not None or _calls(reader) > 1}
        )  # fmt: skip
        layer = RecurrentLayer(options).to(reader.dtype)
        _fill(layer, module, "")
        reader.layers[id(module)] = layer
    step = reader.add(Unsqueeze(UnsqueezeOptions(axes=(1,))), [wire.name])
    made = reader.add(reader.layers[id(module)], [step, *[reader.name(part) for part in given or ()]])
    return (f"{made}:1", f"{made}:2") if kind == "lstm" else f"{made}:1"


def made_layer(
    options: RecurrentOptions, bidirectional: bool, merge: str = "concat"
) -> RecurrentLayer | BidirectionalLayer:
    """Make a layer of one or two directions.

    Args:
        options: of the forward direction.
        bidirectional: whether there is a second one.
        merge: of the two.
    """
    if not bidirectional:
        return RecurrentLayer(options)
    back = options.model_copy(update={"reversed": True, "reversed_output": "time"})
    both = BidirectionalOptions.model_validate({"forward": options, "backward": back, "merge": merge})
    return BidirectionalLayer(both)


def call_layer(
    reader: TreeReader,
    layer: RecurrentLayer | BidirectionalLayer,
    x: str,
    lengths: str | None,
    start: Parts,
    name: str,
) -> tuple[str, list[str]]:
    """Add a call of a layer -> its output, and the tensors of its state, those of one direction together.

    Args:
        reader: of the tree.
        layer: with its weights.
        x: name of (N, T, C).
        lengths: name of (N,), or None.
        start: names of the state, none for zeros.
        name: of the node.
    """
    made = reader.add(layer, [x, *([] if lengths is None else [lengths]), *start], name)
    return made, [f"{made}:{number}" for number in range(1, layer.outputs)]


def taken_states(reader: TreeReader, given: Sequence[Any], first: int, directions: int) -> list[str]:
    """Take the states of one layer out of h and c (L·D, N, ·), direction by direction."""
    return [
        reader.add(Take(TakeOptions(axis=0, index=first + number)), [reader.wire(part).name])
        for number in range(directions)
        for part in given
    ]


def stacked_states(reader: TreeReader, states: Sequence[Parts], parts: int) -> Any:
    """Put the states of all layers together as torch does -> h, or (h, c), each (L·D, N, ·)."""
    if not states[0]:
        return Unusable("a state that nothing seemed to read")
    every = [name for one in states for name in one]
    stacked = [reader.add(Stacked(StackedOptions(axis=0)), every[part::parts]) for part in range(parts)]
    return tuple(stacked) if parts == 2 else stacked[0]


def _layers(reader: TreeReader, module: nn.RNNBase, packed: bool, starts: bool) -> list[Any]:
    """Make the layers of a module, once for all its calls."""
    key = id(module)
    several = _calls(reader) > 1
    if key not in reader.layers:
        cell, squash = _CELLS[module.mode]
        made = []
        for number in range(module.num_layers):
            width = (module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1)
            options = RecurrentOptions.model_validate(
                {"cell": cell, "activation": squash, "hidden_size": module.hidden_size,
                 "input_size": width if number else module.input_size, "bias": module.bias,
                 "projection_size": module.proj_size or None, "takes_lengths": packed,
                 "takes_state": starts or several, "return_state": several or _reads_state(reader)}
            )  # fmt: skip
            layer = made_layer(options, module.bidirectional).to(reader.dtype)
            for part, suffix in directions(layer):
                _fill(part, module, f"_l{number}{suffix}")
            made.append(layer)
        reader.layers[key] = (packed, made)
    was_packed, layers = reader.layers[key]
    if was_packed != packed:
        raise reader.refuse("the module is called on packed and on padded input", "one of them")
    return list(layers)


def _fill(layer: RecurrentLayer, module: nn.Module, suffix: str) -> None:
    with torch.no_grad():
        for name in _WEIGHTS:
            theirs = getattr(module, name + suffix, None)
            if isinstance(theirs, torch.Tensor):
                ours = layer.weights.get_parameter(f"{name}_l0")
                ours.copy_(theirs)
                ours.requires_grad_(theirs.requires_grad)


def _given(reader: TreeReader, hx: Any, parts: int) -> Sequence[Any] | None:
    """Give the tensors of a state; None where it is zero."""
    if hx is None:
        return None
    tensors = hx if isinstance(hx, tuple | list) else (hx,)
    if len(tensors) != parts:
        raise reader.refuse(f"a state of {len(tensors)} tensors", f"{parts}")
    if all(isinstance(tensor, Zeros) for tensor in tensors):
        return None
    return [reader.wire(tensor, "the state") for tensor in tensors]


def _calls(reader: TreeReader) -> int:
    """Count how often the module is called that is called now."""
    node = reader.current
    module = reader.module.get_submodule(str(node.target))
    calls = [str(one.target) for one in node.graph.nodes if one.op == "call_module"]
    return sum(reader.module.get_submodule(target) is module for target in calls)


def _reads_state(reader: TreeReader) -> bool:
    """Whether anything but the output is read of what the module gives."""
    return any(user.target is not operator.getitem or user.args[1] != 0 for user in reader.current.users)


def _turned(reader: TreeReader, name: str) -> str:
    return reader.add(Permute(PermuteOptions(axes=(1, 0, 2))), [name], f"{name}.turned")
