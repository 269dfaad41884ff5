"""Loops over cells: one of ONNX's operators where the cell is one of them, else a loop of elementary ones.

Cells on top of each other read only the step that the cell below has finished; so each may run over the whole
sequence before the next one begins, and becomes an operator of its own.
"""

from __future__ import annotations

from functools import singledispatch

from gatestack.convert.onnx.activations import activated
from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.convert.onnx.dispatch import (
    Leaf,
    LeafTree,
    StateValues,
    emit_layer,
    initial,
    state_leaves,
    suffixed,
)
from gatestack.convert.onnx.loops import looped
from gatestack.convert.onnx.ragged import Ragged
from gatestack.convert.onnx.recurrent import array, emit_directions
from gatestack.convert.onnx.steps import CellWeights
from gatestack.errors import ArgumentError
from gatestack.nn import Cell, DeepTransitionCell, GRUCell, Loop, LSTMCell, RNNCell, StackedCells

__all__ = ["cell_leaves", "emit_cell"]


@emit_layer.register(Loop)
def _(
    layer: Loop, b: GraphBuilder, x: Value, ragged: Ragged, state: StateValues
) -> tuple[Value, StateValues]:
    y, final = emit_cell(layer.cell, b, x, ragged, state)
    return (y if layer.return_sequences else b.op("Squeeze", _shown(layer.cell, final), b.ints(0))), final


@state_leaves.register(Loop)
def _(layer: Loop) -> LeafTree:
    return cell_leaves(layer.cell)


@singledispatch
def emit_cell(
    cell: Cell,
    b: GraphBuilder,  # noqa: ARG001 (the cases read what this one only refuses)
    x: Value,  # noqa: ARG001
    ragged: Ragged,  # noqa: ARG001
    state: StateValues,  # noqa: ARG001
) -> tuple[Value, StateValues]:
    """Run a cell over x (N, T, C) inside -> its outputs (N, T, P), zero where a step is not real, its state.

    Raises:
        ArgumentError: there is no ONNX for this class.
    """
    raise ArgumentError(f"there is no ONNX for the cell {type(cell).__name__}", where="export")


@singledispatch
def cell_leaves(cell: Cell) -> LeafTree:
    """Say which tensors the state of a built cell has, as its `Loop` has them: (1, N, ·).

    Raises:
        ArgumentError: there is no ONNX for this class.
    """
    raise ArgumentError(f"there is no ONNX for the cell {type(cell).__name__}", where="export")


@emit_cell.register(LSTMCell)
@emit_cell.register(GRUCell)
@emit_cell.register(RNNCell)
def _(
    cell: LSTMCell | GRUCell | RNNCell, b: GraphBuilder, x: Value, ragged: Ragged, state: StateValues
) -> tuple[Value, StateValues]:
    leaves, given = _flat(cell_leaves(cell), state)
    start = tuple(initial(b, ragged, leaf, one) for leaf, one in zip(leaves, given, strict=True))
    y, final = emit_directions(b, [_weights(cell)], x, ragged, start)
    return b.op("Squeeze", y, b.ints(2)), (final if len(final) > 1 else final[0])


@cell_leaves.register(LSTMCell)
@cell_leaves.register(GRUCell)
@cell_leaves.register(RNNCell)
@cell_leaves.register(DeepTransitionCell)
def _(cell: LSTMCell | GRUCell | RNNCell | DeepTransitionCell) -> LeafTree:
    h = Leaf("h", 1, (cell.hidden_size,))
    return (h, Leaf("c", 1, (cell.hidden_size,))) if isinstance(cell, LSTMCell) else h


@emit_cell.register(StackedCells)
def _(
    cell: StackedCells, b: GraphBuilder, x: Value, ragged: Ragged, state: StateValues
) -> tuple[Value, StateValues]:
    finals = []
    for number, one in enumerate(_cells(cell)):
        with b.scope(f"l{number}"):
            x, final = emit_cell(one, b, x, ragged, state[number] if isinstance(state, tuple) else None)
        finals.append(final)
    return x, tuple(finals)


@cell_leaves.register(StackedCells)
def _(cell: StackedCells) -> LeafTree:
    return tuple(suffixed(cell_leaves(one), f"_l{number}") for number, one in enumerate(_cells(cell)))


@emit_cell.register(DeepTransitionCell)
def _(
    cell: DeepTransitionCell, b: GraphBuilder, x: Value, ragged: Ragged, state: StateValues
) -> tuple[Value, StateValues]:
    (leaf,), (given,) = _flat(cell_leaves(cell), state)
    # Both biases of the first transition are added before the loop.
    bias = array(cell.bias_ih_l0) + array(cell.get_parameter("bias_hh_t1"))
    product = b.op("MatMul", x, b.matrix("weight_ih", array(cell.weight_ih_l0)))
    wide = b.op("Add", product, b.weight("bias", bias))

    def step(body: GraphBuilder, seen: Value, state: tuple[Value, ...]) -> tuple[Value, ...]:
        (h,) = state
        z = h
        for k in range(1, cell.depth + 1):
            weight = body.matrix(f"weight_hh_t{k}", array(cell.get_parameter(f"weight_hh_t{k}")))
            total = body.op("MatMul", z, weight)
            added = seen if k == 1 else body.weight(f"bias_t{k}", array(cell.get_parameter(f"bias_hh_t{k}")))
            total = body.op("Add", total, added)
            if k == cell.depth and cell.shortcut:
                past = body.matrix("weight_hh_shortcut", array(cell.get_parameter("weight_hh_shortcut")))
                total = body.op("Add", total, body.op("MatMul", h, past))
            z = activated(body, cell.activation, total)
        return (z,)

    start = b.op("Squeeze", initial(b, ragged, leaf, given), b.ints(0))
    y, (final,) = looped(b, step, wide, ragged, (start,))
    return ragged.zeroed(b, y), b.op("Unsqueeze", final, b.ints(0))


def _shown(cell: Cell, state: StateValues) -> Value | None:
    """Find h of the last cell in the state of a cell."""
    if isinstance(cell, StackedCells) and isinstance(state, tuple):
        return _shown(_cells(cell)[-1], state[-1])
    h = state[0] if isinstance(state, tuple) else state
    return h if isinstance(h, str) else None


def _weights(cell: LSTMCell | GRUCell | RNNCell) -> CellWeights:
    kind = "lstm" if isinstance(cell, LSTMCell) else "gru" if isinstance(cell, GRUCell) else "rnn"
    if isinstance(cell, GRUCell) and cell.reset == "before":
        kind = "gru_reset_before"
    return CellWeights(
        kind,
        array(cell.weight_ih_l0),
        array(cell.weight_hh_l0),
        array(cell.bias_ih_l0),
        array(cell.bias_hh_l0),
        activation=cell.activation,
        gate_activation=cell.gate_activation,
    )


def _flat(tree: LeafTree, state: StateValues) -> tuple[list[Leaf], list[Value | None]]:
    """Put the leaves of one cell, and what is given for them, side by side."""
    leaves = [leaf for leaf in (tree if isinstance(tree, tuple) else (tree,)) if isinstance(leaf, Leaf)]
    parts = state if isinstance(state, tuple) else (state,) * len(leaves)
    return leaves, [part for part in parts if part is None or isinstance(part, str)]


def _cells(cell: StackedCells) -> list[Cell]:
    return [one for one in cell.cells if isinstance(one, Cell)]
