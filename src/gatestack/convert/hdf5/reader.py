"""Groups and datasets of an HDF5 file, from its first bytes on.

Read are: superblocks 0 to 3, groups (symbol tables and compact links), attributes (texts and numbers),
datasets of numbers (in one piece, in the header, in chunks packed by gzip). Everything else is refused with
its name: links that lead to another place or file, data in other files, virtual datasets, committed types,
fractal heaps. A file can neither make the reader allocate more than it holds (times 100 where it is packed),
nor make it run in circles, nor raise anything but a `ModelFileError`.

Source: HDF5 File Format Specification 3.0.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from gatestack.convert.hdf5.data import Storage, read_filters, read_layout
from gatestack.convert.hdf5.groups import is_group, read_members
from gatestack.convert.hdf5.headers import Message, read_header, refuse_dense
from gatestack.convert.hdf5.source import UNDEFINED, Cursor, Source
from gatestack.convert.hdf5.types import (
    Attribute,
    Datatype,
    GlobalHeap,
    read_attribute,
    read_dataspace,
    read_datatype,
)
from gatestack.errors import ModelFileError

__all__ = ["Hdf5Dataset", "Hdf5Group", "open_hdf5"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SPACE, _TYPE, _LAYOUT, _FILTERS, _ATTRIBUTE, _ATTRIBUTE_INFO = 0x01, 0x03, 0x08, 0x0B, 0x0C, 0x15


class _Object:
    """A group or a dataset: its messages and its attributes."""

    def __init__(self, source: Source, heap: GlobalHeap, messages: list[Message], path: str) -> None:
        self._source = source
        self._heap = heap
        self._messages = messages
        self.path = path

    @property
    def place(self) -> str:
        """The path, for a message."""
        return self.path or "the root group"

    @cached_property
    def attributes(self) -> dict[str, Attribute]:
        """Name to text, list of texts or numbers."""
        found: dict[str, Attribute] = {}
        for message in self._messages:
            cursor = Cursor(self._source, message.content, f"an attribute of {self.place}")
            if message.kind == _ATTRIBUTE:
                name, value = read_attribute(cursor, self._heap)
                if name in found:
                    raise cursor.damaged(f"{name[:60]!r} is there twice")
                found[name] = value
            elif message.kind == _ATTRIBUTE_INFO:
                refuse_dense(cursor, "attributes", index_bytes=2)
        return found

    @property
    def where(self) -> str:
        """The file, for a message."""
        return self._source.where

    def damaged(self, what: str) -> ModelFileError:
        """Make the error that names the file and this object."""
        return self._source.damaged(what, self.place)

    def _one(self, kind: int, name: str) -> Cursor | None:
        found = [message.content for message in self._messages if message.kind == kind]
        if len(found) > 1:
            raise self.damaged(f"it has {len(found)} {name}s")
        return Cursor(self._source, found[0], self.place) if found else None


class Hdf5Dataset(_Object):
    """Numbers with a shape; nothing is read of them before `read`.

    Example:
        >>> import io, numpy, h5py
        >>> stream = io.BytesIO()
        >>> with h5py.File(stream, "w") as file:
        ...     file["w"] = numpy.arange(3)
        >>> open_hdf5(stream, "a.h5").dataset("w").read()
        array([0, 1, 2])
    """

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the array, () for a single number."""
        cursor = self._one(_SPACE, "dataspace")
        shape = read_dataspace(cursor) if cursor else None
        if shape is None:
            raise self.damaged("it has no shape")
        return shape

    @cached_property
    def datatype(self) -> Datatype:
        """What the elements are."""
        cursor = self._one(_TYPE, "datatype")
        if cursor is None:
            raise self.damaged("it has no datatype")
        found = read_datatype(cursor)
        if found.kind != "number":
            raise self._source.refused("its elements are no numbers", self.place)
        return found

    @property
    def nbytes(self) -> int:
        """What the array takes in memory, as far as its shape is true."""
        return math.prod(self.shape) * self.datatype.size

    def read(self) -> npt.NDArray[np.generic]:
        """Read the array; bfloat16, which NumPy does not have, becomes float32.

        Raises:
            ModelFileError: the data is damaged, not stored, or in a way that is not read here.
        """
        content = self._storage().read(self._source, self.shape, self.datatype.size, self.place)
        if self.datatype.dtype == "bfloat16":
            upper = np.frombuffer(content, "<u2").astype("<u4") << 16
            return upper.view("<f4").reshape(self.shape)
        return np.frombuffer(content, self.datatype.dtype).reshape(self.shape)

    def _storage(self) -> Storage:
        layout, filters = self._one(_LAYOUT, "layout"), self._one(_FILTERS, "list of filters")
        if layout is None:
            raise self.damaged("it has no layout")
        return read_layout(layout, read_filters(filters) if filters else ())


