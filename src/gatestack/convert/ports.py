"""The inputs of a network, and the places of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, get_args

import numpy.typing as npt
import torch
from torch import Tensor

from gatestack.convert.layers.base import NetworkLayer
from gatestack.errors import ArgumentError, check_choice

__all__ = ["NetworkLike", "Node", "Port", "PortType"]

PortType = Literal["float32", "float64", "int64"]


@dataclass(frozen=True)
class Port:
    """An input of a network.

    Args:
        name: of the input.
        shape: without the axis of the batch, which is always free; None where an axis is free.
        dtype: "float32" (default), "float64" or "int64". A network in another precision converts floats.
        batch_axis: where the batch is. Default 0; ONNX often has time first.

    Raises:
        ArgumentError: a size that is not a whole number or None, another dtype, a batch_axis out of range.

    Example:
        >>> Port("x", (None, 3)).described
        'x (batch, any, 3) float32'
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: PortType = "float32"
    batch_axis: int = 0

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, get_args(PortType), owner="Port")
        object.__setattr__(self, "shape", tuple(self.shape))
        for size in self.shape:
            if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
                raise ArgumentError(
                    f"shape {self.shape}", where=f"Port {self.name!r}", expected="sizes, or None"
                )
        if not 0 <= self.batch_axis <= len(self.shape):
            raise ArgumentError(
                f"batch_axis {self.batch_axis}",
                where=f"Port {self.name!r}",
                expected=f"0 to {len(self.shape)}, the axes of shape {self.shape} with the batch",
            )

    @property
    def axes(self) -> str:
        """The axes, for people: `(batch, any, 3)`."""
        sizes = ["any" if size is None else str(size) for size in self.shape]
        return f"({', '.join([*sizes[: self.batch_axis], 'batch', *sizes[self.batch_axis :]])})"

    @property
    def described(self) -> str:
        """Name, axes and dtype, for people."""
        return f"{self.name} {self.axes} {self.dtype}"

    def check(self, value: object, like: torch.dtype) -> Tensor:
        """Refuse a tensor that is not of this shape; give it in the dtype that the network computes in.

        Args:
            value: (batch, *shape).
            like: the dtype of the parameters.

        Raises:
            ArgumentError: it is not a tensor, or does not fit.
        """
        where = f"input {self.name!r}"
        if not isinstance(value, Tensor):
            raise ArgumentError(
                f"it is of type {type(value).__name__}", where=where, expected="a torch.Tensor"
            )
        expected = [*self.shape[: self.batch_axis], None, *self.shape[self.batch_axis :]]
        if value.dim() != len(expected) or any(
            size not in (None, found) for size, found in zip(expected, value.shape, strict=True)
        ):
            raise ArgumentError(f"it has shape {tuple(value.shape)}", where=where, expected=self.axes)
        whole = self.dtype == "int64"
        if whole and value.is_floating_point() and bool((value != value.round()).any()):
            raise ArgumentError("it holds numbers that are not whole", where=where, expected="whole numbers")
        return value.to(torch.int64 if whole else like)


@dataclass(frozen=True, eq=False)
class Node:
    """A layer at its place in a network.

    Args:
        name: of the node; no two are equal, and none is that of an input.
        layer: what it computes.
        inputs: where its signals come from: the name of an input or of a node above, whose first output is
            meant; "name:1", "name:2" for further ones.

    Example:
        >>> from gatestack.convert.layers import Flatten, FlattenOptions
        >>> Node("flat", Flatten(FlattenOptions()), ("x",)).inputs
        ('x',)
    """

    name: str
    layer: NetworkLayer
    inputs: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        if not isinstance(self.layer, NetworkLayer):
            raise ArgumentError(
                f"the layer is of type {type(self.layer).__name__}",
                where=f"Node {self.name!r}",
                expected="a layer of gatestack.convert.layers",
            )


class NetworkLike(Protocol):
    """What the readers, writers and provers of a network need to know of it."""

    inputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    name: str

    def predict(self, *arrays: npt.ArrayLike) -> Any:
        """Compute it on arrays of any shape."""

    def reset_state(self) -> None:
        """Forget what it keeps between calls."""

    def to_data(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Give it as data."""

    @classmethod
    def from_data(cls, model: Mapping[str, Any], weights: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Make it of data."""
