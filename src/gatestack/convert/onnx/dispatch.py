"""How a layer becomes operators: two functions, one case for each class of layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import TypeAlias

import numpy as np
from torch import nn

from gatestack.convert.onnx.builder import Array, GraphBuilder, Value
from gatestack.convert.onnx.ragged import Ragged
from gatestack.errors import ArgumentError

__all__ = [
    "Leaf",
    "LeafTree",
    "Output",
    "StateValues",
    "emit_layer",
    "initial",
    "mapped",
    "started",
    "state_leaves",
    "suffixed",
]

StateValues: TypeAlias = "Value | tuple[StateValues, ...] | None"
"""The state of a layer, nested as the layer has it; None for the initial state."""

Output: TypeAlias = "Value | tuple[Value, Value]"
"""What a layer gives: two values where it is `Bidirectional` with merge=None."""


@dataclass(frozen=True)
class Leaf:
    """One tensor of a layer's state: (directions, batch, sizes…).

    Args:
        name: "h" or "c", and where there are several layers their place, such as "h_l1_reverse".
        directions: D, or 1.
        sizes: of the axes after the batch; a text for one that follows from the input.
        trained: initial values (D, size) that were learnt; None for zeros.
    """

    name: str
    directions: int
    sizes: tuple[int | str, ...]
    trained: Array | None = None

    @property
    def shape(self) -> tuple[int | str, ...]:
        """As an input or output of a graph has it."""
        return (self.directions, "batch", *self.sizes)


LeafTree: TypeAlias = "Leaf | tuple[LeafTree, ...]"


@singledispatch
def emit_layer(
    layer: nn.Module,
    b: GraphBuilder,  # noqa: ARG001 (the cases read what this one only refuses)
    x: Value,  # noqa: ARG001
    ragged: Ragged,  # noqa: ARG001
    state: StateValues,  # noqa: ARG001
) -> tuple[Output, StateValues]:
    """Add a layer to a graph.

    Args:
        layer: of `gatestack.nn`, in eval mode or taken as such.
        b: the graph.
        x: (N, T, …) inside, see `Ragged`.
        ragged: its steps.
        state: nested as the layer has it, padded to the rows inside.

    Returns:
        The output, zero where a step is not real, and the state after each row's last real step.

    Raises:
        ArgumentError: there is no ONNX for this class.
    """
    raise ArgumentError(
        f"there is no ONNX for {type(layer).__name__}",
        where="export",
        hint="layers of gatestack.nn, networks of gatestack.convert and fitted estimators can be exported",
    )


@singledispatch
def state_leaves(layer: nn.Module) -> LeafTree:
    """Say which tensors the state of a built layer has, nested as the layer has them.

    Raises:
        ArgumentError: there is no ONNX for this class.
    """
    raise ArgumentError(f"there is no ONNX for {type(layer).__name__}", where="export")


def suffixed(tree: LeafTree, suffix: str) -> LeafTree:
    """Add a suffix to all names, and to those of open axes.

    Example:
        >>> suffixed((Leaf("h", 1, (4,)), Leaf("c", 1, (4,))), "_l0")[1].name
        'c_l0'
    """
    if isinstance(tree, Leaf):
        sizes = tuple(size + suffix if isinstance(size, str) else size for size in tree.sizes)
        return replace(tree, name=tree.name + suffix, sizes=sizes)
    return tuple(suffixed(part, suffix) for part in tree)


def mapped(
    tree: LeafTree, state: StateValues, function: Callable[[Leaf, Value | None], Value]
) -> StateValues:
    """Give each leaf's value to a function, and nest what it gives alike; None for a leaf without one."""
    if isinstance(tree, Leaf):
        if isinstance(state, tuple):
            raise ArgumentError(f"state {tree.name} has {len(state)} parts", expected="one tensor")
        return function(tree, state)
    parts = (None,) * len(tree) if state is None else state
    if not isinstance(parts, tuple) or len(parts) != len(tree):
        raise ArgumentError("the state is nested otherwise than the layer", expected=f"{len(tree)} parts")
    return tuple(mapped(leaf, part, function) for leaf, part in zip(tree, parts, strict=True))


def started(b: GraphBuilder, leaf: Leaf, given: Value, fresh: Value) -> Value:
    """Give the initial state of a leaf to the rows (N,) bool that are fresh, what was given to the others."""
    start = np.zeros((1, 1, 1), np.float32) if leaf.trained is None else leaf.trained[:, None, :]
    new = b.op("Unsqueeze", fresh, b.ints(0, *range(2, len(leaf.shape))))
    return b.op("Where", new, b.weight("initial_" + leaf.name, start, channel_axes=start.ndim), given)


def initial(b: GraphBuilder, ragged: Ragged, leaf: Leaf, given: Value | None) -> Value:
    """Give the state that was given (D, N, …), or else the initial one of a leaf of known sizes."""
    if given is not None:
        return given
    if leaf.trained is None:
        sizes = [size for size in leaf.sizes if isinstance(size, int)]
        if len(sizes) != len(leaf.sizes):
            raise RuntimeError(f"the sizes {leaf.sizes} of state {leaf.name} follow from the input")
        return ragged.zeros(b, leaf.directions, (b.ints(*sizes),))
    start = b.weight("initial_" + leaf.name, leaf.trained[:, None, :], channel_axes=leaf.trained.ndim)
    shape = b.op("Concat", b.ints(1), ragged.rows, b.ints(1), axis=0)
    return b.op("Expand", start, shape)
