"""Layers of plain weights: a product with a matrix, a table of vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from gatestack.convert.layers.activation import FunctionName, function_of
from gatestack.convert.layers.base import Flag, LayerOptions, NetworkLayer, Signal, Size

__all__ = ["Dense", "DenseOptions", "Embedding", "EmbeddingOptions"]


class DenseOptions(LayerOptions):
    """Options of `Dense`.

    Args:
        units: features that it gives.
        input_size: features that it takes.
        bias: add one. Default True.
        activation: φ; "linear" (default) is none.
    """

    units: Size
    input_size: Size
    bias: Flag = True
    activation: FunctionName = "linear"


class Dense(NetworkLayer):
    """The same product for every vector of the last axis.

        y = φ(W x + b)

    One signal (…, input_size) in, one (…, units) out; the mask passes. `linear` is a `torch.nn.Linear`:
    `weight` (units, input_size), `bias` (units,).

    Args:
        options: sizes and activation.

    Example:
        >>> layer = Dense(DenseOptions(units=2, input_size=3, activation="relu"))
        >>> layer.run([Signal(torch.zeros(4, 7, 3))])[0].value.shape
        torch.Size([4, 7, 2])
    """

    kind = "dense"
    Options = DenseOptions

    def __init__(self, options: DenseOptions) -> None:
        super().__init__(options)
        self.linear = nn.Linear(options.input_size, options.units, bias=options.bias)

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Multiply x (…, input_size) -> (…, units)."""
        ((value, mask),) = signals
        if value.dim() == 0 or value.shape[-1] != self.options.input_size:
            raise self.refuse(f"x has shape {tuple(value.shape)}", f"(batch, …, {self.options.input_size})")
        return (Signal(function_of(self.options.activation)(self.linear(value)), mask),)


class EmbeddingOptions(LayerOptions):
    """Options of `Embedding`.

    Args:
        vocabulary_size: how many numbers there are.
        size: features of the vector of each.
        mask_zero: number 0 fills up rows: where it stands, the step is not real. Default False.
    """

    vocabulary_size: Size
    size: Size
    mask_zero: Flag = False


class Embedding(NetworkLayer):
    """A vector for each whole number.

    One signal of whole numbers 0 to vocabulary_size − 1, any shape (N, …), in; one (N, …, size) out, with a
    mask where `mask_zero` asks for one. `table` is a `torch.nn.Embedding`: `weight` (vocabulary_size, size).

    Args:
        options: sizes and mask.

    Example:
        >>> layer = Embedding(EmbeddingOptions(vocabulary_size=10, size=4, mask_zero=True))
        >>> layer.run([Signal(torch.tensor([[3, 0]]))])[0].mask
        tensor([[ True, False]])
    """

    kind = "embedding"
    Options = EmbeddingOptions

    def __init__(self, options: EmbeddingOptions) -> None:
        super().__init__(options)
        self.table = nn.Embedding(options.vocabulary_size, options.size)

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Look up numbers (N, …) -> (N, …, size)."""
        ((value, _),) = signals
        numbers = value.to(torch.int64)
        largest = self.options.vocabulary_size - 1
        if numbers.numel() and not torch.compiler.is_compiling():
            low, high = int(numbers.min()), int(numbers.max())
            if low < 0 or high > largest:
                raise self.refuse(f"x holds {low if low < 0 else high}", f"whole numbers from 0 to {largest}")
        return (Signal(self.table(numbers), numbers != 0 if self.options.mask_zero else None),)
