"""Which code computes a stack: chosen here and nowhere else.

| name | what it is |
|---|---|
| `native` | the compiled kernels: CPU; float32, float64, bfloat16; gradients of first order |
| `torch` | torch's own operators: every option, any device, gradients of any order; slower |
| `auto` | native where it can, else torch |

The environment variable `GATESTACK_BACKEND` and, within a block, `use_backend` name one. A backend asked for
by name is used or refused; what "auto" takes is shown by the `repr` of a layer where it is not native, and
logged once per process.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gatestack.errors import ArgumentError, GatestackError, check_choice
from gatestack.kernels import library

__all__ = ["Backend", "choose_backend", "say_once", "shown_backend", "under_autocast", "use_backend"]

Backend = Literal["auto", "native", "torch"]

_VARIABLE = "GATESTACK_BACKEND"
_LOGGER = logging.getLogger("gatestack")

# Names given by use_backend, the innermost last. One list for all threads, as torch's own switches are.
_named: list[str] = []


@contextmanager
def use_backend(name: Backend) -> Iterator[None]:
    """Compute every stack within a block on one backend, in all threads.

    Args:
        name: "native", "torch" or "auto".

    Raises:
        ArgumentError: there is no such backend.

    Example:
        >>> import torch
        >>> from gatestack.nn import LSTM
        >>> layer = LSTM(4, input_size=2)
        >>> with use_backend("torch"):
        ...     print(layer)
        ...     output, _ = layer(torch.zeros(1, 3, 2))
        LSTM(4, input_size=2, backend='torch')
    """
    check_choice("name", name, get_args(Backend), owner="use_backend")
    _named.append(name)
    try:
        yield
    finally:
        _named.pop()


def choose_backend(x: Tensor, *, lacking: str | None = None) -> Literal["native", "torch"]:
    """Say which backend computes over x, or with parameters like x.

    Args:
        x: an input.
        lacking: what the compiled kernels lack for this computation, whatever x is; None for nothing.

    Raises:
        ArgumentError: GATESTACK_BACKEND names no backend; the one that was named cannot do it.
        KernelError: the compiled kernels were asked for, or are there, and cannot be used.

    Example:
        >>> import torch
        >>> choose_backend(torch.zeros(1, dtype=torch.float16))
        'torch'
    """
    named = _named[-1] if _named else None
    chosen: Literal["native", "torch"] = _settle(named, x.device.type, x.dtype, lacking)
    return chosen


def shown_backend(x: Tensor, *, lacking: str | None = None) -> str | None:
    """Say for a `repr` which backend computes with parameters like x; None for the compiled kernels.

    Args:
        x: like the parameters.
        lacking: as in `choose_backend`.

    Example:
        >>> import torch
        >>> shown_backend(torch.zeros(1, dtype=torch.float16))
        'torch'
    """
    try:
        chosen = choose_backend(x, lacking=lacking)
    except GatestackError:  # a repr is no place to raise; the call will
        return "none"
    return None if chosen == "native" else chosen


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _settle(
    name: str | None, device: str, dtype: torch.dtype, lacking: str | None
) -> Literal["native", "torch"]:
    """Choose, outside of what a compiler traces."""
    name = name or _from_environment()
    if name == "torch":
        return "torch"
    reason = _why_not_native(device, dtype) or lacking
    if reason is None:
        return "native"
    if name == "native":
        library.load()  # where the library is what is missing, it says best what to do
        raise ArgumentError(
            f"the backend 'native' was asked for; {reason}",
            where="gatestack.kernels",
            expected="CPU tensors of float32, float64 or bfloat16, outside of torch.func's transforms"
            if lacking is None
            else "what the compiled kernels can do",
            hint="use_backend('auto') takes torch's operators where the kernels cannot",
        )
    say_once(f"the backend 'torch' is used, because {reason}")
    return "torch"


def under_autocast(x: Tensor) -> bool:
    """Tell whether autocast converts what is computed of x, of any shape; some devices have no autocast.

    Example:
        >>> import torch
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     under_autocast(torch.zeros(1)), under_autocast(torch.zeros(1, device="meta"))
        (True, False)
    """
    kind = x.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


@cache
def say_once(message: str) -> None:
    """Log a message at level INFO, the first time only."""
    _LOGGER.info(message)


@cache
def _from_environment() -> str:
    name = os.environ.get(_VARIABLE) or "auto"
    check_choice(_VARIABLE, name, get_args(Backend), owner="the environment")
    return name


@cache
def _has_library() -> bool:
    return library.find() is not None


def _why_not_native(device: str, dtype: torch.dtype) -> str | None:
    """Say why the compiled kernels cannot compute over such tensors; None where they can."""
    if not _has_library():
        return "there are no compiled kernels (`gatestack doctor` says why)"
    if device != "cpu":
        return f"tensors are on a device of type {device}"
    if dtype not in (torch.float32, torch.float64, torch.bfloat16):
        return f"tensors are {str(dtype).removeprefix('torch.')}"
    if torch._C._are_functorch_transforms_active():
        return "a transform of torch.func is at work"
    if torch._C._get_tracing_state() is not None:
        return "torch.jit.trace records operators of torch"
    if forward_ad._current_level >= 0:
        return "the kernels have no forward-mode derivatives"
    if torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is not torch.bfloat16:
        return "autocast asks for float16"
    return None
