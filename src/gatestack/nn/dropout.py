"""Dropout that stays the same over the steps of a sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError, check_share

__all__ = ["VariationalDropout"]


class VariationalDropout(nn.Module):
    """Drop the same features at every step of a sequence.

    With a mask m of shape (N, 1, F), drawn once per call, each element 0 with probability p, else 1/(1 − p):

        y_t = m ⊙ x_t

    `torch.nn.Dropout` draws anew at each step. In eval mode, or with p = 0, y = x.

    Args:
        p: probability that a feature is dropped, from 0 up to but not including 1.

    Raises:
        ArgumentError: p outside its range; at a call, x is not (batch, time, features).

    Note:
        A sequence fed in chunks gets a new mask with each chunk.

    Example:
        >>> import torch
        >>> y = VariationalDropout(0.5)(torch.ones(2, 3, 8))
        >>> bool((y == y[:, :1]).all())
        True

    Source:
        Gal & Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks",
        for the connections between layers.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = check_share("p", p, owner=type(self).__name__)

    def forward(self, x: Tensor) -> Tensor:
        """Drop features of x (N, T, F) -> (N, T, F)."""
        if x.dim() != 3:
            raise ArgumentError(
                f"x has shape {tuple(x.shape)}",
                where="VariationalDropout",
                expected="(batch, time, features)",
            )
        if not self.training or self.p == 0.0:
            return x
        return x * nn.functional.dropout(torch.ones_like(x[:, :1]), self.p) if x.shape[1] else x

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p:g}"
