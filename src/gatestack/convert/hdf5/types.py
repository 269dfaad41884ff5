"""Datatypes and dataspaces of HDF5 files, and the values of attributes.

Source: HDF5 File Format Specification 3.0, IV.A.2.b "The Dataspace Message", IV.A.2.d "The Datatype Message"
and IV.A.2.m "The Attribute Message"; III.E "Global Heap".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from gatestack.convert.hdf5.source import Cursor, Source

__all__ = [
    "Attribute",
    "Datatype",
    "GlobalHeap",
    "decode_text",
    "read_attribute",
    "read_dataspace",
    "read_datatype",
]

Attribute: TypeAlias = "str | list[str] | npt.NDArray[Any]"

_MOST_AXES = 32
_MOST_ELEMENTS = 2**48  # what NumPy can count in bytes, also beside an axis of size 0
_FIXED, _FLOAT, _STRING, _OPAQUE, _VARIABLE = 0, 1, 3, 5, 9
# size, bits of exponent and mantissa, bias -> what NumPy calls it; bfloat16 is the upper half of a float32.
_FLOATS = {
    (2, 5, 10, 15): "f2",
    (4, 8, 23, 127): "f4",
    (8, 11, 52, 1023): "f8",
    (2, 8, 7, 127): "bfloat16",
}


@dataclass(frozen=True)
class Datatype:
    """What the elements of a dataset or attribute are.

    Args:
        kind: numbers, strings of a fixed size, strings of variable length.
        size: bytes of an element.
        dtype: NumPy's name of a number, or "bfloat16".

    Example:
        >>> Datatype("number", 4, "<f4").dtype
        '<f4'
    """

    kind: Literal["number", "text", "variable text"]
    size: int
    dtype: str = ""


def read_dataspace(cursor: Cursor) -> tuple[int, ...] | None:
    """Read a dataspace: its shape, or None where it holds nothing at all.

    Raises:
        ModelFileError: it is damaged.

    Example:
        >>> import io
        >>> content = bytes([2, 1, 0, 1, 7, 0, 0, 0, 0, 0, 0, 0])
        >>> read_dataspace(Source(io.BytesIO(content), 12, "a.h5").cursor(0, 12, "w"))
        (7,)
    """
    version, rank, _, kind = cursor.numbers("BBBB")
    if version not in (1, 2):
        raise cursor.damaged(f"the version of its dataspace is {version}, not 1 or 2")
    if rank > _MOST_AXES:
        raise cursor.damaged(f"it has {rank} axes, more than {_MOST_AXES}")
    if version == 1:
        cursor.take(4)
    elif kind == 2:
        return None
    shape: tuple[int, ...] = cursor.numbers(f"{rank}Q")
    if math.prod(max(size, 1) for size in shape) > _MOST_ELEMENTS:
        raise cursor.damaged(f"its shape is {shape}, more than {_MOST_ELEMENTS} elements")
    return shape


def read_datatype(cursor: Cursor) -> Datatype:
    """Read a datatype.

    Raises:
        ModelFileError: it is damaged, or none of those that are read here.

    Example:
        >>> import io
        >>> content = bytes([0x10, 8, 0, 0, 4, 0, 0, 0, 0, 0, 32, 0])
        >>> read_datatype(Source(io.BytesIO(content), 12, "a.h5").cursor(0, 12, "w")).dtype
        '<i4'
    """
    kind, bits, size = cursor.number(1), cursor.number(3), cursor.number(4)
    version, kind = kind >> 4, kind & 15
    if version not in (1, 2, 3):
        raise cursor.damaged(f"the version of its datatype is {version}, not 1 to 3")
    if kind == _FIXED:
        return _whole_number(cursor, bits, size)
    if kind == _FLOAT:
        return _float(cursor, bits, size)
    if kind == _STRING and size:
        return Datatype("text", size)
    if kind == _OPAQUE and size == 2:  # which is how h5py stores bfloat16, and nothing else that Keras has
        return Datatype("number", size, "bfloat16")
    if kind == _VARIABLE and bits & 15 == 1 and size == 16:
        return Datatype("variable text", size)
    raise cursor.refused(f"its datatype is of class {kind} and {size} bytes")


def _whole_number(cursor: Cursor, bits: int, size: int) -> Datatype:
    offset, precision = cursor.numbers("HH")
    if size not in (1, 2, 4, 8) or offset or precision != 8 * size:
        raise cursor.refused(f"its whole numbers have {precision} bits in {size} bytes")
    return Datatype("number", size, f"{'>' if bits & 1 else '<'}{'i' if bits & 8 else 'u'}{size}")


def _float(cursor: Cursor, bits: int, size: int) -> Datatype:
    offset, precision, at_exponent, exponent, at_mantissa, mantissa, bias = cursor.numbers("HHBBBBI")
    name = _FLOATS.get((size, exponent, mantissa, bias))
    sound = offset == at_mantissa == 0 and precision == 8 * size and at_exponent == mantissa
    if name is None or not sound or bits & 0x40:
        raise cursor.refused(
            f"its numbers have {exponent} bits of exponent and {mantissa} of mantissa in {size} bytes"
        )
    order = ">" if bits & 1 else "<"
    if name == "bfloat16" and order == ">":
        raise cursor.refused("its bfloat16 numbers are big-endian")
    return Datatype("number", size, name if name == "bfloat16" else order + name)


class GlobalHeap:
    """The collections in which strings of variable length are kept; each is read once.

    Args:
        source: the file.

    Example:
        >>> import io
        >>> GlobalHeap(Source(io.BytesIO(b""), 0, "a.h5"))._collections
        {}
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._collections: dict[int, dict[int, bytes]] = {}

    def text(self, reference: Cursor) -> str:
        """Take a reference (length, address, number) and give the string it points to.

        Raises:
            ModelFileError: there is no such string, or it is not UTF-8.
        """
        length, address, number = reference.numbers("IQI")
        if length == 0:
            return ""
        if address not in self._collections:
            self._collections[address] = self._read(address, reference.place)
        content = self._collections[address].get(number)
        if content is None or len(content) < length:
            raise reference.damaged(f"its string {number} is not in the heap at byte {address}")
        # Counted like a read: many references to one long string must not become many long strings.
        self._source.charge(length, reference.place)
        return decode_text(content[:length], reference)

    def _read(self, address: int, place: str) -> dict[int, bytes]:
        head = self._source.cursor(address, 16, place)
        head.expect(b"GCOL")
        version, size = head.numbers("B3xQ")
        if version != 1 or size < 16:
            raise head.damaged(f"the heap at byte {address} has version {version} and {size} bytes")
        body = self._source.cursor(address + 16, size - 16, place)
        found: dict[int, bytes] = {}
        while body.left >= 16:
            number, _, length = body.numbers("HH4xQ")
            if number == 0:  # what is left is free
                break
            found[number] = body.take(length)
            body.take(min(-length % 8, body.left))
        return found