class Hdf5Group(_Object):
    """A folder of groups and datasets, whose headers are read when they are asked for.

    Example:
        >>> import io, h5py
        >>> stream = io.BytesIO()
        >>> with h5py.File(stream, "w") as file:
        ...     file["layers/lstm/vars/0"] = 1.5
        ...     file["layers/lstm"].attrs["name"] = "encoder"
        >>> root = open_hdf5(stream, "a.h5")
        >>> root.names, root.group("layers/lstm").attributes
        (['layers'], {'name': 'encoder'})
    """

    @cached_property
    def _members(self) -> dict[str, int]:
        return read_members(self._source, self._messages, self.place)

    @cached_property
    def _known(self) -> dict[str, Hdf5Group | Hdf5Dataset]:
        return {}

    @property
    def names(self) -> list[str]:
        """Of the members, in the order of the file."""
        return list(self._members)

    def find(self, path: str) -> Hdf5Group | Hdf5Dataset | None:
        """Give the member at a path such as "layers/lstm/vars", or None where there is none.

        Args:
            path: names with `/` between them.

        Raises:
            ModelFileError: what is on the way is damaged or a dataset.
        """
        name, _, rest = path.partition("/")
        if name not in self._members:
            return None
        if name not in self._known:
            self._known[name] = self._open(name)
        member = self._known[name]
        if not rest:
            return member
        if isinstance(member, Hdf5Dataset):
            raise member.damaged("a dataset where a group is expected")
        return member.find(rest)

    def group(self, path: str) -> Hdf5Group:
        """Give the group at a path.

        Raises:
            ModelFileError: there is none.
        """
        found = self.find(path)
        if not isinstance(found, Hdf5Group):
            raise self.damaged(f"it has no group {path!r}")
        return found

    def dataset(self, path: str) -> Hdf5Dataset:
        """Give the dataset at a path.

        Raises:
            ModelFileError: there is none.
        """
        found = self.find(path)
        if not isinstance(found, Hdf5Dataset):
            raise self.damaged(f"it has no dataset {path!r}")
        return found

    def _open(self, name: str) -> Hdf5Group | Hdf5Dataset:
        path = f"{self.path}/{name}" if self.path else name
        messages = read_header(self._source, self._members[name], path)
        kind = Hdf5Group if is_group(messages) else Hdf5Dataset
        return kind(self._source, self._heap, messages, path)


def open_hdf5(stream: BinaryIO, where: str, *, max_bytes: int = 2**30) -> Hdf5Group:
    """Open an HDF5 file and give its root group.

    Args:
        stream: the file, seekable; it stays open while the groups are used.
        where: its path, for errors.
        max_bytes: how much memory all arrays together may take.

    Raises:
        ModelFileError: it is no HDF5 file, or one of a kind that is not read here.

    Example:
        >>> import io
        >>> open_hdf5(io.BytesIO(b"PK"), "model.h5")
        Traceback (most recent call last):
        gatestack.errors.ModelFileError: model.h5: not an HDF5 file, it begins with 50 4b
    """
    size = stream.seek(0, 2)
    source = Source(stream, size, where, max_bytes)
    first = source.read(0, min(size, 9), "its first bytes")
    if first[:8] != _SIGNATURE or len(first) < 9:
        begin = first[:8].hex(" ") or "nothing"
        raise ModelFileError(f"not an HDF5 file, it begins with {begin}", where=where)
    place = "the superblock"
    end, root = _old_superblock(source, place) if first[8] < 2 else _new_superblock(source, place)
    if end > size:
        raise source.damaged(
            f"the file should have {end} bytes, it has {size}",
            place,
            hint="the file is cut: take it from its source or a copy again",
        )
    return Hdf5Group(source, GlobalHeap(source), read_header(source, root, "the root group"), "")


def _old_superblock(source: Source, place: str) -> tuple[int, int]:
    """Read a superblock of version 0 or 1 -> where the file ends, where the root group is."""
    version = source.read(8, 1, place)[0]
    cursor = source.cursor(13, 2, place)
    _check_widths(cursor)
    base, _, end, driver, _, root = source.cursor(28 if version else 24, 48, place).numbers("QQQQQQ")
    if base != 0 or driver != UNDEFINED:
        raise source.refused("the file is one of several, or begins with something else", place)
    return end, root


def _new_superblock(source: Source, place: str) -> tuple[int, int]:
    version = source.read(8, 1, place)[0]
    if version > 3:
        raise source.refused(f"its version is {version}", place)
    _check_widths(source.cursor(9, 2, place))
    base, extension, end, root = source.cursor(12, 32, place).numbers("QQQQ")
    if base != 0 or extension != UNDEFINED:
        raise source.refused("the file has a superblock extension, or begins with something else", place)
    return end, root


def _check_widths(cursor: Cursor) -> None:
    widths = cursor.numbers("BB")
    if widths != (8, 8):
        raise cursor.refused(f"addresses and lengths have {widths} bytes, not 8 each")
