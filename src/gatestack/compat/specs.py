"""The specs of layers with torch's and Keras' signatures, made once each, also where a compiler traces."""

from __future__ import annotations

import threading
from functools import cache
from typing import cast

import torch

from gatestack.kernels.spec import Cell, LayerSpec, StackSpec

__all__ = ["spec_of"]

# Every spec there was, by number: a compiler that traces a call reads what a global name holds, and cannot
# make a spec.
_SPECS: list[StackSpec] = []
_LOCK = threading.Lock()


def spec_of(
    cell: str,
    input_size: int,
    hidden_size: int,
    layers: int = 1,
    directions: int = 1,
    projection_size: int = 0,
    dropout: float = 0.0,
) -> StackSpec:
    """Give the spec of layers of one size, with dropout per step between them.

    Example:
        >>> spec_of("lstm", 3, 8, layers=2, directions=2).layers[1].input_size
        16
    """
    place: int = _number(cell, input_size, hidden_size, layers, directions, projection_size, dropout)
    return _SPECS[place]


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _number(
    cell: str,
    input_size: int,
    hidden_size: int,
    layers: int,
    directions: int,
    projection_size: int,
    dropout: float,
) -> int:
    """Make the spec of these sizes, outside of what a compiler traces -> its place in `_SPECS`."""
    with _LOCK:  # the place is the length after the append
        return _made_once(cell, input_size, hidden_size, layers, directions, projection_size, dropout)


@cache
def _made_once(
    cell: str,
    input_size: int,
    hidden_size: int,
    layers: int,
    directions: int,
    projection_size: int,
    dropout: float,
) -> int:
    made = [LayerSpec(cast("Cell", cell), input_size, hidden_size, projection_size=projection_size)]
    above = LayerSpec(
        cast("Cell", cell),
        directions * made[0].output_size,
        hidden_size,
        projection_size=projection_size,
        input_dropout=dropout,
        input_dropout_per_step=dropout > 0,
    )
    _SPECS.append(StackSpec((*made, *[above] * (layers - 1)), directions))
    return len(_SPECS) - 1
