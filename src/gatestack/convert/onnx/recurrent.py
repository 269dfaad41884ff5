"""LSTM, GRU and RNN layers: ONNX's own operators where they mean the same, else a loop over steps.

| ours | ONNX |
|---|---|
| gates i f g o, r z n | i o f c, z r h |
| peepholes i f o | i o f |
| two biases | one row: those of W, then those of R |
| (N, T, C) in, (N, T, D·H) out | (T, N, C) in, (T, D, N, H) out |
| a row without real steps keeps its initial state | ONNX Runtime gives zeros |
| reset after, before | `linear_before_reset` 1, 0 |
| projection, layer normalisation, expectation of zoneout | not there: `Scan` |

Source: the operators LSTM-14, GRU-14, RNN-14, Scan-16 of the ONNX specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from gatestack.convert.onnx.builder import Array, GraphBuilder, Value
from gatestack.convert.onnx.dispatch import Leaf, LeafTree, StateValues, emit_layer, initial, state_leaves
from gatestack.convert.onnx.loops import looped, merged_two, turned
from gatestack.convert.onnx.ragged import Ragged
from gatestack.convert.onnx.steps import CellWeights, cell_step, input_product
from gatestack.errors import ArgumentError
from gatestack.nn.recurrent import Recurrent

__all__ = ["cell_weights", "emit_directions", "merged", "recurrent_leaves"]

_OPS = {"lstm": "LSTM", "gru": "GRU", "gru_reset_before": "GRU", "rnn": "RNN"}
_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "gru_reset_before": (1, 0, 2), "rnn": (0,)}
_ACTIVATIONS = {"tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu", "softsign": "Softsign"}


@emit_layer.register(Recurrent)
def _(
    layer: Recurrent, b: GraphBuilder, x: Value, ragged: Ragged, state: StateValues
) -> tuple[Value, StateValues]:
    tree = recurrent_leaves(layer)
    leaves = tree if isinstance(tree, tuple) else (tree,)
    given = state if isinstance(state, tuple) else (state,) * len(leaves)
    start = tuple(
        initial(b, ragged, leaf, one)  # type: ignore[arg-type]
        for leaf, one in zip(leaves, given, strict=True)
    )
    y, final = emit_directions(b, cell_weights(layer), x, ragged, start)
    sizes = (layer.num_directions, layer.spec.output_size)
    if layer.return_sequences:
        output = merged(b, y, *sizes, layer.merge, rank=4)
    else:
        output = merged(b, b.op("Transpose", final[0], perm=(1, 0, 2)), *sizes, layer.merge, rank=3)
    return output, (final if isinstance(tree, tuple) else final[0])


@state_leaves.register(Recurrent)
def recurrent_leaves(layer: Recurrent) -> LeafTree:
    """Say which states a layer has: (h, c) of an LSTM, h of the others.

    Example:
        >>> from gatestack.nn import GRU
        >>> recurrent_leaves(GRU(4, 2)).shape
        (1, 'batch', 4)
    """
    trained = [
        array(getattr(layer, f"initial_{name}_l0")) if layer.initial_state == "trained" else None
        for name in layer.state_names
    ]
    leaves = tuple(
        Leaf(name, layer.num_directions, (size,), values)
        for name, size, values in zip(layer.state_names, layer.spec.state_sizes, trained, strict=True)
    )
    return leaves if len(leaves) == 2 else leaves[0]


def cell_weights(layer: Recurrent) -> list[CellWeights]:
    """Read the parameters of each direction of a built layer.

    Raises:
        ArgumentError: the layer is not built, or not of float32.

    Example:
        >>> from gatestack.nn import LSTM
        >>> [one.cell for one in cell_weights(LSTM(4, 2, bidirectional=True))]
        ['lstm', 'lstm']
    """
    spec = layer.spec
    rnn = spec.cell.startswith("rnn")
    found = []
    for one in layer.weights(dropped=False):
        parts: dict[str, Any] = {
            name: array(part) for name, part in one._asdict().items() if part is not None
        }
        found.append(
            CellWeights(
                "rnn" if rnn else spec.cell,
                **parts,
                activation=spec.cell.removeprefix("rnn_") if rnn else "tanh",
                zoneout_hidden=spec.zoneout_hidden,
                zoneout_cell=spec.zoneout_cell,
            )
        )
    return found


def array(tensor: Tensor) -> Array:
    """Take the values of a parameter, float32 of any shape.

    Raises:
        ArgumentError: another dtype.
    """
    values = tensor.detach().cpu()
    if str(values.dtype) != "torch.float32":
        raise ArgumentError(
            f"the weights are {str(values.dtype).removeprefix('torch.')}",
            where="export",
            expected="float32, the only kind for which ONNX Runtime has recurrent operators",
            hint="call .float() on the model first",
        )
    found: Array = values.numpy()
    return found


def emit_directions(
    b: GraphBuilder,
    weights: Sequence[CellWeights],
    x: Value,
    ragged: Ragged,
    state: tuple[Value, ...],
) -> tuple[Value, tuple[Value, ...]]:
    """Run one layer, one or both ways.

    Args:
        b: the graph.
        weights: of each direction; the second one reads each row from its last real step to its first.
        x: (N, T, C) inside.
        ragged: its steps.
        state: (D, N, ·) each.

    Returns:
        (N, T, D, P), zero where a step is not real, and the final states, (D, N, ·) each.
    """
    run = _standard if all(map(_is_standard, weights)) else _looped
    y, final = run(b, weights, x, ragged, state)
    return ragged.zeroed(b, y, 4), final


def merged(b: GraphBuilder, y: Value, directions: int, width: int, merge: str, rank: int) -> Value:
    """Make one of the directions of y (…, D, P): (…, D·P) side by side, else (…, P)."""
    if directions == 1 or merge == "concat":
        return b.reshape(y, (*[0] * (rank - 2), directions * width))
    parts = b.ops("Split", y, b.ints(1, 1), outputs=2, axis=rank - 2)
    one = merged_two(b, parts[0], parts[1], merge, axis=rank - 1)
    return b.op("Squeeze", one, b.ints(rank - 2))


def _is_standard(w: CellWeights) -> bool:
    if w.weight_hr is not None or w.gain_ih is not None or w.zoneout_hidden or w.zoneout_cell:
        return False
    return w.activation in _ACTIVATIONS and w.gate_activation in _ACTIVATIONS


def _standard(
    b: GraphBuilder, weights: Sequence[CellWeights], x: Value, ragged: Ragged, state: tuple[Value, ...]
) -> tuple[Value, tuple[Value, ...]]:
    first = weights[0]
    cell, hidden = first.cell, first.hidden_size
    order = _ORDER[cell]
    biases = [np.concatenate([_reordered(part, order) for part in (w.bias_ih, w.bias_hh)]) for w in weights]
    inputs: list[Value | None] = [
        b.op("Transpose", x, perm=(1, 0, 2)),
        b.weight("W", np.stack([_reordered(one.weight_ih, order) for one in weights]), channel_axes=2),
        b.weight("R", np.stack([_reordered(one.weight_hh, order) for one in weights]), channel_axes=2),
        b.weight("B", np.stack(biases), channel_axes=2),
        ragged.lengths32(b),
        *state,
    ]
    if first.peephole is not None:
        peepholes = [one.peephole[[0, 2, 1]].reshape(-1) for one in weights if one.peephole is not None]
        inputs.append(b.weight("P", np.stack(peepholes), channel_axes=2))
    attributes: dict[str, Any] = {"linear_before_reset": int(cell == "gru")} if _OPS[cell] == "GRU" else {}
    y, *final = b.ops(
        _OPS[cell],
        *inputs,
        outputs=1 + len(state),
        hidden_size=hidden,
        direction="bidirectional" if len(weights) == 2 else "forward",
        activations=[name for one in weights for name in _activations(one)],
        **attributes,
    )
    kept = tuple(ragged.final(b, *both) for both in zip(final, state, strict=True))
    return b.op("Transpose", y, perm=(2, 0, 1, 3)), kept  # (T, D, N, H) -> (N, T, D, H)


def _activations(w: CellWeights) -> list[str]:
    gate, inner = _ACTIVATIONS[w.gate_activation], _ACTIVATIONS[w.activation]
    return {"LSTM": [gate, inner, inner], "GRU": [gate, inner], "RNN": [inner]}[_OPS[w.cell]]


def _reordered(values: Array, order: Sequence[int]) -> Array:
    """Put the gates' blocks of rows into ONNX's order."""
    blocks = np.split(values, len(order))
    return np.concatenate([blocks[gate] for gate in order])


def _looped(
    b: GraphBuilder, weights: Sequence[CellWeights], x: Value, ragged: Ragged, state: tuple[Value, ...]
) -> tuple[Value, tuple[Value, ...]]:
    outputs, finals = [], []
    for number, one in enumerate(weights):
        name = "reverse/" if number else ""
        row = b.constant(np.int64(number))
        start = tuple(b.op("Gather", part, row, axis=0) for part in state)  # -> (N, ·)
        fed = turned(b, x, ragged) if number else x
        wide = input_product(b, name, one, fed)
        step = cell_step(b, name, one)
        y, final = looped(b, step, wide, ragged, start)
        outputs.append(b.op("Unsqueeze", turned(b, y, ragged) if number else y, b.ints(2)))
        finals.append(tuple(b.op("Unsqueeze", part, b.ints(0)) for part in final))
    joined = tuple(
        parts[0] if len(parts) == 1 else b.op("Concat", *parts, axis=0) for parts in zip(*finals, strict=True)
    )
    return (outputs[0] if len(outputs) == 1 else b.op("Concat", *outputs, axis=2)), joined
