"""Layers of `gatestack.nn` inside of a tree of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from gatestack.convert.layers import (
    Combine,
    CombineOptions,
    Dropout,
    DropoutOptions,
    RecurrentOptions,
)
from gatestack.convert.layers.bidirectional import directions
from gatestack.convert.torch.reading import TreeReader
from gatestack.convert.torch.recurrent import call_layer, made_layer, stacked_states, taken_states
from gatestack.convert.torch.values import Zeros
from gatestack.nn import GRU, LSTM, RNN, Regularisation, Stack
from gatestack.nn.recurrent import Recurrent

__all__ = ["OWN_LAYERS"]


def _read_layer(
    reader: TreeReader, layer: Recurrent, x: Any, state: Any = None, *, lengths: Any = None, mask: Any = None
) -> Any:
    """Read a call of `LSTM`, `GRU` or `RNN` -> output, state."""
    y, ended = _called(reader, layer, reader.wire(x).name, state, lengths, mask, reader.target)
    return y, stacked_states(reader, [ended], len(layer.state_names))


def _read_stack(
    reader: TreeReader, stack: Stack, x: Any, state: Any = None, *, lengths: Any = None, mask: Any = None
) -> Any:
    """Read a call of a `Stack` -> output, a state for each layer."""
    y = reader.wire(x).name
    states: list[tuple[list[str], int]] = []
    for number, layer in enumerate(stack.layers):
        if type(layer) not in OWN_LAYERS or not isinstance(layer, Recurrent):
            raise reader.refuse(f"layer {number} is a {type(layer).__name__}", "LSTM, GRU or RNN")
        reader.check_plain(layer)
        below = y
        if number and (stack.dropout or stack.variational_dropout):
            rate = stack.dropout or stack.variational_dropout
            options = DropoutOptions(rate=rate, same_over_time=bool(stack.variational_dropout))
            below = reader.add(Dropout(options), [y], f"{reader.target}.dropout")
        start = None if state is None else state[number]
        above, ended = _called(reader, layer, below, start, lengths, mask, f"{reader.target}.l{number}")
        if number and stack.residual:
            if not layer.return_sequences:
                raise reader.refuse("residual=True, and only the last step is given", "every step")
            above = reader.add(Combine(CombineOptions(operation="add")), [above, y])
        y = above
        states.append((ended, len(layer.state_names)))
    return y, tuple(stacked_states(reader, [ended], parts) for ended, parts in states)


def _called(
    reader: TreeReader, layer: Recurrent, x: str, state: Any, lengths: Any, mask: Any, name: str
) -> tuple[str, list[str]]:
    if mask is not None:
        raise reader.refuse("it is called with a mask", "lengths, or every step real")
    given = None
    if state is not None:
        tensors = state if isinstance(state, tuple | list) else (state,)
        given = None if all(isinstance(one, Zeros) for one in tensors) else tensors
    key = (id(layer), lengths is None, given is None)
    if key not in reader.layers:
        reader.layers[key] = _made(reader, layer, lengths is not None, given is not None)
    made = reader.layers[key]
    start = [] if given is None else taken_states(reader, given, 0, layer.num_directions)
    steps = None if lengths is None else reader.wire(lengths, "lengths").name
    return call_layer(reader, made, x, steps, start, name)


def _made(reader: TreeReader, layer: Recurrent, ragged: bool, starts: bool) -> Any:
    spec, chosen = layer.spec, layer.regularisation
    refused = {
        "layer_norm": spec.layer_norm,
        "a trained initial state": layer.initial_state != "zeros",
        f"{chosen!r}": chosen != Regularisation(recurrent_dropout=chosen.recurrent_dropout),
    }
    for what, there in refused.items():
        if there:
            raise reader.refuse(f"a layer with {what}", "a layer that networks have", "export it to ONNX")
    cell, more = _CELLS[spec.cell]
    options = RecurrentOptions.model_validate(
        {"cell": cell, **more, "input_size": layer.input_size, "hidden_size": layer.hidden_size,
         "projection_size": spec.projection_size or None, "peepholes": spec.peepholes,
         "recurrent_dropout": chosen.recurrent_dropout, "return_sequences": layer.return_sequences,
         "return_state": True, "takes_lengths": ragged, "takes_state": starts}
    )  # fmt: skip
    made = made_layer(options, layer.bidirectional, layer.merge).to(reader.dtype)
    with torch.no_grad():
        for core, suffix in directions(made):
            for name, parameter in core.weights.named_parameters():
                theirs = layer.get_parameter(name + suffix)
                parameter.copy_(theirs)
                parameter.requires_grad_(theirs.requires_grad)
    return made


_CELLS: dict[str, tuple[str, dict[str, str]]] = {
    "lstm": ("lstm", {}),
    "gru": ("gru", {}),
    "gru_reset_before": ("gru", {"reset": "before"}),
    "rnn_tanh": ("rnn", {}),
    "rnn_relu": ("rnn", {"activation": "relu"}),
}

OWN_LAYERS: dict[type, Callable[..., Any]] = {
    LSTM: _read_layer,
    GRU: _read_layer,
    RNN: _read_layer,
    Stack: _read_stack,
}
"""The classes that are read, and what reads their calls."""
