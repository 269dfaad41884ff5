"""The tensors inside a batch: named for messages, and described for a later resume."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["describe_batch", "same_batch", "tensors_in"]


def tensors_in(batch: Any, name: str = "batch") -> Iterator[tuple[str, Tensor]]:
    """Walk the tensors of a batch, each with the name by which its author knows it.

    Args:
        batch: a tensor, or tuples, named tuples, lists, mappings and dataclasses that hold tensors; other
            values are passed over.
        name: of the batch.

    Example:
        >>> [name for name, _ in tensors_in({"x": torch.ones(1), "y": (torch.ones(1), None)})]
        ["batch['x']", "batch['y'][0]"]
    """
    if isinstance(batch, Tensor):
        yield name, batch
    elif isinstance(batch, Mapping):
        for key, value in batch.items():
            yield from tensors_in(value, f"{name}[{key!r}]")
    elif isinstance(batch, tuple) and hasattr(batch, "_fields"):
        for field, value in zip(batch._fields, batch, strict=True):
            yield from tensors_in(value, f"{name}.{field}")
    elif isinstance(batch, tuple | list):
        for index, value in enumerate(batch):
            yield from tensors_in(value, f"{name}[{index}]")
    elif dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        for member in dataclasses.fields(batch):
            yield from tensors_in(getattr(batch, member.name), f"{name}.{member.name}")


def describe_batch(batch: Any) -> dict[str, dict[str, Any]]:
    """Describe the tensors of a batch in values that JSON can hold: type, shape, sum and sum of sizes.

    Example:
        >>> describe_batch(torch.tensor([1.0, -2.0]))
        {'batch': {'dtype': 'torch.float32', 'shape': [2], 'sum': -1.0, 'size': 3.0}}
    """
    described = {}
    for name, tensor in tensors_in(batch):
        finite = torch.nan_to_num(tensor.detach().cpu().double(), nan=0.0, posinf=0.0, neginf=0.0)
        described[name] = {
            "dtype": str(tensor.dtype),
            "shape": list(tensor.shape),
            "sum": float(finite.sum()),
            "size": float(finite.abs().sum()),
        }
    return described


def same_batch(one: Mapping[str, Mapping[str, Any]], other: Mapping[str, Mapping[str, Any]]) -> bool:
    """Tell whether two descriptions are of the same data, computed perhaps on another number of threads.

    Example:
        >>> same_batch(describe_batch(torch.ones(3)), describe_batch(torch.ones(3) * (1 + 1e-7)))
        True
        >>> same_batch(describe_batch(torch.ones(3)), describe_batch(torch.zeros(3)))
        False
    """
    if set(one) != set(other):
        return False
    for name, tensor in one.items():
        against = other[name]
        if tensor["dtype"] != against["dtype"] or tensor["shape"] != against["shape"]:
            return False
        tolerance = 1e-5 * max(tensor["size"], against["size"])
        if not all(math.isclose(tensor[key], against[key], abs_tol=tolerance) for key in ("sum", "size")):
            return False
    return True
