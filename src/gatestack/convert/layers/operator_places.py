"""ONNX operators that take numbers from places, put them there, or put them into order."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gatestack.convert.layers.operator_inputs import Attributes, Inputs, needed, numbers
from gatestack.errors import ArgumentError

__all__ = ["PLACES"]


def _from_front(indices: Tensor, size: int) -> Tensor:
    """Count negative indices from the end."""
    return torch.where(indices < 0, indices + size, indices).to(torch.int64)


def _gather(inputs: Inputs, attributes: Attributes) -> Tensor:
    data, indices = needed(inputs, 0, "data"), needed(inputs, 1, "indices")
    axis = attributes.get("axis", 0) % max(data.dim(), 1)
    places = _from_front(indices, data.shape[axis])
    found = data.index_select(axis, places.flatten())
    return found.reshape(*data.shape[:axis], *places.shape, *data.shape[axis + 1 :])


def _gather_elements(inputs: Inputs, attributes: Attributes) -> Tensor:
    data, indices = needed(inputs, 0, "data"), needed(inputs, 1, "indices")
    axis = attributes.get("axis", 0)
    return data.gather(axis, _from_front(indices, data.shape[axis]))


def _gather_nd(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Take data[b, indices[b, …]] for each place b of the first `batch_dims` axes, which both have."""
    data, indices = needed(inputs, 0, "data"), needed(inputs, 1, "indices")
    shared, depth = attributes.get("batch_dims", 0), indices.shape[-1]
    if tuple(data.shape[:shared]) != tuple(indices.shape[:shared]):
        raise ArgumentError(
            f"indices have shape {tuple(indices.shape)}", expected=f"the first {shared} axes of data"
        )
    rows = data.reshape(-1, *data.shape[shared:])
    places = indices.reshape(len(rows), -1, depth)
    parts = [_from_front(part, size) for part, size in zip(places.unbind(-1), rows.shape[1:], strict=False)]
    row = torch.arange(len(rows), device=data.device)[:, None].expand(places.shape[:2])
    found = rows[(row, *parts)]
    return found.reshape(*indices.shape[:-1], *data.shape[shared + depth :])


def _scatter_elements(inputs: Inputs, attributes: Attributes) -> Tensor:
    if attributes.get("reduction", "none") != "none":
        raise ArgumentError(f"reduction={attributes['reduction']!r}", expected="'none'")
    data, indices = needed(inputs, 0, "data"), needed(inputs, 1, "indices")
    axis = attributes.get("axis", 0)
    return data.scatter(axis, _from_front(indices, data.shape[axis]), needed(inputs, 2, "updates"))


def _top_k(inputs: Inputs, attributes: Attributes) -> list[Tensor]:
    x, count = needed(inputs, 0, "X"), numbers(inputs, 1, "K")[0]
    axis = attributes.get("axis", -1)
    if not 0 <= count <= x.shape[axis]:
        raise ArgumentError(f"K is {count}", expected=f"0 to {x.shape[axis]}, the size of axis {axis}")
    # Sorted whole and stable: of equal numbers ONNX takes the first one, torch.topk takes any.
    values, places = torch.sort(x, dim=axis, descending=bool(attributes.get("largest", 1)), stable=True)
    return [values.narrow(axis, 0, count), places.narrow(axis, 0, count)]


def _reverse_sequence(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Turn around the first `lengths` steps of each row, and leave the rest where it is."""
    x, lengths = needed(inputs, 0, "input"), needed(inputs, 1, "sequence_lens")
    time, batch = attributes.get("time_axis", 0), attributes.get("batch_axis", 1)
    if {time, batch} != {0, 1}:
        raise ArgumentError(f"time_axis {time} and batch_axis {batch}", expected="0 and 1, or 1 and 0")
    if lengths.shape != (x.shape[batch],):
        raise ArgumentError(
            f"sequence_lens has shape {tuple(lengths.shape)}", expected=f"({x.shape[batch]},)"
        )
    steps = torch.arange(x.shape[time], device=x.device)
    ends = lengths.to(torch.int64)[:, None]
    places = torch.where(steps < ends, ends - 1 - steps, steps)  # -> (N, T)
    places = (places if batch == 0 else places.T).reshape(*x.shape[:2], *[1] * (x.dim() - 2))
    return x.gather(time, places.expand_as(x))


PLACES: dict[str, Callable[[Inputs, Attributes], Tensor | list[Tensor]]] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ReverseSequence": _reverse_sequence,
    "ScatterElements": _scatter_elements,
    "TopK": _top_k,
}
"""Name of an operator to what it computes."""
