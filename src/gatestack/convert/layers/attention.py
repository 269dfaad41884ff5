"""Attention: a mean of vectors, weighted by how well their keys fit a query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn

from gatestack.convert.layers.base import Flag, LayerOptions, NetworkLayer, Signal, Size
from gatestack.convert.layers.sequence import Share

__all__ = ["Attention", "AttentionOptions"]


class AttentionOptions(LayerOptions):
    """Options of `Attention`.

    Args:
        score: how well a key fits a query: "dot" (default), "additive" or "concat"; see `Attention`.
        scaled: multiply by a learned s. Default False.
        features: of queries and keys; of "additive" with `scaled`, which has an s for each, and only there.
        causal: step i of the query sees the steps up to i of the values. Default False.
        dropout: probability with which a weight is dropped in training. Default 0.
    """

    score: Literal["dot", "additive", "concat"] = "dot"
    scaled: Flag = False
    features: Size | None = None
    causal: Flag = False
    dropout: Share = 0.0

    @model_validator(mode="after")
    def _has_its_size(self) -> AttentionOptions:
        if (self.score == "additive" and self.scaled) != (self.features is not None):
            raise ValueError("features where an additive score is scaled, and only there")
        return self


class Attention(NetworkLayer):
    """Keras' Attention and AdditiveAttention.

        y_i = Σ_j softmax_j(score(q_i, k_j)) v_j
        dot: s·(q · k)    additive: Σ s ⊙ tanh(q + k)    concat: w·Σ tanh(s·(q + k))

    Two or three signals in: query (N, Tq, C), value (N, Tv, V), key (N, Tv, C), which is the value where it
    is not given. Two out: y (N, Tq, V), whose mask is that of the query, zero at its unreal steps; and the
    weights (N, Tq, Tv). Unreal steps of the value have no weight; where none is real, all have what they
    would have without a mask, as in Keras.

    Args:
        options: score and scale.

    Attributes:
        scale: s, () or (features,); None without `scaled`.
        weight: w, () of the score "concat"; else None.

    Example:
        >>> query, value = Signal(torch.zeros(2, 3, 4)), Signal(torch.ones(2, 5, 4))
        >>> y, weights = Attention(AttentionOptions()).run([query, value])
        >>> y.value.shape, weights.value.shape
        (torch.Size([2, 3, 4]), torch.Size([2, 3, 5]))
    """

    kind = "attention"
    Options = AttentionOptions

    def __init__(self, options: AttentionOptions) -> None:
        super().__init__(options)
        shape = () if options.features is None else (options.features,)
        self.scale = nn.Parameter(torch.ones(shape)) if options.scaled else None
        self.weight = nn.Parameter(torch.ones(())) if options.score == "concat" else None
        self.dropout = nn.Dropout(options.dropout)

    @property
    def inputs(self) -> range:
        """Query, value, and perhaps key."""
        return range(2, 4)

    @property
    def outputs(self) -> int:
        """The mean, and the weights."""
        return 2

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Attend; see the class for the signals."""
        query, value, key = (signal.value for signal in (*signals, signals[1])[:3])
        if query.dim() != 3 or value.dim() != 3 or key.shape != (*value.shape[:2], query.shape[2]):
            shapes = ", ".join(str(tuple(signal.value.shape)) for signal in signals)
            raise self.refuse(
                f"the inputs have shapes {shapes}", "(batch, time, features), keys of the query's features"
            )
        scores = self._scores(query, key)
        real = self._real(scores, signals[1].mask)
        if real is not None:
            scores = torch.where(real, scores, scores - 1e9)
        weights = self.dropout(torch.softmax(scores, dim=-1))
        y, mask = weights @ value, signals[0].mask
        if mask is not None:
            y = y.masked_fill(~mask[:, :, None], 0.0)
        return Signal(y, mask), Signal(weights)

    def _scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Compare every query with every key -> (N, Tq, Tv)."""
        scale = 1.0 if self.scale is None else self.scale
        if self.options.score == "dot":
            return (query @ key.transpose(1, 2)) * scale
        both = query[:, :, None] + key[:, None]  # (N, Tq, Tv, C)
        if self.weight is None:
            return (scale * torch.tanh(both)).sum(dim=-1)
        return self.weight * torch.tanh(scale * both).sum(dim=-1)

    def _real(self, scores: Tensor, mask: Tensor | None) -> Tensor | None:
        """Tell which steps of the value a query may see -> (N or 1, Tq or 1, Tv)."""
        real = None if mask is None else mask[:, None]
        if self.options.causal:
            past = torch.ones(scores.shape[1:], dtype=torch.bool, device=scores.device).tril()[None]
            real = past if real is None else past & real
        return real
