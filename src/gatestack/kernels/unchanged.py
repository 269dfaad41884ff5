"""Telling whether weights are still what they were, for whoever keeps another form of them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

__all__ = ["Unchanged", "can_change_unseen"]

_SAMPLE_BYTES = 64

_optimiser_steps = 0


class Unchanged:
    """What would differ if weights had changed since this was made.

    They are unchanged when every tensor is the same object, at the same address, of the same version, with
    the same bytes in the middle, and no optimiser has made a step since. The version counts what torch
    writes in place; optimiser steps count apart, because the fused ones do not raise it; the sampled bytes
    are for writing past both, as through `.data`.

    Args:
        weights: none for which `can_change_unseen` says so; None for one that is not there.

    Example:
        >>> import torch
        >>> weight = torch.ones(3)
        >>> unchanged = Unchanged([weight, None])
        >>> unchanged.holds([weight, None]), unchanged.holds([weight.mul_(2), None])
        (True, False)
    """

    def __init__(self, weights: Sequence[Tensor | None]) -> None:
        present = [weight for weight in weights if weight is not None]
        self._steps = _optimiser_steps
        self._marks = _marks(weights)
        self._samples = [_sample(weight) for weight in present if weight.is_contiguous()]
        self._bytes = [sample.raw for sample in self._samples]
        # Without these the memory could be freed, and come back with other weights at the same address.
        self._aliases = [weight.detach() for weight in present]

    def holds(self, weights: Sequence[Tensor | None]) -> bool:
        """Whether these are the weights that were given, unchanged."""
        return (
            self._steps == _optimiser_steps
            and self._marks == _marks(weights)
            and self._bytes == [sample.raw for sample in self._samples]
        )


def can_change_unseen(weights: Sequence[Tensor | None]) -> bool:
    """Whether one is an inference tensor: these do not count their changes.

    Example:
        >>> import torch
        >>> with torch.inference_mode():
        ...     can_change_unseen([torch.ones(3)])
        True
    """
    return any(weight is not None and weight.is_inference() for weight in weights)


def _marks(weights: Sequence[Tensor | None]) -> list[int]:
    """Give what tells weights apart, and a change of them: object, address, version."""
    marks = [id(weight) for weight in weights]
    for weight in weights:
        if weight is not None:
            marks.append(weight.data_ptr())
            marks.append(weight._version)
    return marks


def _sample(weight: Tensor) -> ctypes.Array[ctypes.c_char]:
    """Give a view of some bytes in the middle of a weight."""
    count = min(weight.nbytes, _SAMPLE_BYTES)
    return (ctypes.c_char * count).from_address(weight.data_ptr() + (weight.nbytes - count) // 2)


def _count_step(*_: object) -> None:
    global _optimiser_steps
    _optimiser_steps += 1


register_optimizer_step_post_hook(_count_step)