def read_attribute(cursor: Cursor, heap: GlobalHeap) -> tuple[str, Attribute]:
    """Read an attribute: its name and its value.

    Raises:
        ModelFileError: it is damaged, or of a type that is not read here.
    """
    version, flags, name_size, type_size, space_size = cursor.numbers("BBHHH")
    if version not in (1, 2, 3):
        raise cursor.damaged(f"the version of an attribute is {version}, not 1 to 3")
    if version > 1 and flags:
        raise cursor.refused("an attribute whose type is kept elsewhere (a committed datatype)")
    if version == 3:
        cursor.take(1)  # the character set of the name; ASCII is UTF-8 too
    padded = version == 1
    name_bytes = cursor.part(name_size, padded=padded)
    name = decode_text(name_bytes.take(name_bytes.left), cursor)
    kind = read_datatype(cursor.part(type_size, padded=padded))
    shape = read_dataspace(cursor.part(space_size, padded=padded))
    if shape is None:
        return name, []
    count = math.prod(shape)
    if count * kind.size > cursor.left:
        raise cursor.damaged(
            f"the attribute {name!r} of shape {shape} needs {count * kind.size} bytes, it has {cursor.left}"
        )
    return name, _values(cursor, heap, kind, shape)


def _values(cursor: Cursor, heap: GlobalHeap, kind: Datatype, shape: tuple[int, ...]) -> Attribute:
    count = math.prod(shape)
    if kind.kind == "number" and kind.dtype != "bfloat16":
        content = cursor.take(count * kind.size)
        return np.frombuffer(content, kind.dtype).reshape(shape)
    if kind.kind == "text":
        texts = [decode_text(cursor.take(kind.size), cursor) for _ in range(count)]
    elif kind.kind == "variable text":
        texts = [heap.text(cursor) for _ in range(count)]
    else:
        raise cursor.refused("an attribute that is neither text nor numbers")
    if len(shape) > 1:
        raise cursor.refused(f"an attribute of texts in the shape {shape}")
    return texts if shape else texts[0]


def decode_text(content: bytes, cursor: Cursor) -> str:
    """Decode UTF-8 up to the first zero byte, if there is one.

    Raises:
        ModelFileError: it is not UTF-8.
    """
    try:
        return content.partition(b"\0")[0].decode()
    except UnicodeDecodeError:
        raise cursor.damaged(f"a text in it is not UTF-8: {content[:20].hex(' ')}") from None
