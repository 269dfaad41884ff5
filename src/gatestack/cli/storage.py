"""Writing the files that a command was asked for."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_output"]


def write_output(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent, with the folders above it.

    Raises:
        StorageError: disk full, no permission.
    """
    from gatestack.runtime.durable import storage_error, write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path, "write") from error
    write_atomically(path, content)
