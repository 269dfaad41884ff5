"""A limit to what a network from a file may make while it is computed for the first time.

Options of a file can say sizes that its weights do not show: a vector repeated a billion times, a product of
a column and a row. Each operator is asked, before it runs, how large its output would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from gatestack.convert.ports import NetworkLike
from gatestack.errors import ArgumentError

__all__ = ["Budget", "budget_of"]

_LEAST_BYTES = 2**30
_TIMES = 64
_SMALL = 2**20  # elements; where a bound is below, the operator need not be asked


class Budget(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes that torch's operators make inside a `with`, views left out, and stops above a limit.

    What was made and is gone again counts too, so that time is bounded with memory.

    Args:
        limit_bytes: 1 or more.

    Raises:
        ArgumentError: the next operator would exceed the limit; it does not run.

    Example:
        >>> with Budget(1000) as budget:
        ...     _ = torch.zeros(10) + torch.zeros(5, 1)
        >>> budget.made_bytes
        260
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.limit_bytes = limit_bytes
        self.made_bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator if its output can be afforded."""
        given = dict(kwargs or {})
        if func.is_view:
            return func(*args, **given)
        if _bound(args) * _bound(given.values()) > _SMALL:
            self._take(_described(func, args, given))
            return func(*args, **given)
        found = func(*args, **given)
        self._take(found)
        return found

    def _take(self, outputs: Any) -> None:
        every = outputs if isinstance(outputs, tuple | list) else (outputs,)
        self.made_bytes += sum(one.numel() * one.element_size() for one in every if isinstance(one, Tensor))
        if self.made_bytes > self.limit_bytes:
            raise ArgumentError(
                f"it would make {self.made_bytes} bytes of numbers", expected=f"at most {self.limit_bytes}"
            )


def budget_of(network: NetworkLike, arrays: Sequence[Any]) -> Budget:
    """Say what a network may make of inputs: 1 GiB, and 64 times what weights and inputs take.

    Args:
        network: to be computed.
        arrays: its inputs, of any shape.
    """
    weights = sum(array.nbytes for array in network.to_data()[1].values())
    return Budget(_LEAST_BYTES + _TIMES * (weights + sum(array.nbytes for array in arrays)))


def _bound(given: Iterable[Any]) -> int:
    """Give a number that the elements of an operator's output do not exceed."""
    found = 1
    for one in given:
        if isinstance(one, Tensor):
            found *= max(one.numel(), 1)
        elif isinstance(one, tuple | list):
            found *= _bound(one)
        elif isinstance(one, int) and not isinstance(one, bool):
            found *= abs(one) + 2  # paddings are added on both sides, not multiplied
    return found


def _described(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute shapes and dtypes of the outputs alone; nothing where torch cannot say."""
    bare = tree_map_only(Tensor, lambda one: one.to("meta"), (args, kwargs))
    if kwargs.get("device") is not None:
        bare[1]["device"] = torch.device("meta")
    try:
        with torch.no_grad():
            return func(*bare[0], **bare[1])
    except (NotImplementedError, RuntimeError, IndexError, ValueError, TypeError):
        # An operator whose output depends on numbers, or one that fails: it says why itself, when it runs.
        return ()
