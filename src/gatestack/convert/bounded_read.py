"""Reading a file whose size was checked."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from gatestack.errors import ModelFileError
from gatestack.runtime.durable import storage_error

__all__ = ["open_bounded", "read_bounded"]

# A pipe must not make the reader wait for somebody who writes.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_bounded(path: Path, limit: int, hint: str, *, larger: str | None = None) -> BufferedReader:
    """Open a regular file that is not larger than `limit` bytes.

    Args:
        path: of the file.
        limit: in bytes.
        hint: what to do where there is no such file.
        larger: what to do where it is too large; None for nothing.

    Raises:
        ModelFileError: it is missing, no regular file, or too large.
        StorageError: the system would not let it be read.

    Example:
        >>> Path("a").write_bytes(b"abc")
        3
        >>> with open_bounded(Path("a"), 3, "give a file") as stream:
        ...     stream.read()
        b'abc'
    """
    try:
        handle = os.open(path, _FLAGS)
    except FileNotFoundError:
        raise ModelFileError("there is no such file", where=str(path), hint=hint) from None
    except OSError as error:
        raise storage_error(error, path, "read") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError("not a regular file", where=str(path), hint=hint)
        if status.st_size > limit:
            raise ModelFileError(
                f"{status.st_size} bytes",
                where=str(path),
                expected=f"at most {limit} bytes",
                hint=larger,
            )
    except BaseException:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def read_bounded(path: Path, limit: int, hint: str) -> bytearray:
    """Read a file whole; see `open_bounded`.

    Raises:
        ModelFileError: it is missing, no regular file, or larger than `limit` bytes.
        StorageError: the system would not let it be read.
    """
    with open_bounded(path, limit, hint) as stream:
        try:
            content = bytearray(os.fstat(stream.fileno()).st_size)
            count = stream.readinto(content)
        except OSError as error:
            raise storage_error(error, path, "read") from error
    if count != len(content):
        raise ModelFileError("the file became shorter while it was read", where=str(path))
    return content
