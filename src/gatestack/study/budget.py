"""How wide the layers are at each depth: equal width, or equal parameters.

A layer of width H that reads C columns has g·H·(C + H + b) parameters, with g gates and b biases; the gates
cancel. With L layers of one width, D directions and torch's two biases,

    P(L, H) / (g·D) = H·(C + H + 2) + (L - 1)·H·(D·H + H + 2)

With `"equal parameters"` H is the width at which a network of L layers has as many as one of two layers of
the given width.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from gatestack.errors import check_choice

__all__ = ["BUDGETS", "Budget", "widths_of"]

Budget = Literal["equal width", "equal parameters"]
BUDGETS: tuple[str, ...] = get_args(Budget)

_REFERENCE_LAYERS = 2


def widths_of(
    layers: int, *, hidden_size: int, budget: Budget, features: int, directions: int = 1
) -> tuple[int, ...]:
    """Give the width of each layer.

    Args:
        layers: depth, 1 or more.
        hidden_size: width of the layers of the reference.
        budget: `"equal width"` or `"equal parameters"`.
        features: columns that the lowest layer reads.
        directions: 1 or 2.

    Raises:
        ArgumentError: no such budget.

    Example:
        >>> widths_of(3, hidden_size=64, budget="equal width", features=4)
        (64, 64, 64)
        >>> widths_of(4, hidden_size=64, budget="equal parameters", features=4)
        (42, 42, 42, 42)
    """
    check_choice("budget", budget, BUDGETS, owner="study_depth")
    if budget == "equal width":
        return (hidden_size,) * layers
    wanted = _parameters(_REFERENCE_LAYERS, hidden_size, features, directions)
    square = 1 + (layers - 1) * (directions + 1)
    linear = features + 2 + 2 * (layers - 1)
    width = (math.sqrt(linear**2 + 4 * square * wanted) - linear) / (2 * square)
    return (max(1, round(width)),) * layers


def _parameters(layers: int, width: int, features: int, directions: int) -> int:
    """Count P / (g·D)."""
    upper = (layers - 1) * width * (directions * width + width + 2)
    return width * (features + width + 2) + upper
