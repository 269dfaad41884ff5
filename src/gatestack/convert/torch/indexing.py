"""Square brackets: `out[:, -1]`, `h[-1]`, `x[..., :3]`, `out[arange(N), lengths - 1]`."""

from __future__ import annotations

from typing import Any

from gatestack.convert.layers import (
    Slice,
    SliceOptions,
    Squeeze,
    SqueezeOptions,
    Take,
    TakeOptions,
    Unsqueeze,
    UnsqueezeOptions,
)
from gatestack.convert.torch.reading import TreeReader
from gatestack.convert.torch.values import Extent, Grid, Wire

__all__ = ["read_index"]


def read_index(reader: TreeReader, value: Any, index: Any) -> Any:
    """Read `value[index]`.

    Args:
        reader: of the tree.
        value: a tensor, or a tuple such as what an LSTM gives.
        index: what stands between the brackets.

    Raises:
        ArgumentError: it cannot be said as places and ranges, or points outside.
    """
    if isinstance(value, tuple):
        if not isinstance(index, int | slice):
            raise reader.refuse("an index that is known only when it runs", "a whole number")
        return value[index]
    wire = reader.wire(value)
    parts = list(index) if isinstance(index, tuple) else [index]
    if len(parts) == 2 and isinstance(parts[0], Grid) and isinstance(parts[1], Wire):
        return _rows_at(reader, wire, parts[0], parts[1])
    if Ellipsis in [part for part in parts if not isinstance(part, Wire)]:
        place = next(number for number, part in enumerate(parts) if part is Ellipsis)
        taken = sum(part is not None for part in parts) - 1
        parts[place : place + 1] = [slice(None)] * (wire.rank - taken)
    name, axis, original = wire.name, 0, 0
    for part in parts:
        if part is None:
            name = reader.add(Unsqueeze(UnsqueezeOptions(axes=(axis,))), [name])
            axis += 1
        elif isinstance(part, int) and not isinstance(part, bool):
            name = reader.add(Take(TakeOptions(axis=axis, index=part)), [name])
            original += 1
        elif isinstance(part, slice):
            name = _sliced(reader, name, axis, wire, original, part)
            axis, original = axis + 1, original + 1
        else:
            raise reader.refuse("a tensor between the brackets", "whole numbers and ranges")
    return name


def _sliced(reader: TreeReader, name: str, axis: int, wire: Wire, original: int, part: slice) -> str:
    bounds = [None if _whole(wire, original, bound) else bound for bound in (part.start, part.stop)]
    step = 1 if part.step is None else part.step
    if bounds == [None, None] and step == 1:
        return name
    if any(isinstance(bound, Extent) for bound in bounds):
        if step != 1:
            raise reader.refuse(f"a step of {step} up to a size", "a step of 1")
        start, stop = 0 if bounds[0] is None else bounds[0], 2**62 if bounds[1] is None else bounds[1]
        return reader.operate("Slice", [name, *(reader.vector([one]) for one in (start, stop, axis))])
    if any(not isinstance(bound, int | None) for bound in (*bounds, step)):
        raise reader.refuse("a range that is known only when it runs", "whole numbers")
    options = SliceOptions(axis=axis, start=bounds[0] or 0, stop=bounds[1], step=step)
    return reader.add(Slice(options), [name])


def _whole(wire: Wire, axis: int, bound: Any) -> bool:
    """Whether a bound is the size of the axis itself."""
    return isinstance(bound, Extent) and axis < wire.rank and bound.size == wire.sizes[axis]


def _rows_at(reader: TreeReader, wire: Wire, rows: Grid, places: Wire) -> str:
    """Take for each row of (N, T, F) its own step."""
    size = rows.size.size if isinstance(rows.size, Extent) else (rows.size, rows.size)
    if wire.rank != 3 or places.rank != 1 or size != wire.sizes[0]:
        raise reader.refuse(
            "tensors between the brackets", "x[torch.arange(N), steps] of x (N, T, F), steps (N,)"
        )
    column = reader.add(Unsqueeze(UnsqueezeOptions(axes=(1, 2))), [places.name])
    shape = reader.vector([1, 1, reader.extent(wire, 2)])
    wide = reader.operate("Expand", [column, shape])
    found = reader.operate("GatherElements", [wire.name, wide], axis=1)
    return reader.add(Squeeze(SqueezeOptions(axes=(1,))), [found])
