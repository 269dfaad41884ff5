"""What a stack asks of its layers, and the names that torch's weights have in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

from torch import nn

from gatestack.errors import ArgumentError
from gatestack.nn.checks import kind
from gatestack.nn.layer import LayerState, SequenceLayer, check_layer

__all__ = ["check_entries", "check_layers", "check_residual", "check_widths", "rename_torch_weights"]


class _HasLayers(Protocol):
    layers: nn.ModuleList


_TORCH_NAME = re.compile(r"(weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)_l(\d+)(_reverse)?")


def check_layers(layers: Sequence[object], owner: str) -> None:
    """Refuse what cannot stand as layers one above the other.

    Args:
        layers: as they were given, the lowest first.
        owner: for the message.

    Raises:
        ArgumentError: no layers, something else than a layer, a layer twice, a layer below the last that does
            not give one output at every step.
    """
    if not layers:
        raise ArgumentError("no layers", where=owner, expected="one or more of LSTM, GRU, RNN")
    for number, given in enumerate(layers):
        layer = check_layer(given, f"layer {number}", owner)
        if any(layer is other for other in layers[:number]):
            raise ArgumentError(
                f"layer {number} is the same object as a layer below",
                where=owner,
                expected="an object of its own for each layer",
                hint="[LSTM(64)] * 3 is one layer three times; [LSTM(64) for _ in range(3)] makes three",
            )
        if number < len(layers) - 1 and not layer.return_sequences:
            raise ArgumentError(
                f"layer {number} has return_sequences=False",
                where=owner,
                expected="True below the last layer",
                hint="its output would be (batch, features); the layer above reads (batch, time, features)",
            )
        if number < len(layers) - 1 and layer.gives_pair:
            raise ArgumentError(
                f"layer {number} has merge=None", where=owner, expected="one output for the layer above"
            )


def check_entries(state: object, count: int, owner: str) -> Sequence[LayerState | None]:
    """Give the states of so many layers, None for each where there is none.

    Raises:
        ArgumentError: not one entry per layer.
    """
    if state is None:
        return (None,) * count
    if not isinstance(state, tuple | list) or len(state) != count:
        raise ArgumentError(f"state is {kind(state)}", where=owner, expected=f"one entry per layer, {count}")
    return state


def check_widths(layers: Sequence[SequenceLayer]) -> None:
    """Refuse a layer that was built for another width than the one below gives, as far as both are known.

    Raises:
        ArgumentError: names the layers and the widths.
    """
    for number, (below, layer) in enumerate(pairwise(layers), start=1):
        width, size = below.output_size, layer.input_size
        if width is not None and size is not None and size != width:
            raise ArgumentError(
                f"layer {number} was built for input_size {size}",
                where="Stack",
                expected=f"{width}, the features of layer {number - 1}",
            )


def check_residual(layers: Sequence[SequenceLayer]) -> None:
    """Refuse layers whose input cannot be added to their output, as far as sizes are known.

    Raises:
        ArgumentError: two widths differ, or the last layer gives no output at a step.
    """
    for number in range(1, len(layers)):
        width, below = layers[number].output_size, layers[number - 1].output_size
        if width is not None and below is not None and width != below:
            raise ArgumentError(
                f"residual=True, but layer {number} gives {width} features, layer {number - 1} gives {below}",
                where="Stack",
                expected="the same width for every layer",
            )
    last = layers[-1]
    if last.looks_ahead and not last.return_sequences:
        raise ArgumentError(
            "residual=True on a bidirectional last layer with return_sequences=False",
            where="Stack",
            expected="return_sequences=True, or one direction",
        )
    if last.gives_pair:
        raise ArgumentError(
            "residual=True, but the last layer has merge=None", where="Stack", expected="one output"
        )


def rename_torch_weights(
    stack: _HasLayers,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: dict[str, Any],  # noqa: ARG001 (torch calls the hook with seven arguments)
    strict: bool,
    missing_keys: list[str],  # noqa: ARG001
    unexpected_keys: list[str],  # noqa: ARG001
    error_msgs: list[str],
) -> None:
    """Give the weights of a `torch.nn.LSTM`, `GRU` or `RNN` the names they have in a stack."""
    count, highest = len(stack.layers), -1
    for key in [key for key in state_dict if key.startswith(prefix)]:
        match = _TORCH_NAME.fullmatch(key[len(prefix) :])
        if match is None:
            continue
        name, number, reverse = match[1], int(match[2]), match[3] or ""
        highest = max(highest, number)
        if number < count:
            state_dict[f"{prefix}layers.{number}.{name}_l0{reverse}"] = state_dict.pop(key)
    if strict and highest >= 0 and highest + 1 != count:
        error_msgs.append(f"the weights are of {highest + 1} layers, the stack has {count}.")
