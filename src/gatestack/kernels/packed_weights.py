"""Weights in the kernels' layout, kept from call to call for as long as they stay what they were.

Only calls without gradients look here; in training the weights change with each call. An entry belongs to
the weights of one plan. It is used again when every tensor is the same object, at the same address, of the
same version, with the same bytes in the middle, and no optimiser has made a step since. The version counts
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

# Plain numbers: arithmetic on an enumeration takes a microsecond.
_BFLOAT16, _SAVE = int(Flag.BFLOAT16), int(Flag.SAVE)
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
        present = [weight for weight in weights if weight is not None]
        self.packed = packed
        self.steps = _optimiser_steps
        self.marks = _marks(weights)
        self.samples = [_sample(weight) for weight in present if weight.is_contiguous()]
        self.bytes = [sample.raw for sample in self.samples]
        # Without these the memory could be freed, and come back with other weights at the same address.
        self.aliases = [weight.detach() for weight in present]

    def holds(self, weights: Sequence[Tensor | None]) -> bool:
        """Whether these weights are those of the entry, unchanged."""
        return (
            self.steps == _optimiser_steps
            and self.marks == _marks(weights)
            and self.bytes == [sample.raw for sample in self.samples]
        )


def _marks(weights: Sequence[Tensor | None]) -> list[int]:
    """Give what tells weights apart, and a change of them: object, address, version."""
    marks = [id(weight) for weight in weights]
    for weight in weights:
        if weight is not None:
            marks.append(weight.data_ptr())
            marks.append(weight._version)
    return marks


_entries: dict[tuple[int, int, int], tuple[weakref.ref[Tensor], _Entry]] = {}


def packed_weights(plan: Plan, weights: Sequence[Tensor | None], flags: int) -> Packed:
    """Give the packed form of weights; without gradients that of the last call, if nothing has changed.

    Args:
        plan: of the call.
        weights: ten for each direction of each layer, in the order of `DirectionWeights`; None for none.
        flags: of the call.
    """
    first = weights[0]
    if first is None or flags & _SAVE:
        return _pack(plan, weights, flags)
    if any(weight is not None and weight.is_inference() for weight in weights):
        return _pack(plan, weights, flags)  # such tensors do not count their changes
    key = (id(plan), id(first), flags & _BFLOAT16)
    found = _entries.get(key)
    if found is not None and found[0]() is first and found[1].holds(weights):
        return found[1].packed
    made = _pack(plan, weights, flags)
    # The callback holds the key alone: it runs when the first weight is gone, and with it the entry.
    entry = _Entry(weights, made)
    _entries[key] = (weakref.ref(first, lambda _: _entries.pop(key, None)), entry)
    return made


def _pack(plan: Plan, weights: Sequence[Tensor | None], flags: int) -> Packed:
    dtype = plan.dtype
    # Aliases of the memory as it is now: it stays, also where a parameter is given other data before the
    # backward pass.
    values = [None if weight is None else weight.detach().to(dtype).contiguous() for weight in weights]
    table = plan.empty_table()
    for position, value in enumerate(values):
        if value is not None:
            table[position] = value.data_ptr()
    packed = plan.pack(table, flags)
    return Packed(plan, plan.template(table, packed), (values, table, packed))


def _sample(weight: Tensor) -> ctypes.Array[ctypes.c_char]:
    """Give a view of some bytes in the middle of a weight."""
    count = min(weight.nbytes, _SAMPLE_BYTES)
    return (ctypes.c_char * count).from_address(weight.data_ptr() + (weight.nbytes - count) // 2)


def _count_step(*_: object) -> None:
    global _optimiser_steps
    _optimiser_steps += 1


register_optimizer_step_post_hook(_count_step)
