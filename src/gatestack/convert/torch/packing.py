"""`pack_padded_sequence` and `pad_packed_sequence`: rows of several lengths."""

from __future__ import annotations

from typing import Any

from gatestack.convert.layers import Permute, PermuteOptions
from gatestack.convert.torch.reading import TreeReader
from gatestack.convert.torch.values import Extent, Packed, Wire

__all__ = ["read_pack", "read_pad"]

_TURN = PermuteOptions(axes=(1, 0, 2))


def read_pack(
    reader: TreeReader,
    x: Any,
    lengths: Any,
    batch_first: bool = False,
    enforce_sorted: bool = True,  # noqa: ARG001
) -> Packed:
    """Read `pack_padded_sequence`; rows in any order are fine here.

    Args:
        reader: of the tree.
        x: (T, N, C), or (N, T, C) with `batch_first`.
        lengths: (N,).
        batch_first: see x.
        enforce_sorted: of torch's own way to compute.
    """
    wire = reader.wire(x, "the input")
    if wire.rank != 3:
        raise reader.refuse(f"an input of {wire.rank} axes", "batch, time and features")
    steps = reader.wire(lengths, "lengths")
    if batch_first:
        return Packed(wire, steps, wire.sizes[1])
    sizes = (wire.sizes[1], wire.sizes[0], wire.sizes[2])
    turned = reader.add(Permute(_TURN), [wire.name])
    return Packed(Wire(turned, sizes, wire.dtype), steps, sizes[1])


def read_pad(
    reader: TreeReader,
    packed: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: Any = None,
) -> Any:
    """Read `pad_packed_sequence` -> the padded batch, as long as its longest row, and lengths.

    Args:
        reader: of the tree.
        packed: what a recurrent module gave.
        batch_first: (N, T, H), else (T, N, H).
        padding_value: 0.
        total_length: size of the axis of time that was packed, or None.
    """
    if not isinstance(packed, Packed):
        raise reader.refuse("it does not come from a recurrent module", "what one gave for packed input")
    if padding_value != 0:
        raise reader.refuse(f"padding_value is {padding_value}", "0")
    name = packed.padded.name
    if total_length is None:
        longest = reader.operate("ReduceMax", [packed.lengths.name], keepdims=1)
        name = reader.operate("Slice", [name, reader.vector([0]), longest, reader.vector([1])])
    else:
        size = total_length.size if isinstance(total_length, Extent) else (total_length, total_length)
        if size != packed.steps:
            raise reader.refuse("total_length is another size", "that of the time axis that was packed")
    if not batch_first:
        name = reader.add(Permute(_TURN), [name])
    return name, packed.lengths
