"""Memory for calls: what training keeps for its backward pass, and scratch.

Large pieces are handed out again when nobody holds them any more. Each training step takes pieces of the same
sizes; fresh from the operating system, every page of them would cost a fault.
"""

from __future__ import annotations

import weakref

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["room"]

_SMALL_BYTES = 1 << 20  # the C library keeps such pieces itself
_MOST_KEPT_BYTES = 1 << 30  # of free pieces, in all; what is more goes back to the operating system
_ALIGNMENT = 64

_Bytes = npt.NDArray[np.uint8]

# Pieces that nobody holds, by their identity, and those that are lent. A piece comes back when its last
# tensor is gone, which may be in the middle of anything, also of `room`: so there is no lock, but single
# operations on dictionaries.
_free: dict[int, _Bytes] = {}
_lent: dict[int, tuple[weakref.ref[_Bytes], _Bytes]] = {}  # by reference: arrays have no hash


def room(count: int) -> Tensor:
    """Give `count` bytes, aligned to 64, with anything in them.

    Example:
        >>> room(100).shape
        torch.Size([100])
    """
    if count < _SMALL_BYTES:
        return torch.empty(count, dtype=torch.uint8)
    piece = _take(count)
    if piece is None:
        piece = np.empty(count + _ALIGNMENT, dtype=np.uint8)
    start = -piece.ctypes.data % _ALIGNMENT
    view = piece[start : start + count]
    reference = weakref.ref(view, _give_back)
    _lent[id(reference)] = reference, piece
    return torch.from_numpy(view)


def _take(count: int) -> _Bytes | None:
    """Take the smallest free piece that fits without wasting most of itself."""
    fitting = [piece for piece in list(_free.values()) if count + _ALIGNMENT <= piece.nbytes <= 4 * count]
    for piece in sorted(fitting, key=lambda one: one.nbytes):
        if _free.pop(id(piece), None) is not None:  # another thread may have been faster
            return piece
    return None


def _give_back(lent: weakref.ref[_Bytes]) -> None:
    _, piece = _lent.pop(id(lent))
    kept = piece.nbytes
    # The latest sizes are the likeliest to be asked for again: older pieces go first.
    for other in reversed(list(_free.values())):
        kept += other.nbytes
        if kept > _MOST_KEPT_BYTES:
            _free.pop(id(other), None)
    if piece.nbytes <= _MOST_KEPT_BYTES:
        _free[id(piece)] = piece
