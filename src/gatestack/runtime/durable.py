"""Files that are whole or absent, whatever happens while they are written.

The order is always the same: write beside the target, flush to the disk, rename over the target, flush the
folder. A kill, a power cut or a full disk at any point leaves the old file or the new one, never a part.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
from pathlib import Path

from gatestack.errors import StorageError

__all__ = ["flush_folder", "storage_error", "temporary_name", "write_atomically", "write_flushed"]

# What a full disk, a quota and a limit on the file size report. For the user they are one thing.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WRITE_BYTES = 16 * 2**20


def storage_error(error: OSError, path: str | os.PathLike[str], doing: str) -> StorageError:
    """Turn an error of the operating system into one that says where, what and what to do.

    Args:
        error: what the system said.
        path: the file or folder that was asked for.
        doing: what was tried, such as "write".

    Returns:
        The error to raise.

    Example:
        >>> full = OSError(errno.ENOSPC, "No space left on device")
        >>> print(storage_error(full, "model", "write"))
        model: cannot write: no space left
        <BLANKLINE>
        hint: free some space or choose another disk, then run again
    """
    if error.errno in _NO_SPACE:
        what, hint = "no space left", "free some space or choose another disk, then run again"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        what, hint = "no permission", "choose a folder that you may write to, or change its permissions"
    elif error.errno in (errno.ENOTDIR, errno.EEXIST):
        what, hint = "a file is in the way", "choose another path"
    else:
        what, hint = error.strerror or type(error).__name__, "check the disk and the path, then run again"
    found = StorageError(f"cannot {doing}: {what}", where=os.fspath(path), hint=hint)
    found.errno = error.errno
    return found


def temporary_name(path: Path, ending: str = "tmp") -> Path:
    """Return a free hidden name beside `path`, on the same disk so that a rename is possible.

    Args:
        path: the file or folder that will be written.
        ending: the suffix that tells these names apart, without the dot.

    Example:
        >>> temporary_name(Path("runs/model")).name.startswith(".model.")
        True
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.{ending}")


def write_flushed(path: Path, content: bytes | bytearray) -> None:
    """Write a new file and return when the disk has it.

    Args:
        path: a file that does not exist yet.
        content: all of it.

    Raises:
        OSError: what the system said; the file may be incomplete.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_flushed(Path(folder) / "a", b"abc")
        ...     (Path(folder) / "a").read_bytes()
        b'abc'
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(handle, left[:_WRITE_BYTES]) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_folder(folder: Path) -> None:
    """Return when the disk has the names in `folder`, so that a rename survives a power cut.

    Args:
        folder: an existing folder.

    Raises:
        OSError: what the system said.

    Example:
        >>> flush_folder(Path("."))
    """
    if sys.platform == "win32":  # Windows has no handle for a folder that could be flushed
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if (
            error.errno != errno.EINVAL
        ):  # some network disks cannot flush a folder; they keep its names themselves
            raise
    finally:
        os.close(handle)


def write_atomically(path: Path, content: bytes | bytearray) -> None:
    """Write or replace one file so that it is always whole.

    Args:
        path: the file; its folder exists.
        content: all of it.

    Raises:
        StorageError: the disk is full, or may not be written. The old file is as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "a"
        ...     write_atomically(file, b"old")
        ...     write_atomically(file, b"new")
        ...     file.read_bytes()
        b'new'
    """
    temporary = temporary_name(path)
    try:
        try:
            write_flushed(temporary, content)
            os.replace(temporary, path)  # noqa: PTH105
            flush_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, path, "write") from error
