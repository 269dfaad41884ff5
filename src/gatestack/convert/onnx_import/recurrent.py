"""LSTM, GRU and RNN nodes of ONNX as recurrent layers.

| | ONNX | here |
|---|---|---|
| gates of W, R, B | i o f c, z r h | i f g o, r z n |
| B | W's bias, then R's, side by side | two vectors |
| P | i o f side by side | rows i f o |
| X, Y | (T, N, C), (T, D, N, H); with layout 1 (N, T, C), (N, T, D, H) | (N, T, C), (N, T, H) |
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from gatestack.convert.layers import (
    BidirectionalLayer,
    BidirectionalOptions,
    Operator,
    OperatorOptions,
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
from gatestack.convert.onnx_import.activations import read_activations
from gatestack.convert.onnx_import.graph import GraphReader, NodeReader
from gatestack.errors import ModelFileError

__all__ = ["fill_direction", "import_recurrent"]

Array = npt.NDArray[Any]

# For each of our gates, its place among ONNX'.
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_PEEPHOLES = (0, 2, 1)
_CELLS: dict[str, Literal["lstm", "gru", "rnn"]] = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}


def import_recurrent(reader: GraphReader, node: NodeReader) -> None:
    """Add the layer of a node, and what brings its inputs and outputs into our axes.

    Args:
        reader: of the graph.
        node: LSTM, GRU or RNN.

    Raises:
        ModelFileError: an attribute that is not understood, or weights that are not in the file.
    """
    attributes = node.attributes
    for name in ("clip", "input_forget"):
        if attributes.get(name):
            raise ModelFileError(
                f"the attribute {name} is {attributes[name]}", where=node.where, expected="0, or none"
            )
    direction = attributes.get("direction", "forward")
    w, r = reader.weight(node, 1, "W"), reader.weight(node, 2, "R")
    hidden = r.shape[2]
    options = [
        RecurrentOptions(
            cell=_CELLS[node.operator],
            input_size=w.shape[2],
            hidden_size=hidden,
            reset=_reset(node),
            activation=activation,
            gate_activation=gate,
            peepholes=node.operator == "LSTM" and node.given(7),
            return_state=node.wanted(1) or node.wanted(2),
            reversed=direction == "reverse" or number == 1,
            reversed_output="time",
            takes_lengths=node.given(4),
            takes_state=_starts(reader, node),
        )
        for number, (activation, gate) in enumerate(read_activations(node, w.shape[0]))
    ]
    layers: list[RecurrentLayer]
    layer: RecurrentLayer | BidirectionalLayer
    if len(options) == 2:
        both = BidirectionalOptions(forward=options[0], backward=options[1], merge="none")
        layer = BidirectionalLayer(both)
        layers = [layer.forward_layer, layer.backward_layer]
    else:
        layer = RecurrentLayer(options[0])
        layers = [layer]
    for number, one in enumerate(layers):
        bias = reader.weight(node, 3, "B")[number] if node.given(3) else None
        peephole = reader.weight(node, 7, "P")[number] if one.options.peepholes else None
        fill_direction(one, node.operator, w[number], r[number], bias, peephole)
    _connect(reader, node, layer, len(layers))


def fill_direction(
    layer: RecurrentLayer, operator: str, w: Array, r: Array, bias: Array | None, peephole: Array | None
) -> None:
    """Put one direction of ONNX' weights into a layer.

    Args:
        layer: of the sizes of the weights.
        operator: "LSTM", "GRU" or "RNN".
        w: (G·H, C).
        r: (G·H, H).
        bias: (2·G·H,), or None for zeros.
        peephole: (3·H,), or None.
    """
    hidden = r.shape[1]
    halves = np.zeros(2 * len(w), w.dtype) if bias is None else bias
    arrays = {"weight_ih_l0": w, "weight_hh_l0": r}
    arrays |= {"bias_ih_l0": halves[: len(w)], "bias_hh_l0": halves[len(w) :]}
    ours = {name: _ordered(array, hidden, _GATES[operator]) for name, array in arrays.items()}
    if peephole is not None:
        ours["peephole_l0"] = _ordered(peephole, hidden, _PEEPHOLES).reshape(3, hidden)
    with torch.no_grad():
        for name, array in ours.items():
            layer.weights.get_parameter(name).copy_(torch.from_numpy(array))


def _ordered(array: Array, hidden: int, places: tuple[int, ...]) -> Array:
    """Put the blocks of `hidden` rows into another order."""
    return np.concatenate([array[place * hidden : (place + 1) * hidden] for place in places])


def _reset(node: NodeReader) -> Literal["after", "before"]:
    after = node.operator != "GRU" or node.attributes.get("linear_before_reset", 0)
    return "after" if after else "before"


def _starts(reader: GraphReader, node: NodeReader) -> bool:
    """Whether the layer starts from a state that is not zero for sure."""
    return any(node.given(place) and node.inputs[place] not in reader.zeros for place in (5, 6))


def _connect(
    reader: GraphReader, node: NodeReader, layer: RecurrentLayer | BidirectionalLayer, directions: int
) -> None:
    batch_first = bool(node.attributes.get("layout", 0))
    axis = 1 if batch_first else 0  # of the directions, in states
    x = reader.value(node, 0)
    if not batch_first:
        x = reader.add(f"{node.name}.x", Permute(PermuteOptions(axes=(1, 0, 2))), [x])
    inputs = [x]
    if node.given(4):
        inputs.append(reader.value(node, 4))
    if _starts(reader, node):
        states = [_state(reader, node, place) for place in ((5, 6) if node.operator == "LSTM" else (5,))]
        for number in range(directions):
            for state in states:
                take = Take(TakeOptions(axis=axis, index=number))
                inputs.append(reader.add(f"{node.name}.state", take, [state]))
    made = reader.add(node.name, layer, inputs)
    outputs = [made, *(f"{made}:{number}" for number in range(1, layer.outputs))]
    if node.wanted(0):
        _give_sequence(reader, node, outputs[:directions], batch_first)
    each = (len(outputs) - directions) // directions
    for place in (1, 2):
        if node.wanted(place):
            parts = [outputs[directions + number * each + place - 1] for number in range(directions)]
            stacked = reader.add(node.outputs[place], Stacked(StackedOptions(axis=axis)), parts)
            reader.values[node.outputs[place]] = stacked


def _state(reader: GraphReader, node: NodeReader, place: int) -> str:
    """Give initial_h or initial_c; where only the other one is there, zeros of its shape."""
    if node.given(place):
        return reader.value(node, place)
    other = reader.value(node, 11 - place)
    shape = reader.add(f"{node.name}.shape", Operator(OperatorOptions(operator="Shape")), [other])
    return reader.add(f"{node.name}.zeros", Operator(OperatorOptions(operator="ConstantOfShape")), [shape])


def _give_sequence(reader: GraphReader, node: NodeReader, parts: list[str], batch_first: bool) -> None:
    """Bring y (N, T, H) of each direction to Y (T, D, N, H), or with layout 1 (N, T, D, H)."""
    name = node.outputs[0]
    if batch_first:
        made = reader.add(name, Stacked(StackedOptions(axis=2)), parts)
    elif len(parts) == 1:
        turned = reader.add(f"{node.name}.y", Permute(PermuteOptions(axes=(1, 0, 2))), parts)
        made = reader.add(name, Unsqueeze(UnsqueezeOptions(axes=(1,))), [turned])
    else:
        both = reader.add(f"{node.name}.y", Stacked(StackedOptions(axis=0)), parts)
        made = reader.add(name, Permute(PermuteOptions(axes=(2, 0, 1, 3))), [both])
    reader.values[name] = made
