"""Weights in the kernels' layout, kept from call to call for as long as they stay what they were.

Only calls without gradients look here; in training the weights change with each call. An entry belongs to
the weights of one plan.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from gatestack.kernels.abi import Flag
from gatestack.kernels.native_call import Plan, Table
from gatestack.kernels.unchanged import Unchanged, can_change_unseen

__all__ = ["Packed", "packed_weights"]

# Plain numbers: arithmetic on an enumeration takes a microsecond.
_BFLOAT16, _SAVE = int(Flag.BFLOAT16), int(Flag.SAVE)


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


_entries: dict[tuple[int, int, int], tuple[weakref.ref[Tensor], Unchanged, Packed]] = {}


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
    if can_change_unseen(weights):
        return _pack(plan, weights, flags)
    key = (id(plan), id(first), flags & _BFLOAT16)
    found = _entries.get(key)
    if found is not None and found[0]() is first and found[1].holds(weights):
        return found[2]
    made = _pack(plan, weights, flags)
    # The callback holds the key alone: it runs when the first weight is gone, and with it the entry.
    reference = weakref.ref(first, lambda _: _entries.pop(key, None))
    _entries[key] = (reference, Unchanged(weights), made)
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
