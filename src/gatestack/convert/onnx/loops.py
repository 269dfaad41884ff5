"""Loops over the steps of a ragged batch."""

from __future__ import annotations

from collections.abc import Callable

from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.convert.onnx.ragged import Ragged, widened

__all__ = ["CellStep", "looped", "merged_two", "turned"]

CellStep = Callable[[GraphBuilder, Value, tuple[Value, ...]], tuple[Value, ...]]
"""step(body, input of the step, state) -> the new state, the output of the step first."""


def looped(
    b: GraphBuilder,
    step: CellStep,
    x: Value,
    ragged: Ragged,
    state: tuple[Value, ...],
    rank: int = 3,
) -> tuple[Value, tuple[Value, ...]]:
    """Run a cell over a batch.

    Args:
        b: the graph.
        step: of the cell. What it gives first is shown at each step.
        x: (N, T, …) inside, of so many axes.
        ragged: its steps.
        state: (N, …) each, of one axis less than x.
        rank: axes of x.

    Returns:
        The first state at every step (N, T, …), not zeroed, and the states after the last real steps.
    """
    order = (1, 0, *range(2, rank))
    real = b.op("Transpose", ragged.real, perm=(1, 0))  # -> (T, N)

    def one(
        body: GraphBuilder, old: tuple[Value, ...], seen: tuple[Value, ...]
    ) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
        now = widened(body, seen[1], 1, rank - 1)
        new = tuple(body.op("Where", now, *both) for both in zip(step(body, seen[0], old), old, strict=True))
        return new, new[:1]

    over = {b.op("Transpose", x, perm=order): "float32", real: "bool"}
    final, (y,) = b.scan(one, state, over)
    return b.op("Transpose", y, perm=order), final


def merged_two(b: GraphBuilder, ahead: Value, back: Value, merge: str, axis: int) -> Value:
    """Make one output of those of two directions, as `gatestack.nn.merge.merged` does.

    Args:
        b: the graph.
        ahead: of the first direction.
        back: of the second one.
        merge: "concat", "sum", "mul" or "average".
        axis: of the features, along which "concat" puts them.

    Example:
        >>> b = GraphBuilder()
        >>> x = b.input("x", "float32", ("batch", 3))
        >>> merged_two(b, x, x, "mul", axis=1).startswith("Mul")
        True
    """
    if merge == "concat":
        return b.op("Concat", ahead, back, axis=axis)
    one = b.op("Mul" if merge == "mul" else "Add", ahead, back)
    return b.op("Mul", one, b.number(0.5)) if merge == "average" else one


def turned(b: GraphBuilder, x: Value, ragged: Ragged) -> Value:
    """Turn round the real steps of each row of x (N, T, …) and leave the rest in place.

    Example:
        >>> from gatestack.convert.onnx.ragged import enter
        >>> b = GraphBuilder()
        >>> x, ragged = enter(b, b.input("x", "float32", ("batch", "time", 3)))
        >>> turned(b, x, ragged).startswith("ReverseSequence")
        True
    """
    return b.op("ReverseSequence", x, ragged.lengths, batch_axis=0, time_axis=1)
