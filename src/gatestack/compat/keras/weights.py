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

import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from gatestack.kernels.conv_lstm import ConvWeights
from gatestack.kernels.spec import DirectionWeights
from gatestack.kernels.unchanged import Unchanged, can_change_unseen

__all__ = ["conv_weights_of", "weights_of"]

_Weights = TypeVar("_Weights", DirectionWeights, ConvWeights)


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
    if torch.compiler.is_compiling() or (
        torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in given)
    ):
        return convert(cell, given)
    unseen = can_change_unseen(given)
    kept = _kept.get(cell)
    if not unseen and kept is not None and kept[0].holds(given):
        return kept[1]  # type: ignore[no-any-return]
    weights = convert(cell, [None if tensor is None else tensor.detach() for tensor in given])
    if not unseen:
        _kept[cell] = (Unchanged(given), weights)
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


_kept: weakref.WeakKeyDictionary[Any, tuple[Unchanged, Any]] = weakref.WeakKeyDictionary()
