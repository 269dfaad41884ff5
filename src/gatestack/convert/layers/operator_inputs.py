"""Reading the inputs of an ONNX operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor

from gatestack.errors import ArgumentError

__all__ = ["Attributes", "Inputs", "bounded", "given", "needed", "numbers"]

Inputs: TypeAlias = Sequence[Tensor | None]
Attributes: TypeAlias = Mapping[str, Any]

_LARGEST = 2**28  # elements that one operator may make out of a few numbers


def needed(inputs: Inputs, place: int, what: str) -> Tensor:
    value = inputs[place] if place < len(inputs) else None
    if value is None:
        raise ArgumentError(f"input {place} ({what}) is missing")
    return value


def numbers(inputs: Inputs, place: int, what: str) -> list[int]:
    """Read an input of whole numbers, such as axes."""
    return [int(number) for number in needed(inputs, place, what).flatten().tolist()]


def given(inputs: Inputs, place: int) -> bool:
    return len(inputs) > place and inputs[place] is not None


def bounded(count: int, what: str) -> None:
    if count > _LARGEST:
        raise ArgumentError(f"{what} would make {count} elements", expected=f"at most {_LARGEST}")
