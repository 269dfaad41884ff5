"""Zip archives from anywhere: named members are read into memory, nothing is ever extracted."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import BinaryIO

from gatestack.errors import ModelFileError, quote_value

__all__ = ["MOST_EXPANSION", "read_archive"]

MOST_EXPANSION = 100
"""How many times larger than its packed form a member may be."""

_MOST_MEMBERS = 64
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SMALL_MEMBER_BYTES = 2**20  # a text of one letter packs well beyond the ratio, and harms nobody
_LOCAL_HEADER_BYTES = 30
_END_BYTES, _LOCATOR_BYTES = 22, 20


def read_archive(
    stream: BinaryIO, members: dict[str, bool], *, where: str, max_bytes: int
) -> dict[str, bytes]:
    """Read members of a zip archive; refuse all of it when one of its entries is not what it should be.

    Args:
        stream: the archive, seekable.
        members: names of those to read, and whether each must be there. No others may be there.
        where: path of the archive, for errors.
        max_bytes: how large all members together may be when unpacked.

    Returns:
        Name to content.

    Raises:
        ModelFileError: the archive is damaged; a member is missing, unknown, there twice, encrypted, a link,
            named with `..` or from the root, overlaps another, or is larger than the limit or than
            `MOST_EXPANSION` times its packed form. Nothing was unpacked then.

    Example:
        >>> import io
        >>> stream = io.BytesIO()
        >>> with zipfile.ZipFile(stream, "w") as archive:
        ...     archive.writestr("config.json", "{}")
        >>> read_archive(stream, {"config.json": True}, where="a.keras", max_bytes=100)
        {'config.json': b'{}'}
    """
    _check_directory(stream, where)
    try:
        archive = zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, UnicodeDecodeError) as error:
        raise _damaged(f"not a readable zip archive: {error}", where) from None
    with archive:
        found = _checked(archive, members, where, max_bytes)
        size = stream.seek(0, os.SEEK_END)
        _refuse_overlaps(list(found.values()), where, size)
        for name, needed in members.items():
            if needed and name not in found:
                raise _damaged(f"it has no {name}", where)
        return {name: _content(archive, entry, where) for name, entry in found.items()}


def _check_directory(stream: BinaryIO, where: str) -> None:
    """Refuse an archive whose directory is so long that reading it alone would take the memory."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _END_BYTES - _LOCATOR_BYTES))
    locator, end = stream.read(_LOCATOR_BYTES), stream.read()
    if size < _END_BYTES + _LOCATOR_BYTES or end[:4] != b"PK\5\6" or end[-2:] != bytes(2):
        raise _damaged("not a zip archive, or its end is missing, or something follows it", where)
    if locator[:4] == b"PK\6\7":
        raise _damaged("a zip archive for more than 4 GiB or 65535 members", where)
    entries = int.from_bytes(end[10:12], "little")
    length = int.from_bytes(end[12:16], "little")
    if entries > _MOST_MEMBERS or length > _MOST_MEMBERS * 1024:
        raise _damaged(
            f"its directory has {entries} entries in {length} bytes, more than {_MOST_MEMBERS}", where
        )
    stream.seek(0)


def _checked(
    archive: zipfile.ZipFile, members: dict[str, bool], where: str, limit: int
) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for entry in archive.infolist():
        name = entry.orig_filename
        place = f"{where}, member {quote_value(name)}"
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in name:
            raise _damaged("its name leads out of the archive", place)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _damaged("a link", place)
        if entry.flag_bits & _ENCRYPTED:
            raise _damaged("it is encrypted", place)
        if name in found:
            raise _damaged("it is there twice", place)
        if name not in members:
            raise ModelFileError(
                "not a part of a Keras model that is read here",
                where=place,
                expected=", ".join(members),
                hint="vocabularies and other assets are not read: save the model without them",
            )
        if entry.compress_type not in _METHODS:
            raise _damaged(f"it is packed by method {entry.compress_type}, neither stored nor deflate", place)
        _check_size(entry, place)
        total += entry.file_size
        if total > limit:
            raise ModelFileError(
                f"unpacked, the archive has {total} bytes or more",
                where=place,
                expected=f"at most {limit}",
                hint="raise max_bytes where you trust the file",
            )
        found[name] = entry
    return found


def _check_size(entry: zipfile.ZipInfo, place: str) -> None:
    if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
        raise _damaged(
            f"it is not packed, and {entry.compress_size} bytes are to be {entry.file_size}", place
        )
    if entry.file_size > max(MOST_EXPANSION * entry.compress_size, _SMALL_MEMBER_BYTES):
        raise _damaged(
            f"{entry.compress_size} bytes unpack to {entry.file_size}, more than {MOST_EXPANSION}-fold",
            place,
        )


def _refuse_overlaps(entries: list[zipfile.ZipInfo], where: str, size: int) -> None:
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        place = f"{where}, member {quote_value(entry.filename)}"
        if entry.header_offset < end:
            raise _damaged("it overlaps another member", place)
        end = entry.header_offset + _LOCAL_HEADER_BYTES + entry.compress_size
        if end > size:
            raise _damaged(f"it ends at byte {end} of {size}: the archive is cut", place)


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, where: str) -> bytes:
    place = f"{where}, member {quote_value(entry.filename)}"
    try:
        with archive.open(entry) as member:
            content = member.read(entry.file_size + 1)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        OSError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise _damaged(f"it cannot be unpacked: {error}", place) from None
    if len(content) != entry.file_size:
        raise _damaged(f"it should have {entry.file_size} bytes, it has {len(content)}", place)
    return content


def _damaged(what: str, where: str) -> ModelFileError:
    return ModelFileError(
        what, where=where, hint="the file is damaged or made to harm: take it from its source again"
    )
