"""Values of an ONNX graph with Python's arithmetic, so that formulas read as they do in Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gatestack.convert.onnx.builder import GraphBuilder, Value

__all__ = ["Operand", "Term", "concat", "constant", "stack", "where", "zeros"]

# What ONNX calls the kinds of numbers in the attributes of its operators.
_KINDS = {"float32": 1, "int64": 7, "bool": 9, "float64": 11}


@dataclass(frozen=True, eq=False)
class Term:
    """A value of a graph.

    An operator with a number or an array takes it as a constant of its own kind. Where one operand lives in
    the body of a loop and the other outside, the result lives in the body.

    Args:
        graph: where it lives.
        name: of the value.
        dtype: "float32", "float64", "int64" or "bool".

    Example:
        >>> graph = GraphBuilder()
        >>> x = Term(graph, graph.input("x", "float32", ("batch", 2)), "float32")
        >>> ((x - 1) / 2 > 0).dtype
        'bool'
    """

    graph: GraphBuilder
    name: Value
    dtype: str

    def op(self, op_type: str, *others: Operand, dtype: str | None = None, **attributes: Any) -> Term:
        """Apply an operator of ONNX that has one output.

        Args:
            op_type: as ONNX calls it.
            others: its further inputs; a number or an array becomes a constant of this term's kind.
            dtype: of the output; None for that of this term.
            attributes: of the operator.
        """
        terms = [other if isinstance(other, Term) else constant(self, other) for other in others]
        graph = next((t.graph for t in (self, *terms) if t.graph.outside is not None), self.graph)
        name = graph.op(op_type, self.name, *(term.name for term in terms), **attributes)
        return Term(graph, name, dtype or self.dtype)

    def __add__(self, other: Operand) -> Term:
        return self.op("Add", other)

    def __sub__(self, other: Operand) -> Term:
        return self.op("Sub", other)

    def __mul__(self, other: Operand) -> Term:
        return self.op("Mul", other)

    def __truediv__(self, other: Operand) -> Term:
        return self.op("Div", other)

    def __floordiv__(self, other: Operand) -> Term:
        """Divide whole numbers, down as Python does; ONNX's own division cuts towards zero."""
        return (self - self % other) / other

    def __mod__(self, other: Operand) -> Term:
        return self.op("Mod", other)

    def __matmul__(self, other: Operand) -> Term:
        return self.op("MatMul", other)

    def __lt__(self, other: Operand) -> Term:
        return self.op("Less", other, dtype="bool")

    def __gt__(self, other: Operand) -> Term:
        return self.op("Greater", other, dtype="bool")

    def equals(self, other: Operand) -> Term:
        """Compare element by element."""
        return self.op("Equal", other, dtype="bool")

    def __and__(self, other: Term) -> Term:
        return self.op("And", other)

    def __or__(self, other: Term) -> Term:
        return self.op("Or", other)

    def __invert__(self) -> Term:
        return self.op("Not")

    def to(self, dtype: str) -> Term:
        """Turn into another kind of numbers."""
        return self if dtype == self.dtype else self.op("Cast", dtype=dtype, to=_KINDS[dtype])

    def observed(self) -> Term:
        """Say where a value is not NaN."""
        return ~self.op("IsNaN", dtype="bool")

    def axes(self, *places: int) -> Term:
        """Put in axes of size 1 at these places."""
        return self.op("Unsqueeze", np.array(places, dtype=np.int64))

    def without(self, axis: int) -> Term:
        """Take out an axis of size 1."""
        return self.op("Squeeze", np.array([axis], dtype=np.int64))

    def cut(self, axis: int, begin: int, end: int | None = None) -> Term:
        """Slice one axis, as `[begin:end]` does."""
        ends = np.iinfo(np.int64).max if end is None else end
        return self.op("Slice", *(np.array([place], dtype=np.int64) for place in (begin, ends, axis)))

    def pick(self, axis: int, places: int | Sequence[int] | npt.NDArray[np.int64] | Term) -> Term:
        """Take these places of one axis; a single one takes the axis away."""
        index = places if isinstance(places, Term) else np.asarray(places, dtype=np.int64)
        return self.op("Gather", index, axis=axis)

    def at(self, places: Term) -> Term:
        """Take places (N, R, 1) of axis 1 row by row: (N, T, …) -> (N, R, …); (N, 1) -> (N, …)."""
        return self.op("GatherND", places, batch_dims=1)

    def shared(self, shape: Term) -> Term:
        """Repeat axes of size 1 up to a shape."""
        return self.op("Expand", shape)

    def sums(self, axis: int = 1) -> Term:
        """Sum up along an axis from its start."""
        return self.op("CumSum", np.int64(axis))

    def total(self, axis: int) -> Term:
        """Sum over an axis, which stays with size 1."""
        return self.op("ReduceSum", np.array([axis], dtype=np.int64), keepdims=1)

    def size(self, axis: int) -> Term:
        """Give the size of an axis, int64 (1,)."""
        return self.op("Shape", dtype="int64", start=axis, end=axis + 1)

    def shaped(self, *sizes: int) -> Term:
        """Give another shape; 0 keeps an axis, -1 is what is left."""
        return self.op("Reshape", np.array(sizes, dtype=np.int64))

    def upto(self) -> Term:
        """Count 0, 1, … up to this whole number (1,), which is left out."""
        scalar = self.without(0)
        start, step = constant(self, np.int64(0)), constant(self, np.int64(1))
        return start.op("Range", scalar, step)


Operand: TypeAlias = Term | npt.ArrayLike


def constant(like: Term, value: npt.ArrayLike) -> Term:
    """Keep an array in the graph of a term; Python's numbers take the kind of the term."""
    array = np.asarray(value)
    if not isinstance(value, np.ndarray | np.generic):
        array = array.astype(like.dtype)
    return Term(like.graph, like.graph.constant(array), str(array.dtype))


def where(condition: Term, yes: Term, no: Operand) -> Term:
    """Choose element by element."""
    other = no if isinstance(no, Term) else constant(yes, no)
    return condition.op("Where", yes, other, dtype=yes.dtype)


def concat(axis: int, *terms: Term) -> Term:
    """Put terms one after the other along an axis."""
    first, *others = terms
    return first.op("Concat", *others, axis=axis) if others else first


def stack(*terms: Term) -> Term:
    """Put terms of two axes side by side along a new last axis."""
    return concat(2, *(term.axes(2) for term in terms))


def zeros(rows: Term, *sizes: int | Term, dtype: str) -> Term:
    """Give zeros (rows, *sizes); a term among the sizes is int64 (1,)."""
    parts = [size if isinstance(size, Term) else constant(rows, np.array([size])) for size in sizes]
    shape = concat(0, rows, *parts)
    return shape.op("ConstantOfShape", dtype=dtype, value=np.zeros(1, dtype=dtype))
