"""What every call of a layer checks of the tensors it gets, with messages that name the layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gatestack.errors import ArgumentError
from gatestack.kernels.backend import under_autocast

__all__ = [
    "check_input",
    "check_like",
    "check_number",
    "check_states",
    "check_tensor",
    "kind",
    "placed",
    "read_tensor",
]

_CAST = {torch.float32, torch.bfloat16, torch.float16}  # what autocast converts


def check_tensor(x: object, owner: str) -> Tensor:
    """Refuse an x that is no tensor."""
    if not isinstance(x, Tensor):
        raise ArgumentError(
            f"x is {kind(x)}", where=owner, expected="a torch.Tensor", hint="torch.as_tensor(x) makes one"
        )
    return x


def read_tensor(name: str, value: Any, owner: str, device: torch.device | str = "cpu") -> Tensor:
    """Give lengths, a mask or rows as a tensor; refuse what torch cannot make one of.

    Args:
        name: of the argument.
        value: that was given.
        owner: what the argument belongs to.
        device: where the tensor is to be.

    Example:
        >>> read_tensor("lengths", [3, 2], "LSTM")
        tensor([3, 2])
    """
    try:
        return torch.as_tensor(value, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(
            f"{name} is {kind(value)}, which is no tensor: {str(error).splitlines()[0]}",
            where=owner,
            expected="a tensor, an array or a list of numbers",
        ) from None


def check_input(x: object, input_size: int | None, like: Tensor, owner: str) -> Tensor:
    """Refuse an x that is not (batch, time, input_size) in the dtype and on the device of the parameters."""
    x = check_tensor(x, owner)
    width = "features" if input_size is None else str(input_size)
    if x.dim() != 3 or (input_size is not None and x.shape[2] != input_size):
        hint = None
        if x.dim() == 2:
            hint = (
                "a recurrent layer reads a sequence of vectors for each row: x[:, :, None] makes "
                "(batch, time, 1), and a layer below must return sequences"
            )
        elif x.dim() > 3:
            hint = "a PerStep(torch.nn.Flatten()) below makes a vector of what a step holds"
        raise ArgumentError(
            f"x has shape {tuple(x.shape)}", where=owner, expected=f"(batch, time, {width})", hint=hint
        )
    check_like("x", x, like, owner)
    return x


def check_like(what: str, x: Tensor, like: Tensor, owner: str) -> None:
    """Refuse a tensor of another dtype (unless autocast converts it) or device than the parameters."""
    if x.device != like.device:
        raise ArgumentError(
            f"{what} is on {x.device}", where=owner, expected=f"{like.device}, where the parameters are"
        )
    cast = under_autocast(x) and {x.dtype, like.dtype} <= _CAST
    if x.dtype != like.dtype and not cast:
        raise ArgumentError(
            f"{what} has dtype {_name(x.dtype)}",
            where=owner,
            expected=f"{_name(like.dtype)}, the parameters' own",
            hint=f".to(torch.{_name(like.dtype)}) converts {what}, .to(torch.{_name(x.dtype)}) the layer",
        )


def check_number(name: str, value: object, *, owner: str) -> float:
    """Give an argument as a float; raise an `ArgumentError` unless it is a finite number.

    Args:
        name: of the argument.
        value: that was given.
        owner: what the argument belongs to.

    Example:
        >>> check_number("forget_bias", 1, owner="LSTM")
        1.0
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ArgumentError(
            f"the '{name}' parameter of {owner} is {value!r}", expected="a number, neither NaN nor infinite"
        )
    return float(value)


def placed(error: ArgumentError, where: str) -> ArgumentError:
    """Give an error of a layer a place: which layer of a stack it is, which direction.

    Example:
        >>> print(placed(ArgumentError("x is of type str", where="GRU"), "Stack, layer 1"))
        Stack, layer 1, GRU: x is of type str
    """
    inside = f", {error.where}" if error.where else ""
    return ArgumentError(error.what, where=where + inside, expected=error.expected, hint=error.hint)


def kind(value: object) -> str:
    """Say what a value is, for a message."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"of type {type(value).__module__}.{type(value).__qualname__}".replace("builtins.", "")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def check_states(
    state: object,
    names: tuple[str, ...],
    shapes: Sequence[tuple[int, ...]],
    like: Tensor,
    owner: str,
    *,
    axes: str = "directions, batch, hidden",
) -> tuple[Tensor, ...]:
    """Refuse a state that is not of these parts, whose axes the message names; give it as a tuple."""
    given = (state,) if isinstance(state, Tensor) else state
    wanted = "one tensor h" if len(names) == 1 else f"a tuple ({', '.join(names)}) of {len(names)} tensors"
    if not isinstance(given, tuple | list) or len(given) != len(names):
        raise ArgumentError(f"state is {kind(state)}", where=owner, expected=wanted)
    if isinstance(state, tuple | list) and len(names) == 1:
        raise ArgumentError(f"state is {kind(state)}", where=owner, expected=wanted)
    for name, part, shape in zip(names, given, shapes, strict=True):
        if not isinstance(part, Tensor):
            raise ArgumentError(f"state {name} is {kind(part)}", where=owner, expected="a torch.Tensor")
        if part.shape != shape:
            raise ArgumentError(
                f"state {name} has shape {tuple(part.shape)}",
                where=owner,
                expected=f"({axes}) = {shape}",
            )
        check_like(f"state {name}", part, like, owner)
    return tuple(given)
