"""The bytes of an HDF5 file, read so that no file can make the reader run in circles or out of its bounds."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

from gatestack.errors import ModelFileError

__all__ = ["UNDEFINED", "Cursor", "Source"]

UNDEFINED = 2**64 - 1
"""The address that says that there is nothing."""

# A sound file is read about once: every structure is kept when it was read. One that is asked for more sends
# the reader to the same place again and again.
_READS_OF_A_BYTE = 4
_SMALL_FILE_BYTES = 2**16
_LEAST_CHARGE = 8


class Source:
    """A file, or the part of an archive that is one.

    Args:
        stream: seekable, opened for reading bytes.
        size: of the stream in bytes.
        where: what it is, for the message of an error.
        most: how many bytes all arrays together may take.

    Example:
        >>> import io
        >>> Source(io.BytesIO(b"abcdef"), 6, "a.h5").read(2, 3, "the superblock")
        b'cde'
    """

    def __init__(self, stream: BinaryIO, size: int, where: str, most: int = 2**30) -> None:
        self._stream = stream
        self.size = size
        self.where = where
        self._unclaimed = most
        self._left = _READS_OF_A_BYTE * size + _SMALL_FILE_BYTES

    def read(self, address: int, count: int, place: str) -> bytes:
        """Read `count` bytes at `address`.

        Args:
            address: from the beginning of the file.
            count: how many.
            place: what is read, for the message of an error.

        Raises:
            ModelFileError: they are not all in the file, or the file has been read too often.
        """
        if count < 0 or address < 0 or address + count > self.size:
            raise self.damaged(
                f"it needs {count} bytes at byte {address}, the file has {self.size}",
                place,
                hint="the file is cut or damaged: take it from its source or a copy again",
            )
        self.charge(count, place)
        self._stream.seek(address)
        found = self._stream.read(count)
        if len(found) != count:
            raise self.damaged("the file became shorter while it was read", place)
        return found

    def charge(self, count: int, place: str) -> None:
        """Count `count` bytes as read.

        Raises:
            ModelFileError: the file has been read too often.
        """
        self._left -= max(count, _LEAST_CHARGE)
        if self._left < 0:
            raise self.damaged("the file sends the reader to the same bytes again and again", place)

    def claim(self, count: int, place: str) -> None:
        """Count `count` bytes of memory for an array.

        Raises:
            ModelFileError: all arrays together would take more than the limit.
        """
        if count > self._unclaimed:
            raise self.damaged(
                f"it would take {count} bytes, {self._unclaimed} are left of the limit",
                place,
                hint="raise max_bytes where you trust the file",
            )
        self._unclaimed -= count

    def cursor(self, address: int, count: int, place: str) -> Cursor:
        """Read `count` bytes and stand at the first of them."""
        return Cursor(self, self.read(address, count, place), place)

    def damaged(self, what: str, place: str, *, hint: str | None = None) -> ModelFileError:
        """Make the error that names this file and a place in it."""
        return ModelFileError(
            what,
            where=f"{self.where}, {place}",
            hint=hint or "the file is damaged: take it from its source or a copy again",
        )

    def refused(self, what: str, place: str) -> ModelFileError:
        """Make the error for what is sound HDF5, and not read here."""
        return ModelFileError(
            what,
            where=f"{self.where}, {place}",
            expected="what Keras writes: plain groups, datasets and attributes",
            hint="load the model with Keras where you trust it, and save it again",
        )


class Cursor:
    """Bytes that are taken from the front, each number little-endian.

    Args:
        source: the file they are from, for errors.
        content: the bytes.
        place: what they are.

    Example:
        >>> import io
        >>> cursor = Source(io.BytesIO(bytes([1, 0, 7])), 3, "a.h5").cursor(0, 3, "the superblock")
        >>> cursor.number(2), cursor.left
        (1, 1)
    """

    def __init__(self, source: Source, content: bytes, place: str) -> None:
        self.source = source
        self.place = place
        self._content = content
        self._at = 0

    @property
    def left(self) -> int:
        """How many bytes have not been taken."""
        return len(self._content) - self._at

    def take(self, count: int) -> bytes:
        """Take `count` bytes.

        Raises:
            ModelFileError: fewer are left.
        """
        if not 0 <= count <= self.left:
            raise self.damaged(f"it ends after {len(self._content)} bytes, in the middle of a value")
        found = self._content[self._at : self._at + count]
        self._at += count
        return found

    def number(self, count: int) -> int:
        """Take an unsigned number of `count` bytes."""
        return int.from_bytes(self.take(count), "little")

    def numbers(self, form: str) -> tuple[Any, ...]:
        """Take what a form of `struct` says, little-endian and without gaps."""
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def part(self, count: int, *, padded: bool = False) -> Cursor:
        """Take `count` bytes, and with `padded` what fills them up to a multiple of eight, as a cursor."""
        found = Cursor(self.source, self.take(count), self.place)
        if padded:
            self.take(min(-count % 8, self.left))
        return found

    def expect(self, signature: bytes) -> None:
        """Take the signature of a structure, or say that it is not there."""
        found = self.take(len(signature))
        if found != signature:
            raise self.damaged(f"{signature.decode()} is not where it should be, but {found.hex(' ')}")

    def damaged(self, what: str) -> ModelFileError:
        """Make the error that names the file and this place."""
        return self.source.damaged(what, self.place)

    def refused(self, what: str) -> ModelFileError:
        """Make the error for what is sound HDF5, and not read here."""
        return self.source.refused(what, self.place)
