"""How two directions become one output."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Merge", "merged"]

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
