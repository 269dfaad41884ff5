"""What moves numbers and computes none, however it is written: indexing, reshape, cat, sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from gatestack.convert.layers import (
    Concatenate,
    ConcatenateOptions,
    Permute,
    PermuteOptions,
    Reshape,
    ReshapeOptions,
    Slice,
    SliceOptions,
    Squeeze,
    SqueezeOptions,
    Stacked,
    StackedOptions,
    Take,
    TakeOptions,
    Unsqueeze,
    UnsqueezeOptions,
)
from gatestack.convert.torch.reading import TreeReader
from gatestack.convert.torch.values import Extent, Grid, Wire, Zeros

__all__ = ["MOVES"]

Reader = Callable[..., Any]


def _sizes(given: Sequence[Any]) -> list[Any]:
    """Give sizes that stand one by one or as one sequence."""
    return list(given[0]) if len(given) == 1 and isinstance(given[0], list | tuple) else list(given)


def _reshape(reader: TreeReader, x: Any, *shape: Any, **named: Any) -> str:
    return reshaped(reader, reader.wire(x), _sizes(shape or [named["shape"]]))


def reshaped(reader: TreeReader, wire: Wire, sizes: Sequence[Any]) -> str:
    """Add a reshape; sizes that are known only when it runs stay open.

    Args:
        reader: of the tree.
        wire: the tensor.
        sizes: whole numbers, one of them maybe -1, or `Extent`.
    """
    shape: list[Any] = list(sizes)
    for place, size in enumerate(shape):
        kept = isinstance(size, Extent) and place < wire.rank and wire.sizes[place] == size.size
        if kept or (size == 0 and place < wire.rank):
            shape[place] = 0
    open_places = [place for place, size in enumerate(shape) if isinstance(size, Extent)]
    if len(open_places) == 1 and -1 not in shape:
        shape[open_places[0]] = -1
        open_places = []
    if open_places:
        return reader.operate("Reshape", [wire.name, reader.vector(sizes)])
    return reader.add(Reshape(ReshapeOptions(shape=tuple(shape))), [wire.name])


def _flatten(reader: TreeReader, x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    wire = reader.wire(x)
    first, last = wire.axis(start_dim), wire.axis(end_dim)
    if first == last:
        return wire
    before = [reader.extent(wire, axis) for axis in range(first)]
    after = [reader.extent(wire, axis) for axis in range(last + 1, wire.rank)]
    return reshaped(reader, wire, [*before, -1, *after])


def _unflatten(reader: TreeReader, x: Any, dim: int, sizes: Sequence[Any]) -> str:
    wire = reader.wire(x)
    place = wire.axis(dim)
    every = [reader.extent(wire, axis) for axis in range(wire.rank)]
    return reshaped(reader, wire, [*every[:place], *sizes, *every[place + 1 :]])


def _squeeze(reader: TreeReader, x: Any, dim: Any = None) -> Any:
    wire = reader.wire(x)
    if dim is None:
        raise reader.refuse(
            "squeeze() without an axis", "squeeze(dim)", "without it, a batch of one row loses its axis too"
        )
    axes = [wire.axis(axis) for axis in (dim if isinstance(dim, list | tuple) else [dim])]
    ones = tuple(axis for axis in axes if wire.sizes[axis] == (1, 1))
    return reader.add(Squeeze(SqueezeOptions(axes=ones)), [wire.name]) if ones else wire


def _unsqueeze(reader: TreeReader, x: Any, dim: int) -> str:
    return reader.add(Unsqueeze(UnsqueezeOptions(axes=(dim,))), [reader.wire(x).name])


def _permute(reader: TreeReader, x: Any, *dims: Any, **named: Any) -> str:
    wire = reader.wire(x)
    axes = tuple(wire.axis(axis) for axis in _sizes(dims or [named["dims"]]))
    return reader.add(Permute(PermuteOptions(axes=axes)), [wire.name])


def _transpose(reader: TreeReader, x: Any, dim0: int = 0, dim1: int = 1) -> Any:
    wire = reader.wire(x)
    axes = list(range(wire.rank))
    a, b = wire.axis(dim0), wire.axis(dim1)
    axes[a], axes[b] = axes[b], axes[a]
    return reader.add(Permute(PermuteOptions(axes=tuple(axes))), [wire.name])


def _cat(reader: TreeReader, tensors: Sequence[Any], dim: int = 0) -> str:
    names = [reader.wire(one).name for one in tensors]
    return reader.add(Concatenate(ConcatenateOptions(axis=dim)), names)


def _stack(reader: TreeReader, tensors: Sequence[Any], dim: int = 0) -> str:
    return reader.add(Stacked(StackedOptions(axis=dim)), [reader.wire(one).name for one in tensors])


def _flip(reader: TreeReader, x: Any, *dims: Any) -> str:
    name = reader.wire(x).name
    for axis in _sizes(dims):
        name = reader.add(Slice(SliceOptions(axis=axis, step=-1)), [name])
    return name


def _select(reader: TreeReader, x: Any, dim: int, index: int) -> str:
    return reader.add(Take(TakeOptions(axis=dim, index=index)), [reader.wire(x).name])


def _narrow(reader: TreeReader, x: Any, dim: int, start: int, length: Any) -> str:
    if not isinstance(start, int) or not isinstance(length, int):
        raise reader.refuse("a place that is known only when it runs", "whole numbers")
    options = SliceOptions(axis=dim, start=start, stop=start + length)
    return reader.add(Slice(options), [reader.wire(x).name])


def _unbind(reader: TreeReader, x: Any, dim: int = 0) -> tuple[str, ...]:
    size = _fixed(reader, x, dim)
    return tuple(_select(reader, x, dim, number) for number in range(size))


def _chunk(reader: TreeReader, x: Any, chunks: int, dim: int = 0) -> tuple[str, ...]:
    size = _fixed(reader, x, dim)
    return _split(reader, x, -(-size // chunks), dim)


def _split(reader: TreeReader, x: Any, sizes: Any, dim: int = 0) -> tuple[str, ...]:
    total = _fixed(reader, x, dim)
    each = [sizes] * -(-total // sizes) if isinstance(sizes, int) else list(sizes)
    starts = [sum(each[:number]) for number in range(len(each))]
    return tuple(_narrow(reader, x, dim, start, size) for start, size in zip(starts, each, strict=True))


def _fixed(reader: TreeReader, x: Any, dim: int) -> int:
    wire = reader.wire(x)
    size = reader.extent(wire, dim)
    if not isinstance(size, int):
        raise reader.refuse(f"axis {dim} has a size that is known only when it runs", "a fixed size")
    return size


def _expand(reader: TreeReader, x: Any, *sizes: Any) -> str:
    # ONNX keeps an axis where torch has -1 by asking for 1.
    shape = [1 if size == -1 else size for size in _sizes(sizes)]
    return reader.operate("Expand", [reader.wire(x).name, reader.vector(shape)])


def _repeat(reader: TreeReader, x: Any, *repeats: Any) -> str:
    wire, times = reader.wire(x), _sizes(repeats)
    if len(times) != wire.rank:
        raise reader.refuse(f"{len(times)} numbers for a tensor of {wire.rank} axes", "one for each axis")
    return reader.operate("Tile", [wire.name, reader.vector(times)])


def _gather(reader: TreeReader, x: Any, dim: int, index: Any) -> str:
    return reader.operate("GatherElements", [reader.wire(x).name, reader.wire(index).name], axis=dim)


def _size(reader: TreeReader, x: Any, dim: Any = None) -> Any:
    wire = reader.wire(x)
    if dim is None:
        return tuple(reader.extent(wire, axis) for axis in range(wire.rank))
    return reader.extent(wire, dim)


def _dim(reader: TreeReader, x: Any) -> int:
    return reader.wire(x).rank


def _getattr(reader: TreeReader, x: Any, name: str) -> Any:
    if name == "shape":
        return _size(reader, x)
    if name == "ndim":
        return reader.wire(x).rank
    if name in ("T", "mT") and isinstance(x, Wire) and x.rank == 2:
        return _transpose(reader, x, 0, 1)
    if name in ("values", "indices") and isinstance(x, tuple):
        return x[name == "indices"]
    if name in ("device", "dtype"):
        return reader.results()[0]
    raise reader.refuse(f"the attribute {name!r}", "shape, ndim, T, dtype, device")


def _zeros(reader: TreeReader, *sizes: Any, **named: Any) -> Zeros:  # noqa: ARG001 (dtype and device)
    return Zeros(tuple(_sizes(sizes or [named["size"]])))


def _new_zeros(reader: TreeReader, _: Any, *sizes: Any, **named: Any) -> Zeros:
    return _zeros(reader, *sizes, **named)


def _zeros_like(reader: TreeReader, x: Any, **_: Any) -> Zeros:
    return Zeros(tuple(_size(reader, x)))


def _arange(reader: TreeReader, *bounds: Any, **_: Any) -> Grid:
    if len(bounds) != 1:
        raise reader.refuse("arange with several numbers", "arange(size)")
    return Grid(bounds[0])


def _same(reader: TreeReader, x: Any, *_: Any, **__: Any) -> Any:
    """What leaves the numbers as they are; of another dtype, what changes it."""
    first = reader.results()[0]
    if isinstance(x, Wire) and isinstance(first, torch.Tensor) and first.dtype != x.dtype:
        numbers = {torch.float32: 1, torch.float64: 11, torch.int64: 7, torch.int32: 6, torch.bool: 9}
        if first.dtype not in numbers:
            raise reader.refuse(f"it becomes {first.dtype}", "float32, float64, int64 or bool")
        return reader.operate("Cast", [x.name], to=numbers[first.dtype])
    return x


def _detach(reader: TreeReader, _: Any) -> Any:
    raise reader.refuse("detach() stops gradients inside of the network", "forward without it",
                        "detach what the network returns")  # fmt: skip


MOVES: dict[str, Reader] = {
    **dict.fromkeys(("alias", "bool", "clone", "contiguous", "cpu", "double", "float", "long", "to", "tolist",
                     "type_as"), _same),
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    **dict.fromkeys(("reshape", "view"), _reshape),
    **dict.fromkeys(("swapaxes", "transpose", "t"), _transpose),
    "arange": _arange,
    "chunk": _chunk,
    "detach": _detach,
    "dim": _dim,
    "expand": _expand,
    "flatten": _flatten,
    "flip": _flip,
    "gather": _gather,
    "getattr": _getattr,
    "narrow": _narrow,
    "new_zeros": _new_zeros,
    "permute": _permute,
    "repeat": _repeat,
    "select": _select,
    "size": _size,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "unbind": _unbind,
    "unflatten": _unflatten,
    "unsqueeze": _unsqueeze,
    "zeros": _zeros,
    "zeros_like": _zeros_like,
}  # fmt: skip
"""torch's name of a function or a method to what reads it."""
