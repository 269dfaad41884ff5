"""Weights in the kernels' layout, kept from call to call for as long as they stay what they were.

Only calls without gradients look here; in training the weights change with each call. An entry belongs to
the weights of one plan. It is used again when every tensor is the same object, at the same address, of the
same version, with the same first and middle bytes, and no optimiser has made a step since. The version counts
what torch writes in place; optimiser steps count apart, because the fused ones do not raise it; the sampled
bytes are for writing past both, as through `.data`.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from gatestack.kernels.abi import Flag
from gatestack.kernels.native_call import Plan, Table

__all__ = ["Packed", "packed_weights"]

_SAMPLE_BYTES = 64

_entries: dict[tuple[int, int, int], tuple[weakref.ref[Tensor], list[Any], Packed]] = {}
_optimiser_steps = 0


class Packed(NamedTuple):
    """Weights ready for a call.

    Args:
        plan: what they were packed for.
        values: the weights in the plan's dtype and contiguous; they keep the memory alive that `table` names.
        table: their pointers.
        packed: the kernels' layout of them.
    """

    plan: Plan
    values: list[Tensor | None]
    table: Table
    packed: Tensor


def packed_weights(plan: Plan, weights: Sequence[Tensor | None], flags: int) -> Packed:
    """Give the packed form of weights; without gradients that of the last call, if nothing has changed.

    Args:
        plan: of the call.
        weights: ten for each direction of each layer, in the order of `DirectionWeights`; None for none.
        flags: of the call.
    """
    first = weights[0]
    if first is None or flags & Flag.SAVE:
        return _pack(plan, weights, flags)
    key = (id(plan), id(first), flags & Flag.BFLOAT16)
    stamp = _stamp(weights)
    found = _entries.get(key)
    if found is not None and stamp is not None and found[0]() is first and found[1] == stamp:
        return found[2]
    made = _pack(plan, weights, flags)
    if stamp is not None:
        # The callback holds the key alone: it runs when the first weight is gone, and with it the entry.
        _entries[key] = (weakref.ref(first, lambda _: _entries.pop(key, None)), stamp, made)
    return made


def _pack(plan: Plan, weights: Sequence[Tensor | None], flags: int) -> Packed:
    values = [None if weight is None else weight.detach().to(plan.dtype).contiguous() for weight in weights]
    table = plan.empty_table()
    for position, value in enumerate(values):
        if value is not None:
            table[position] = value.data_ptr()
    return Packed(plan, values, table, plan.pack(table, flags))


def _stamp(weights: Sequence[Tensor | None]) -> list[Any] | None:
    """Say what would differ if a weight had changed; None where torch does not count versions."""
    stamp: list[Any] = [_optimiser_steps]
    for weight in weights:
        if weight is None:
            stamp.append(None)
            continue
        if weight.is_inference():
            return None
        address, size = weight.data_ptr(), weight.nbytes
        # The object too: another tensor may have come to the address of one that is gone.
        stamp += (id(weight), address, weight._version)
        sample = min(size, _SAMPLE_BYTES)
        if weight.is_contiguous():
            middle = address + max(size // 2 - sample, 0)
            stamp += (ctypes.string_at(address, sample), ctypes.string_at(middle, sample))
    return stamp


def _count_step(*_: object) -> None:
    global _optimiser_steps
    _optimiser_steps += 1


register_optimizer_step_post_hook(_count_step)
