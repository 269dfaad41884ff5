"""A layer of `gatestack.nn` as a graph of its own, with its test vectors.

| name | shape | what |
|---|---|---|
| `x` | (batch, time, features) | input |
| `lengths` | (batch,) int64 | real steps of each row, 0 to time |
| `fresh` | (batch,) bool | only with trained initial states: True where a row starts anew |
| `h_in`, `c_in` | (directions, batch, hidden) | state to start from; zeros for a row that starts anew |
| `y` | (batch, time, features) | output, zero where a step is not real |
| `h_out`, `c_out` | (directions, batch, hidden) | state after each row's last real step |

Where there are several layers, their place follows: `h_in_l1`, `c_out_l0_reverse`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatestack.convert.onnx.builder import Array, GraphBuilder, Value
from gatestack.convert.onnx.dispatch import Leaf, LeafTree, mapped, state_leaves
from gatestack.convert.onnx.emit import emit_sequence_layer
from gatestack.convert.onnx.parts import OnnxParts
from gatestack.convert.proof import ProofVector
from gatestack.errors import ArgumentError
from gatestack.nn.layer import SequenceLayer

__all__ = ["layer_graph", "state_name"]

_SIZES = ((1, 1), (2, 5), (3, 9), (1, 12))  # batch, time
_SEED = 20130526


def state_name(leaf: str, way: str) -> str:
    """Name a state as an input ("in") or output ("out") of a graph.

    Example:
        >>> state_name("h_l1_reverse", "in"), state_name("c", "out")
        ('h_in_l1_reverse', 'c_out')
    """
    kind, _, place = leaf.partition("_")
    return f"{kind}_{way}_{place}" if place else f"{kind}_{way}"


def layer_graph(layer: SequenceLayer, b: GraphBuilder) -> OnnxParts:
    """Build the graph of a layer, and its test vectors.

    Args:
        layer: built, float32; its mode and its device do not matter.
        b: an empty builder.

    Returns:
        The test vectors: random numbers, lengths of all kinds, random states.

    Raises:
        ArgumentError: the layer is not built, is not of float32, or has no ONNX.

    Example:
        >>> from gatestack.nn import LSTM
        >>> b = GraphBuilder()
        >>> parts = layer_graph(LSTM(4, 2), b)
        >>> [tensor.name for tensor in b.inputs], [tensor.name for tensor in b.outputs]
        (['x', 'lengths', 'h_in', 'c_in'], ['y', 'h_out', 'c_out'])
    """
    if layer.input_size is None:
        raise ArgumentError(
            "the layer has no input_size yet", where="export", hint="build it: layer.build(input_size)"
        )
    tree = state_leaves(layer)
    x = b.input("x", "float32", ("batch", "time", layer.input_size))
    lengths = b.input("lengths", "int64", ("batch",))
    trained = any(leaf.trained is not None for leaf in flat(tree))
    fresh = b.input("fresh", "bool", ("batch",)) if trained else None
    given = mapped(tree, None, lambda leaf, _: _state_input(b, leaf, fresh))
    output, state = emit_sequence_layer(b, layer, x, lengths=lengths, state=given)
    axes: tuple[str, ...] = ("batch", "time") if layer.return_sequences else ("batch",)
    b.output(output, "y", (*axes, layer.output_size or "features"))
    mapped(tree, state, lambda leaf, value: _state_output(b, leaf, value))
    return OnnxParts(_vectors(layer, tree, trained))


def flat(tree: Any) -> Iterator[Any]:
    """Give what nested tuples hold, from left to right."""
    if isinstance(tree, tuple):
        for part in tree:
            yield from flat(part)
    else:
        yield tree


def _state_input(b: GraphBuilder, leaf: Leaf, fresh: Value | None) -> Value:
    given = b.input(state_name(leaf.name, "in"), "float32", leaf.shape)
    if fresh is None:
        return given
    start = np.zeros((1, 1, 1), np.float32) if leaf.trained is None else leaf.trained[:, None, :]
    new = b.op("Unsqueeze", fresh, b.ints(0, *range(2, len(leaf.shape))))
    return b.op("Where", new, b.weight("initial_" + leaf.name, start, channel_axes=start.ndim), given)


def _state_output(b: GraphBuilder, leaf: Leaf, value: Value | None) -> Value:
    if value is None:
        raise RuntimeError(f"no state came out for {leaf.name}")
    b.output(value, state_name(leaf.name, "out"), leaf.shape)
    return value


def _vectors(layer: SequenceLayer, tree: LeafTree, trained: bool) -> list[ProofVector]:
    # In the mode and on the device of the graph, without touching the layer that was given.
    model = copy.deepcopy(layer).cpu().eval()
    draw = np.random.default_rng(_SEED)
    found = []
    for rows, time in _SIZES:
        lengths = draw.integers(0, time + 1, rows)
        lengths[0] = time
        if rows > 2:
            lengths[1] = 0
        inputs: dict[str, Array] = {
            "x": draw.standard_normal((rows, time, layer.input_size or 0), np.float32),
            "lengths": lengths,
        }
        states = [draw.standard_normal(_sizes(leaf, rows), np.float32) for leaf in flat(tree)]
        names = [leaf.name for leaf in flat(tree)]
        inputs |= {state_name(name, "in"): part for name, part in zip(names, states, strict=True)}
        started = states
        if trained:
            inputs["fresh"] = draw.integers(0, 2, rows).astype(bool)
            started = [
                _started(leaf, part, inputs["fresh"]) for leaf, part in zip(flat(tree), states, strict=True)
            ]
        with torch.no_grad():
            y, final = model(
                torch.from_numpy(inputs["x"]),
                _nested(tree, iter([torch.from_numpy(part) for part in started])),
                lengths=torch.from_numpy(lengths),
            )
        outputs = {"y": y.numpy()}
        outputs |= {
            state_name(name, "out"): part.numpy() for name, part in zip(names, flat(final), strict=True)
        }
        found.append(ProofVector(inputs, outputs))
    return found


def _started(leaf: Leaf, given: Array, fresh: Array) -> Array:
    start = np.zeros_like(given) if leaf.trained is None else leaf.trained[:, None, :]
    new = fresh.reshape(1, -1, *[1] * (given.ndim - 2))
    return np.where(new, start, given).astype(np.float32)


def _sizes(leaf: Leaf, rows: int) -> tuple[int, ...]:
    return tuple(rows if size == "batch" else int(size) for size in leaf.shape)


def _nested(tree: LeafTree, values: Iterator[Tensor]) -> Any:
    """Nest values as a state is nested."""
    return tuple(_nested(part, values) for part in tree) if isinstance(tree, tuple) else next(values)
