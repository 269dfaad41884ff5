"""What is known of a value while a graph of torch is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

__all__ = ["Extent", "Grid", "Packed", "Pair", "Unusable", "Wire", "Zeros"]

Pair: TypeAlias = tuple[int, int]
"""One size in two runs of the module on inputs of other sizes; two equal ones are a size that is fixed."""


@dataclass(frozen=True)
class Wire:
    """A tensor that a node of the network gives.

    Args:
        name: of the output in the network.
        sizes: of its axes, in two runs.
        dtype: what the module computes it in.
    """

    name: str
    sizes: tuple[Pair, ...]
    dtype: torch.dtype = torch.float32

    @property
    def rank(self) -> int:
        """How many axes it has."""
        return len(self.sizes)

    def axis(self, number: int) -> int:
        """Count an axis from the front."""
        return number % max(self.rank, 1)


@dataclass(frozen=True)
class Extent:
    """A size that is known only when the network runs, such as that of the batch.

    Args:
        name: of the output in the network that holds it, whole numbers of shape (1,).
        size: in two runs.
    """

    name: str
    size: Pair


@dataclass(frozen=True)
class Zeros:
    """A tensor of zeros, made in `forward`; as a state, it is what a layer starts from anyhow.

    Args:
        shape: sizes, whole numbers or `Extent`.
    """

    shape: tuple[Any, ...]


@dataclass(frozen=True)
class Grid:
    """The numbers 0, 1, 2, … up to a size, which point at each row of a batch.

    Args:
        size: whole number or `Extent`.
    """

    size: Any


@dataclass(frozen=True)
class Packed:
    """A `PackedSequence`: a padded batch and its lengths.

    Args:
        padded: (N, T, C).
        lengths: (N,).
        steps: what `pad_packed_sequence` may take as `total_length`: T.
    """

    padded: Wire
    lengths: Wire
    steps: Pair


@dataclass(frozen=True)
class Unusable:
    """A result that the network cannot give; an error where it is read.

    Args:
        what: it is.
    """

    what: str


def pairs_of(first: Tensor, second: Tensor) -> tuple[Pair, ...]:
    """Give the sizes of a tensor in two runs.

    Example:
        >>> pairs_of(torch.zeros(2, 5), torch.zeros(3, 5))
        ((2, 3), (5, 5))
    """
    return tuple(zip(first.shape, second.shape, strict=True))
