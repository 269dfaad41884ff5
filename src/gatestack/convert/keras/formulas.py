"""Masks as formulas: Keras 3 writes down how the mask of a call is computed, step by step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

__all__ = ["MASK_OPERATIONS", "RealSteps", "Reference", "formula"]

MASK_OPERATIONS = (
    "NotEqual", "Any", "LogicalOr", "ExpandDims", "ZerosLike", "OnesLike", "Concatenate", "ConvertToTensor",
)  # fmt: skip
"""The operations of Keras by which it computes masks."""

_MOST_PARTS = 500
_unknown = count()


class Reference(NamedTuple):
    """One output of one call of a layer, as Keras writes it: [name, call, output]."""

    layer: str
    call: int
    output: int


class RealSteps(NamedTuple):
    """Which steps are real; made by `formula`. Two are equal when they are computed alike.

    operation, operands: see `formula`; parts, how many operations it has.
    """

    operation: str
    operands: tuple[Any, ...]
    parts: int

    def renamed(self, rename: Callable[[Reference], Reference]) -> RealSteps:
        """Give the formula over other names of the same tensors."""
        found: list[Any] = []
        for one in self.operands:
            if isinstance(one, RealSteps):
                found.append(one.renamed(rename))
            else:
                found.append(rename(one) if isinstance(one, Reference) else one)
        return RealSteps(self.operation, tuple(found), self.parts)


def formula(operation: str, *operands: Any) -> RealSteps:
    """Make a formula.

    One with very many parts, which a short chain of layers can have, is equal to no other.

    Args:
        operation: "given" (tensor), a mask by itself; "differs" (tensor, value), where it is not a value;
            "any" (formula), of the last axis; "or", "and" (two formulas); "same" (formula); "wider"
            (formula), with an axis of size 1 at the end; "none" (tensor) and "all" (tensor), the same
            everywhere, of its shape; "joined" (axis, formulas …), side by side.
        operands: of the operation.

    Example:
        >>> words = formula("differs", Reference("x", 0, 0), 0.0)
        >>> formula("or", words, words).parts
        3
    """
    parts = 1 + sum(one.parts for one in operands if isinstance(one, RealSteps))
    if parts > _MOST_PARTS:
        return RealSteps("unknown", (next(_unknown),), 1)
    return RealSteps(operation, operands, parts)
