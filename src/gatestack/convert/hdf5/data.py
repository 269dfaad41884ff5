"""The numbers of a dataset of an HDF5 file: in its header, in one piece, or in chunks that may be packed.

Source: HDF5 File Format Specification 3.0, IV.A.2.i "The Data Layout Message", IV.A.2.l "The Data Storage -
Filter Pipeline Message", III.A "Version 1 B-trees" (nodes of type 1).
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatestack.convert.hdf5.source import UNDEFINED, Cursor, Source

__all__ = ["MOST_EXPANSION", "Storage", "read_filters", "read_layout"]

MOST_EXPANSION = 100
"""How many times larger than what is stored the content of a dataset may be."""

_DEEPEST_TREE = 8
_GZIP, _SHUFFLE = 1, 2
_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = range(4)


@dataclass(frozen=True)
class Storage:
    """Where the numbers of a dataset are.

    Args:
        content: the numbers themselves, where they stand in the header.
        address: where they begin, or the B-tree of the chunks.
        size: how many bytes they have in one piece.
        chunk: the shape of a chunk; None where there are no chunks.
        filters: what was done to each chunk, in this order.

    Example:
        >>> Storage(content=bytes(4)).chunk is None
        True
    """

    content: bytes | None = None
    address: int = UNDEFINED
    size: int = 0
    chunk: tuple[int, ...] | None = None
    filters: tuple[int, ...] = ()

    def read(self, source: Source, shape: tuple[int, ...], item: int, place: str) -> bytes:
        """Read the numbers, as many as the shape says.

        Args:
            source: the file.
            shape: of the dataset.
            item: bytes of a number.
            place: its path, for errors.

        Raises:
            ModelFileError: not as many are stored, or so few that the shape cannot be true.
        """
        wanted = math.prod(shape) * item
        if wanted == 0:
            return b""
        source.claim(wanted, place)
        if self.chunk is not None:
            return _read_chunks(self, source, shape, item, place)
        stored = len(self.content) if self.content is not None else self.size
        if stored != wanted or (self.content is None and self.address == UNDEFINED):
            stored = 0 if self.content is None and self.address == UNDEFINED else stored
            raise source.damaged(
                f"its shape {shape} needs {wanted} bytes, {stored} bytes are stored for it", place
            )
        return source.read(self.address, wanted, place) if self.content is None else self.content


def read_layout(cursor: Cursor, filters: tuple[int, ...]) -> Storage:
    """Read where the numbers of a dataset are.

    Raises:
        ModelFileError: the message is damaged, or says something that is not read here.

    Example:
        >>> import io
        >>> content = bytes([3, 0, 2, 0, 5, 6])
        >>> read_layout(Source(io.BytesIO(content), 6, "a.h5").cursor(0, 6, "w"), ()).content
        b'\\x05\\x06'
    """
    version, kind = cursor.numbers("BB")
    if version not in (3, 4) or kind > _VIRTUAL:
        raise cursor.refused(f"its layout is of version {version} and class {kind}")
    if kind == _VIRTUAL:
        raise cursor.refused("a virtual dataset, whose numbers are in other files")
    if kind == _COMPACT:
        return Storage(content=cursor.take(cursor.number(2)))
    if kind == _CONTIGUOUS:
        address, size = cursor.numbers("QQ")
        return Storage(address=address, size=size)
    if version == 4:
        raise cursor.refused("its chunks are indexed in a newer way than by a B-tree of version 1")
    axes = cursor.number(1)
    address = cursor.number(8)
    *chunk, _ = cursor.numbers(f"{axes}I") or (0,)
    return Storage(address=address, chunk=tuple(chunk), filters=filters)


def read_filters(cursor: Cursor) -> tuple[int, ...]:
    """Read which filters the chunks went through: gzip and shuffle are known.

    Raises:
        ModelFileError: the message is damaged, or names another filter.

    Example:
        >>> import io
        >>> content = bytes([2, 1, 1, 0, 0, 0, 1, 0, 6, 0, 0, 0])
        >>> read_filters(Source(io.BytesIO(content), 12, "a.h5").cursor(0, 12, "w"))
        (1,)
    """
    version, count = cursor.numbers("BB")
    if version not in (1, 2):
        raise cursor.damaged(f"the version of its filters is {version}, not 1 or 2")
    if version == 1:
        cursor.take(6)
    found = []
    for _ in range(count):
        number = cursor.number(2)
        if number not in (_GZIP, _SHUFFLE):
            raise cursor.refused(f"its chunks went through the filter {number}, neither gzip nor shuffle")
        name = cursor.number(2) if version == 1 else 0
        _, values = cursor.numbers("HH")
        cursor.take(name + 4 * values + (4 if version == 1 and values % 2 else 0))
        found.append(number)
    return tuple(found)


@dataclass(frozen=True)
class _Chunk:
    corner: tuple[int, ...]
    address: int
    stored: int
    skipped: int  # bit i is set where filter i was left out


def _read_chunks(storage: Storage, source: Source, shape: tuple[int, ...], item: int, place: str) -> bytes:
    chunk = storage.chunk or ()
    if len(chunk) != len(shape) or 0 in chunk:
        raise source.damaged(f"its shape is {shape}, that of its chunks {chunk}", place)
    counts = [-(-size // part) for size, part in zip(shape, chunk, strict=True)]
    size = math.prod(chunk) * item
    wanted = math.prod(shape) * item
    found = {
        entry.corner: entry for entry in _walk_chunks(storage, source, len(shape), math.prod(counts), place)
    }
    stored = sum(entry.stored for entry in found.values())
    if max(wanted, size) > MOST_EXPANSION * stored:
        raise source.damaged(
            f"its shape {shape} needs {wanted} bytes, {stored} bytes are stored for it",
            place,
            hint=f"more than {MOST_EXPANSION} times what is stored is taken for an attack on the memory",
        )
    if len(found) != math.prod(counts):
        raise source.damaged(f"{len(found)} of its {math.prod(counts)} chunks are stored", place)
    whole = np.empty((*shape, item), np.uint8)
    for steps in itertools.product(*map(range, counts)):
        corner = tuple(step * part for step, part in zip(steps, chunk, strict=True))
        if corner not in found:
            raise source.damaged(f"its chunk at {corner} is not stored", place)
        part = _unpacked(storage.filters, source, found[corner], size, item, place).reshape(*chunk, item)
        ends = [min(begin + long, size) for begin, long, size in zip(corner, chunk, shape, strict=True)]
        inside = tuple(slice(0, end - begin) for begin, end in zip(corner, ends, strict=True))
        whole[tuple(map(slice, corner, ends))] = part[inside]
    return whole.tobytes()


def _walk_chunks(storage: Storage, source: Source, rank: int, most: int, place: str) -> Iterator[_Chunk]:
    nodes, level, seen = [storage.address], None, 0
    if storage.address == UNDEFINED:
        return
    while nodes:
        below: list[int] = []
        for address in nodes:
            head = source.cursor(address, 24, place)
            head.expect(b"TREE")
            kind, own, count = head.numbers("BBH")
            if kind != 1 or own > _DEEPEST_TREE or level not in (None, own):
                raise head.damaged(f"the node at byte {address} is of kind {kind} on level {own}")
            level = own
            entries = source.cursor(address + 24, count * (24 + 8 * rank), place)
            seen += count
            if seen > 2 * most + _DEEPEST_TREE:
                raise head.damaged(f"it lists more than its {most} chunks")
            for _ in range(count):
                stored, skipped, *corner, _, child = entries.numbers(f"II{rank}QQQ")
                if own:
                    below.append(child)
                else:
                    yield _Chunk(tuple(corner), child, stored, skipped)
        nodes, level = below, None if level is None else level - 1


def _unpacked(
    filters: tuple[int, ...], source: Source, chunk: _Chunk, size: int, item: int, place: str
) -> npt.NDArray[np.uint8]:
    content = source.read(chunk.address, chunk.stored, place)
    for number, kind in reversed(list(enumerate(filters))):
        if chunk.skipped >> number & 1:
            continue
        if kind == _GZIP:
            content = _inflated(source, content, size, place)
        elif kind == _SHUFFLE and len(content) % item == 0:
            content = np.frombuffer(content, np.uint8).reshape(item, -1).T.tobytes()
    if len(content) != size:
        raise source.damaged(f"its chunk at {chunk.corner} has {len(content)} bytes, not {size}", place)
    return np.frombuffer(content, np.uint8)


def _inflated(source: Source, content: bytes, size: int, place: str) -> bytes:
    machine = zlib.decompressobj()
    try:
        found = machine.decompress(content, size)
        more = b"" if machine.eof else machine.decompress(machine.unconsumed_tail, 1)
    except zlib.error as error:
        raise source.damaged(f"a chunk of it cannot be unpacked: {error}", place) from None
    if more:
        raise source.damaged(f"a chunk of it holds more than its {size} bytes", place)
    return found
