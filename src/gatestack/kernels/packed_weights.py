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
from typing import NamedTuple

from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from gatestack.kernels.abi import Flag
from gatestack.kernels.native_call import Plan, Table

__all__ = ["Packed", "packed_weights"]

_SAMPLE_BYTES = 64

_optimiser_steps = 0


class Packed(NamedTuple):
    """Weights ready for a call.

    Args:
        plan: what they were packed for.
        template: the words of a call with them.
        kept: what the template points to.
    """

    plan: Plan
    template: Table
    kept: tuple[object, ...]


class _Entry:
    """Packed weights, and what would differ if the weights had changed."""

    def __init__(self, weights: Sequence[Tensor | None], packed: Packed) -> None:
        self.packed = packed
        self.steps = _optimiser_steps
        self.ids = [id(weight) for weight in weights]
        self.marks = [weight is not None and (weight.data_ptr(), weight._version) for weight in weights]
        self.samples = [
            (sample, sample.raw)
            for weight in weights
            if weight is not None and weight.is_contiguous()
            for sample in _samples(weight)
        ]
        # Without these the memory could be freed, and come back with other weights at the same address.
        self.aliases = [None if weight is None else weight.detach() for weight in weights]

    def holds(self, weights: Sequence[Tensor | None]) -> bool:
        """Whether these weights are those of the entry, unchanged."""
        if self.steps != _optimiser_steps or self.ids != [id(weight) for weight in weights]:
            return False
        for weight, mark in zip(weights, self.marks, strict=True):
            if weight is not None and (weight.data_ptr(), weight._version) != mark:
                return False
        return all(sample.raw == raw for sample, raw in self.samples)


_entries: dict[tuple[int, int, int], tuple[weakref.ref[Tensor], _Entry]] = {}


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
    found = _entries.get(key)
    if found is not None and found[0]() is first and found[1].holds(weights):
        return found[1].packed
    made = _pack(plan, weights, flags)
    if not any(weight is not None and weight.is_inference() for weight in weights):
        # The callback holds the key alone: it runs when the first weight is gone, and with it the entry.
        entry = _Entry(weights, made)
        _entries[key] = (weakref.ref(first, lambda _: _entries.pop(key, None)), entry)
    return made


def _pack(plan: Plan, weights: Sequence[Tensor | None], flags: int) -> Packed:
    values = [None if weight is None else weight.detach().to(plan.dtype).contiguous() for weight in weights]
    table = plan.empty_table()
    for position, value in enumerate(values):
        if value is not None:
            table[position] = value.data_ptr()
    packed = plan.pack(table, flags)
    return Packed(plan, plan.template(table, packed), (values, table, packed))


def _samples(weight: Tensor) -> list[ctypes.Array[ctypes.c_char]]:
    """Give views of the first and the middle bytes of a weight."""
    size = weight.nbytes
    count = min(size, _SAMPLE_BYTES)
    address = weight.data_ptr()
    return [(ctypes.c_char * count).from_address(at) for at in (address, address + (size - count) // 2)]


def _count_step(*_: object) -> None:
    global _optimiser_steps
    _optimiser_steps += 1


register_optimizer_step_post_hook(_count_step)
