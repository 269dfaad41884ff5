"""A file and its proof, written together or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from gatestack.convert.proof import proof_path
from gatestack.errors import ArgumentError
from gatestack.runtime.durable import flush_folder, storage_error, temporary_name, write_flushed

__all__ = ["check_place", "write_pair"]


def check_place(path: str | os.PathLike[str], endings: tuple[str, ...], overwrite: bool) -> Path:
    """Say where a file and its proof may be written.

    Raises:
        ArgumentError: another ending, or something stands there that may not be replaced.

    Example:
        >>> check_place("no/such/model.onnx", (".onnx",), False).name
        'model.onnx'
    """
    target = Path(path)
    if target.suffix not in endings:
        raise ArgumentError(
            f"the ending is {target.suffix!r}", where=str(target), expected=" or ".join(map(repr, endings))
        )
    for file in (target, proof_path(target)):
        if os.path.lexists(file) and not (overwrite and file.is_file()):
            raise ArgumentError(
                "exists already" if file.is_file() else "exists and is no file",
                where=str(file),
                hint="choose another path, or pass overwrite=True to replace the file",
            )
    return target


def write_pair(target: Path, content: bytes, proof: bytes) -> None:
    """Write a file and its proof; both are whole on the disk before either gets its name.

    A kill between the two names leaves the new proof beside the old file or beside none, which `verify` says.

    Args:
        target: the file; folders above it are made.
        content: of the file.
        proof: of its proof.

    Raises:
        StorageError: the disk is full, or may not be written. What was there is as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_pair(Path(folder) / "a", b"model", b"proof")
        ...     sorted(file.name for file in Path(folder).iterdir())
        ['a', 'a.proof.safetensors']
    """
    beside = proof_path(target)
    fresh, fresh_proof = temporary_name(target), temporary_name(beside)
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_flushed(fresh, content)
            write_flushed(fresh_proof, proof)
            fresh_proof.replace(beside)
            fresh.replace(target)
            flush_folder(target.parent)
        finally:
            for left in (fresh, fresh_proof):
                with contextlib.suppress(OSError):
                    left.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, target, "write") from error
