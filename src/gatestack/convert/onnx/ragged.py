"""The real steps of a padded batch inside a graph, and the edges where ONNX Runtime needs a helping hand.

What is emitted for a layer runs on a batch of at least one row and one step: with no rows ONNX Runtime's
LSTM ends the process, and with no steps its Scan fails. `enter` pads such a batch by one unreal row or step,
`Ragged.leave` cuts it off again. A mask with holes becomes lengths: leaving a step out and keeping the state
over it are the same, so the real steps of each row move to its front, the layers run, and the outputs move
back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.errors import ArgumentError

__all__ = ["Ragged", "enter", "front_order", "gathered", "real_steps"]


@dataclass(frozen=True)
class Ragged:
    """Which steps of the batch inside are real, and how the batch outside looked.

    Args:
        batch: N outside, int64 (1,).
        time: T outside, int64 (1,).
        rows: N inside, at least 1.
        steps: T inside, at least 1.
        lengths: int64 (N,), of the batch inside.
        real: bool (N, T), of the batch inside.
        back: for a mask, where each step of the output comes from, int64 (N, T); else None.
    """

    batch: Value
    time: Value
    rows: Value
    steps: Value
    lengths: Value
    real: Value
    back: Value | None = None

    def pad_state(self, b: GraphBuilder, state: Value, rank: int) -> Value:
        """Pad a state (D, N, …) of so many axes to the rows inside."""
        pads = b.op("Concat", *_pads(b, rank, {1: b.op("Sub", self.rows, self.batch)}), axis=0)
        return b.op("Pad", state, pads)

    def cut_state(self, b: GraphBuilder, state: Value) -> Value:
        """Cut a state (D, N, …) back to the rows outside."""
        return b.op("Slice", state, b.ints(0), self.batch, b.ints(1))

    def cut_rows(self, b: GraphBuilder, value: Value) -> Value:
        """Cut a value (N, …) back to the rows outside."""
        return b.op("Slice", value, b.ints(0), self.batch, b.ints(0))

    def leave(self, b: GraphBuilder, y: Value) -> Value:
        """Bring an output (N, T, …) back to the batch outside; zero where no step is real."""
        ends = b.op("Concat", self.batch, self.time, axis=0)
        y = b.op("Slice", y, b.ints(0, 0), ends, b.ints(0, 1))
        return y if self.back is None else gathered(b, y, self.back)

    def zeroed(self, b: GraphBuilder, y: Value, rank: int | None = 3) -> Value:
        """Set an output (N, T, …) to zero where a step is not real; rank None where it is not known."""
        real = widened(b, self.real, 2, rank) if rank else _alike(b, self.real, y)
        return b.op("Where", real, y, b.op("CastLike", b.number(0), y))

    def last(self, b: GraphBuilder, y: Value) -> Value:
        """Take each row's last real step of y (N, T, F) -> (N, F); zero where there is none."""
        one = b.constant(np.int64(1))
        index = b.op("Max", b.op("Sub", self.lengths, one), b.constant(np.int64(0)))
        place = b.op("Unsqueeze", index, b.ints(1))  # -> (N, 1)
        taken = b.op("GatherND", y, place, batch_dims=1)  # -> (N, F)
        some = b.op("Unsqueeze", b.op("Greater", self.lengths, b.constant(np.int64(0))), b.ints(1))
        return b.op("Where", some, taken, b.number(0))

    def zeros(self, b: GraphBuilder, directions: int, sizes: tuple[Value, ...]) -> Value:
        """Give a state of zeros (D, N, sizes…); each size is a value int64 (1,)."""
        shape = b.op("Concat", b.ints(directions), self.rows, *sizes, axis=0)
        return b.op("ConstantOfShape", shape, value=np.zeros(1, np.float32))

    def final(self, b: GraphBuilder, state: Value, initial: Value, rank: int = 3) -> Value:
        """Give rows without a real step their initial state (D, N, …): ONNX Runtime gives them zero."""
        some = b.op("Greater", self.lengths, b.constant(np.int64(0)))
        axes = b.ints(0, *range(2, rank))
        return b.op("Where", b.op("Unsqueeze", some, axes), state, initial)

    def lengths32(self, b: GraphBuilder) -> Value:
        """Give the lengths as the recurrent operators take them."""
        return b.op("Cast", self.lengths, to=6)  # INT32


