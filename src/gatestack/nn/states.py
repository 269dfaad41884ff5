"""States of layers and cells: tensors in nested tuples, walked here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from gatestack.errors import ArgumentError
from gatestack.nn.checks import check_like, kind

__all__ = ["check_state", "leaves", "mapped", "of_cell", "of_layer", "rebuilt", "replaced_rows"]


def leaves(state: Any) -> list[Tensor]:
    """Give the tensors of a state, from left to right.

    Example:
        >>> import torch
        >>> len(leaves(((torch.zeros(1), torch.zeros(1)), torch.zeros(1), ())))
        3
    """
    if isinstance(state, tuple | list):
        return [leaf for part in state for leaf in leaves(part)]
    return [state]


def rebuilt(like: Any, tensors: Iterator[Tensor]) -> Any:
    """Give tensors the form of another state.

    Example:
        >>> rebuilt((0, (1, 2)), iter("abc"))
        ('a', ('b', 'c'))
    """
    if isinstance(like, tuple | list):
        return tuple([rebuilt(part, tensors) for part in like])
    return next(tensors)


def mapped(function: Callable[..., Tensor], *states: Any) -> Any:
    """Apply a function to every tensor of a state, or to each with its partners in states of the same form.

    Example:
        >>> mapped(lambda a, b: a + b, (1, (2, 3)), (10, (20, 30)))
        (11, (22, 33))
    """
    return rebuilt(states[0], iter([function(*parts) for parts in zip(*map(leaves, states), strict=True)]))


def of_layer(state: Any) -> Any:
    """Give the state of a cell, tensors (N, ·), as a layer has it, (1, N, ·).

    Example:
        >>> import torch
        >>> of_layer((torch.zeros(2, 3), torch.zeros(2, 4)))[1].shape
        torch.Size([1, 2, 4])
    """
    return mapped(lambda part: part[None], state)


def of_cell(state: Any) -> Any:
    """Give the state of a layer, tensors (1, N, ·), as a cell has it, (N, ·).

    Example:
        >>> import torch
        >>> of_cell(torch.zeros(1, 2, 3)).shape
        torch.Size([2, 3])
    """
    return mapped(lambda part: part[0], state)


def replaced_rows(rows: Tensor, new: Any, old: Any, *, axis: int) -> Any:
    """Take the rows of a batch from one state where `rows` (N,) is True, from another elsewhere.

    Example:
        >>> import torch
        >>> rows = torch.tensor([True, False])
        >>> replaced_rows(rows, torch.ones(2, 3), torch.zeros(2, 3), axis=0)[:, 0].tolist()
        [1.0, 0.0]
    """

    def chosen(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(rows.view(*(-1 if number == axis else 1 for number in range(a.dim()))), a, b)

    return mapped(chosen, new, old)


def check_state(state: Any, start: Any, owner: str, what: str = "state") -> Any:
    """Refuse a state that has not the form, shapes, dtype and device of the one that a call starts from.

    Args:
        state: as it was given.
        start: tensors in nested tuples.
        owner: what the state is for, for the message.
        what: the part of the state that is being looked at, for the message.

    Returns:
        The state; lists have become tuples.

    Raises:
        ArgumentError: it does not fit.

    Example:
        >>> import torch
        >>> check_state([torch.zeros(2)], (torch.ones(2),), "Loop")
        (tensor([0., 0.]),)
    """
    if isinstance(start, tuple):
        if not isinstance(state, tuple | list) or len(state) != len(start):
            raise ArgumentError(f"{what} is {kind(state)}", where=owner, expected=f"a tuple of {len(start)}")
        parts = zip(state, start, strict=True)
        return tuple([check_state(a, b, owner, f"{what}[{number}]") for number, (a, b) in enumerate(parts)])
    if not isinstance(state, Tensor):
        raise ArgumentError(f"{what} is {kind(state)}", where=owner, expected="a torch.Tensor")
    if state.shape != start.shape:
        axes = {2: "(batch, features) = ", 3: "(1, batch, features) = "}.get(start.dim(), "")
        raise ArgumentError(
            f"{what} has shape {tuple(state.shape)}", where=owner, expected=f"{axes}{tuple(start.shape)}"
        )
    check_like(what, state, start, owner)
    return state
