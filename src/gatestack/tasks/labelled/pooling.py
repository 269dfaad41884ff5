"""From the outputs of all steps to one vector per case; padding takes no part."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatestack.tasks.labelled.options import Pooling
from gatestack.tasks.labelled.scaling import real_steps

__all__ = ["Pool"]


class Pool(nn.Module):
    r"""Pools (N, T, H) over the real steps of each row.

        last        the forward half at the last real step, the reverse half at the first one
        mean, max   of each unit
        attention   Σ_t a_t y_t,   a = softmax_t(vᵀ tanh(W y_t + b))
        all         mean, max and attention side by side

    Args:
        pooling: one of the names above.
        size: H.
        bidirectional: whether the second half of H is the reverse direction.

    Source:
        Yang et al. 2016, "Hierarchical Attention Networks for Document Classification" (attention).
    """

    def __init__(self, pooling: Pooling, size: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.pooling, self.bidirectional = pooling, bidirectional
        self.output_size = size * (3 if pooling == "all" else 1)
        if pooling in ("attention", "all"):
            self.score = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1, bias=False))

    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        """Pool y (N, T, H) over its first `lengths` (N,) steps, at least one each -> (N, output_size)."""
        if self.pooling == "last":
            return self._last(y, lengths)
        real = real_steps(y, lengths)[..., None]  # -> (N, T, 1)
        parts = []
        if self.pooling in ("mean", "all"):
            parts.append(y.masked_fill(~real, 0.0).sum(dim=1) / lengths.to(y)[:, None])
        if self.pooling in ("max", "all"):
            parts.append(y.masked_fill(~real, -torch.inf).amax(dim=1))
        if self.pooling in ("attention", "all"):
            weights = self.score(y).masked_fill(~real, -torch.inf).softmax(dim=1)
            parts.append((weights * y.masked_fill(~real, 0.0)).sum(dim=1))
        return torch.cat(parts, dim=-1)

    def _last(self, y: Tensor, lengths: Tensor) -> Tensor:
        rows = torch.arange(len(y), device=y.device)
        end = y[rows, lengths.to(y.device) - 1]
        if not self.bidirectional:
            return end
        half = y.shape[-1] // 2
        return torch.cat([end[:, :half], y[:, 0, half:]], dim=-1)
