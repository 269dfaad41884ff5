"""One run per folder: a lock that the operating system gives back when its holder dies."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from gatestack.errors import TrainingError
from gatestack.runtime.durable import storage_error

__all__ = ["hold_folder"]


@contextlib.contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold `folder/lock` while the block runs.

    The lock belongs to the open file, not to its content: a killed run leaves the file, with its process
    number, but not the lock, and another process that was given the same number by chance does not hold it.

    Args:
        folder: is made if it does not exist.

    Raises:
        TrainingError: another run holds the folder; names its process number.
        StorageError: the folder cannot be made or written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name, hold_folder(Path(name)):
        ...     (Path(name) / "lock").read_text() == str(os.getpid())
        True
    """
    path = folder / "lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise storage_error(error, path, "lock the folder") from error
    try:
        try:
            free = _try_lock(handle)
            holder = "" if free else os.read(handle, 32).decode(errors="replace")
            if free:
                os.ftruncate(handle, 0)
                os.write(handle, str(os.getpid()).encode())
        except OSError as error:
            raise storage_error(error, path, "lock the folder") from error
        if not free:
            raise TrainingError(
                f"another run is writing here: process {holder or 'unknown'}",
                where=str(folder),
                hint="wait until it ends, stop it, or give this run another folder",
            )
        yield
    finally:
        os.close(handle)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool:
        # Windows keeps others from reading locked bytes, so the locked one lies behind the process number.
        os.lseek(handle, 4096, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
