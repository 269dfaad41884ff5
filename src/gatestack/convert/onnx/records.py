"""What a graph is made of before it is ONNX: plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

__all__ = ["DTYPES", "Array", "Graph", "Node", "Tensor", "Value"]

Array = npt.NDArray[Any]
Value = str
"""The name of a value of the graph."""

DTYPES = ("float32", "float64", "int64", "int32", "bool", "string")
"""What inputs and outputs can hold."""


@dataclass(frozen=True)
class Tensor:
    """An input or an output: its name, its kind, its axes; a text for an axis of any size.

    Example:
        >>> Tensor("x", "float32", ("batch", "time", 3)).open_axes
        (0, 1)
    """

    name: str
    dtype: str
    shape: tuple[str | int, ...]

    @property
    def open_axes(self) -> tuple[int, ...]:
        """The positions of the axes of any size."""
        return tuple(axis for axis, size in enumerate(self.shape) if isinstance(size, str))


@dataclass(frozen=True)
class Node:
    """One operator with its names and attributes; an attribute may be a graph of its own."""

    op: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    attributes: Mapping[str, Any]
    domain: str = ""


class Graph(Protocol):
    """What `assembled` reads of a builder."""

    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    nodes: list[Node]
    tensors: dict[str, Array]

    @property
    def is_body(self) -> bool:
        """Whether it stands inside another graph."""

    def ints(self, *values: int) -> Value:
        """Keep whole numbers, (n,)."""
