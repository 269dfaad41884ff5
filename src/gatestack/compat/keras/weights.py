"""Keras' weights of a recurrent cell in torch's layout, which the kernels take.

| Keras | here |
|---|---|
| `kernel` (C, G·H), `recurrent_kernel` (H, G·H) | transposed: `weight_ih` (G·H, C), `weight_hh` (G·H, H) |
| LSTM: gates i f c o, `bias` (4H,) | i f g o, which is the same order; `bias_ih`, no second bias |
| GRU: gates z r h, `bias` (2, 3H) | r z n; `bias_ih` and `bias_hh` |
| the same with `reset_after=False`, `bias` (3H,) | r z n; `bias_ih` |
| SimpleRNN: `bias` (H,) | `bias_ih` |
| ConvLSTM: `kernel` (*k, C, 4F), `recurrent_kernel` (*k, F, 4F), gates i f c o | (4F, C, *k), (4F, F, *k) |

With gradients they are converted anew in each call, for autograd; without, they are kept for as long as
Keras' weights stay what they were.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from gatestack.kernels.conv_lstm import ConvWeights
from gatestack.kernels.spec import DirectionWeights

__all__ = ["conv_weights_of", "weights_of"]

_Weights = TypeVar("_Weights", DirectionWeights, ConvWeights)

_SAMPLE_BYTES = 64

_optimiser_steps = 0


def weights_of(cell: Any) -> DirectionWeights:
    """Give the weights of a built Keras cell: LSTMCell, GRUCell or SimpleRNNCell.

    Example:
        >>> import keras
        >>> cell = keras.layers.LSTMCell(4)
        >>> cell.build((None, 3))
        >>> weights_of(cell).weight_ih.shape
        torch.Size([16, 3])
    """
    return _current(cell, _converted)


def conv_weights_of(cell: Any) -> ConvWeights:
    """Give the weights of a built Keras ConvLSTMCell.

    Example:
        >>> import keras
        >>> layer = keras.layers.ConvLSTM2D(4, 3)
        >>> layer.build((None, 5, 8, 8, 2))
        >>> conv_weights_of(layer.cell).weight_ih.shape
        torch.Size([16, 2, 3, 3])
    """
    return _current(cell, _conv_converted)


def _current(cell: Any, convert: Callable[[Any, Sequence[Tensor | None]], _Weights]) -> _Weights:
    bias = None if cell.bias is None else cell.bias.value
    given: list[Tensor | None] = [cell.kernel.value, cell.recurrent_kernel.value, bias]
    present = [tensor for tensor in given if tensor is not None]
    if torch.compiler.is_compiling() or (
        torch.is_grad_enabled() and any(tensor.requires_grad for tensor in present)
    ):
        return convert(cell, given)
    kept = _kept.get(cell)
    if kept is not None and kept.holds(present):
        return kept.weights  # type: ignore[no-any-return]
    weights = convert(cell, [None if tensor is None else tensor.detach() for tensor in given])
    if not any(tensor.is_inference() for tensor in present):  # such tensors do not count their changes
        _kept[cell] = _Kept(present, weights)
    return weights


def _converted(cell: Any, given: Sequence[Tensor | None]) -> DirectionWeights:
    kernel, recurrent, bias = given
    if kernel is None or recurrent is None:
        raise RuntimeError("a cell was built without weights")
    if not hasattr(cell, "reset_after"):
        return DirectionWeights(kernel.T.contiguous(), recurrent.T.contiguous(), bias, None)
    rows = [None, None] if bias is None else list(bias.unbind()) if bias.dim() == 2 else [bias, None]
    return DirectionWeights(
        _reordered(kernel.T),
        _reordered(recurrent.T),
        *(None if row is None else _reordered(row) for row in rows),
    )


def _conv_converted(_: Any, given: Sequence[Tensor | None]) -> ConvWeights:
    kernel, recurrent, bias = given
    if kernel is None or recurrent is None:
        raise RuntimeError("a cell was built without weights")
    return ConvWeights(
        kernel.movedim((-1, -2), (0, 1)).contiguous(),
        recurrent.movedim((-1, -2), (0, 1)).contiguous(),
        kernel.new_zeros(kernel.shape[-1]) if bias is None else bias,
        None,
    )


def _reordered(gates: Tensor) -> Tensor:
    """Bring blocks z r h (3H, ·) into the order r z n."""
    z, r, h = gates.chunk(3)
    return torch.cat((r, z, h))


class _Kept:
    """Converted weights, and what would differ if Keras' had changed.

    torch counts what is written in place; optimiser steps count apart, because torch's fused ones do not
    raise the count; the sampled bytes are for writing past both, as through `.data`.
    """

    def __init__(self, given: Sequence[Tensor], weights: Any) -> None:
        self.weights = weights
        self.steps = _optimiser_steps
        self.marks = _marks(given)
        self.samples = [_sample(tensor) for tensor in given if tensor.is_contiguous()]
        self.bytes = [sample.raw for sample in self.samples]
        # Without these the memory could be freed, and come back with other weights at the same address.
        self.aliases = [tensor.detach() for tensor in given]

    def holds(self, given: Sequence[Tensor]) -> bool:
        """Whether these are the weights that were converted, unchanged."""
        return (
            self.steps == _optimiser_steps
            and self.marks == _marks(given)
            and self.bytes == [sample.raw for sample in self.samples]
        )


def _marks(given: Sequence[Tensor]) -> list[tuple[int, int]]:
    # An inference tensor has no version; it never equals a kept one.
    return [(tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version) for tensor in given]


def _sample(tensor: Tensor) -> ctypes.Array[ctypes.c_char]:
    """Give a view of some bytes in the middle of a tensor."""
    count = min(tensor.nbytes, _SAMPLE_BYTES)
    return (ctypes.c_char * count).from_address(tensor.data_ptr() + (tensor.nbytes - count) // 2)


_kept: weakref.WeakKeyDictionary[Any, _Kept] = weakref.WeakKeyDictionary()


def _count_step(*_: object) -> None:
    global _optimiser_steps
    _optimiser_steps += 1


register_optimizer_step_post_hook(_count_step)
