"""Reading a file whole, after its size was checked."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from gatestack.errors import ModelFileError
from gatestack.runtime.durable import storage_error

__all__ = ["read_bounded"]


def read_bounded(path: Path, limit: int, hint: str) -> bytearray:
    """Read a regular file whole, its size checked first.

    Raises:
        ModelFileError: it is missing, no regular file, or larger than `limit` bytes.
        StorageError: the system would not let it be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
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
                f"{status.st_size} bytes", where=str(path), expected=f"at most {limit} bytes"
            )
        content = bytearray(status.st_size)
        with os.fdopen(handle, "rb", closefd=False) as stream:
            if stream.readinto(content) != len(content):
                raise ModelFileError("the file became shorter while it was read", where=str(path))
    except OSError as error:
        raise storage_error(error, path, "read") from error
    finally:
        os.close(handle)
    return content
