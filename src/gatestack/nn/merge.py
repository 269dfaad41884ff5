"""How two directions, or several layers, become one output."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gatestack.errors import ArgumentError

__all__ = ["Merge", "beside", "merged"]

Merge = Literal["concat", "sum", "mul", "average"]


def merged(forward: Tensor, reverse: Tensor, merge: Merge, *, dim: int) -> Tensor:
    """Make one output of those of two directions.

    Args:
        forward: of the first direction, any shape.
        reverse: of the second one; of the same shape, but along `dim` where they go side by side.
        merge: "concat" puts them side by side, "sum", "mul" and "average" work element by element.
        dim: the axis of the features, along which "concat" puts them.

    Example:
        >>> merged(torch.tensor([1.0]), torch.tensor([3.0]), "average", dim=0)
        tensor([2.])
    """
    if merge == "concat":
        return torch.cat((forward, reverse), dim=dim)
    if merge == "mul":
        return forward * reverse
    total = forward + reverse
    return total / 2 if merge == "average" else total


def beside(*parts: Tensor, dim: int, owner: str) -> Tensor:
    """Put tensors side by side.

    Args:
        parts: of the same shape but along `dim`.
        dim: the axis of the features.
        owner: for the message.

    Raises:
        ArgumentError: their shapes differ elsewhere, as those of images of two sizes.

    Example:
        >>> beside(torch.zeros(2, 3), torch.zeros(2, 4), dim=1, owner="ShortcutStack").shape
        torch.Size([2, 7])
    """
    if len({(*part.shape[:dim], *part.shape[dim + 1 :]) for part in parts}) > 1:
        raise ArgumentError(
            f"{' and '.join(str(tuple(part.shape)) for part in parts)} side by side",
            where=owner,
            expected=f"shapes that differ in the features alone, axis {dim}",
        )
    return torch.cat(parts, dim=dim)