def enter(
    b: GraphBuilder, x: Value, *, rank: int = 3, lengths: Value | None = None, mask: Value | None = None
) -> tuple[Value, Ragged]:
    """Take a batch x (N, T, …) of so many axes in.

    Args:
        b: the graph.
        x: the batch.
        rank: how many axes x has.
        lengths: int64 (N,), from 0 to T; None for all steps.
        mask: bool (N, T) instead of lengths.

    Returns:
        The batch inside, and its steps.

    Raises:
        ArgumentError: both lengths and mask.

    Example:
        >>> b = GraphBuilder()
        >>> x, ragged = enter(b, b.input("x", "float32", ("batch", "time", 3)))
        >>> b.output(ragged.leave(b, x), "y", ("batch", "time", 3))
        >>> len(b.model().graph.output)
        1
    """
    if lengths is not None and mask is not None:
        raise ArgumentError("lengths and mask are both given", where="enter", expected="one of them")
    batch, time = b.size(x, 0), b.size(x, 1)
    back = None
    if mask is not None:
        x, lengths, back = _to_the_front(b, x, mask, time)
    elif lengths is None:
        lengths = b.op("Expand", time, batch)
    one = b.ints(1)
    rows, steps = b.op("Max", batch, one), b.op("Max", time, one)
    more_rows, more_steps = b.op("Sub", rows, batch), b.op("Sub", steps, time)
    pads = b.op("Concat", *_pads(b, rank, {0: more_rows, 1: more_steps}), axis=0)
    x = b.op("Pad", x, pads)
    lengths = b.op("Pad", lengths, b.op("Concat", b.ints(0), more_rows, axis=0))
    real = b.op("Less", _positions(b, steps), b.op("Unsqueeze", lengths, b.ints(1)))
    return x, Ragged(batch, time, rows, steps, lengths, real, back)


def widened(b: GraphBuilder, value: Value, rank: int, wanted: int) -> Value:
    """Add axes of size 1 at the end."""
    if rank == wanted:
        return value
    return b.op("Unsqueeze", value, b.ints(*range(rank, wanted)))


def gathered(b: GraphBuilder, y: Value, index: Value) -> Value:
    """Take y[n, index[n, t]] of y (N, T, …) for index (N, T)."""
    return b.op("GatherElements", y, b.op("Expand", _alike(b, index, y), b.op("Shape", y)), axis=1)


def _alike(b: GraphBuilder, value: Value, y: Value) -> Value:
    """Add axes of size 1 at the end of a value (N, T) until it has as many as y."""
    more = b.op("Sub", b.op("Shape", b.op("Shape", y)), b.ints(2))
    ones = b.op("ConstantOfShape", more, value=np.ones(1, np.int64))
    return b.op("Reshape", value, b.op("Concat", b.op("Shape", value), ones, axis=0))


def real_steps(b: GraphBuilder, x: Value, lengths: Value) -> Value:
    """Say which steps of x (N, T, …) are real, from lengths (N,) -> bool (N, T)."""
    return b.op("Less", _positions(b, b.size(x, 1)), b.op("Unsqueeze", lengths, b.ints(1)))


def front_order(b: GraphBuilder, mask: Value) -> Value:
    """Give the order of steps that has the real ones of each row first, int64 (N, T)."""
    time = b.size(mask, 1)
    # Each group keeps its own order: all keys differ, so no tie can be broken otherwise.
    late = b.op("Mul", b.op("Cast", b.op("Not", mask), to=7), time)  # INT64
    _, order = b.ops("TopK", b.op("Add", late, _positions(b, time)), time, outputs=2, axis=1, largest=0)
    return order


def _positions(b: GraphBuilder, time: Value) -> Value:
    """Count the steps, from an int64 (1,) -> (T,)."""
    end = b.op("Squeeze", time, b.ints(0))
    return b.op("Range", b.constant(np.int64(0)), end, b.constant(np.int64(1)))


def _to_the_front(b: GraphBuilder, x: Value, mask: Value, time: Value) -> tuple[Value, Value, Value]:
    """Move the real steps of each row to its front -> x, lengths, the way back."""
    order = front_order(b, mask)
    _, back = b.ops("TopK", order, time, outputs=2, axis=1, largest=0)
    lengths = b.op("ReduceSum", b.op("Cast", mask, to=7), b.ints(1), keepdims=0)
    return gathered(b, x, order), lengths, back


def _pads(b: GraphBuilder, rank: int, more: dict[int, Value]) -> list[Value]:
    """Give the parts of ONNX's `pads`: nothing before, `more` after some axes."""
    zero = b.ints(0)
    return [b.ints(*[0] * rank), *(more.get(axis, zero) for axis in range(rank))]
