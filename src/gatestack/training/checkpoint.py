"""Checkpoints: everything a run needs to go on, in one file that is whole or absent. No pickle.

A checkpoint is a safetensors file. Its `__metadata__` holds `record` (JSON) and `sha256`, the hash of the
whole file with 64 zeros in the place of the hash, so that a change of any bit is noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from gatestack.errors import ModelFileError
from gatestack.runtime.durable import storage_error, write_atomically
from gatestack.runtime.strict_json import read_json

__all__ = ["CheckpointFolder", "CheckpointWarning", "decode_checkpoint", "encode_checkpoint"]

_FORMAT = "gatestack-checkpoint"
_FORMAT_VERSION = 1
_KEPT = 2
_NAME = re.compile(r"checkpoint-(\d{6,18})\.safetensors")
_UNHASHED = b'"sha256":"' + b"0" * 64 + b'"'
_HASHED = re.compile(rb'"sha256":"([0-9a-f]{64})"')


class CheckpointWarning(UserWarning):
    """A checkpoint was damaged, and an older one is used.

    Example:
        >>> issubclass(CheckpointWarning, UserWarning)
        True
    """


def encode_checkpoint(record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytearray:
    """Put a record and tensors into the bytes of a checkpoint.

    Args:
        record: what JSON can hold.
        tensors: name to tensor, on any device.

    Returns:
        The whole file.

    Example:
        >>> import torch
        >>> content = encode_checkpoint({"step": 3}, {"w": torch.ones(2)})
        >>> decode_checkpoint(content)
        ({'step': 3}, {'w': tensor([1., 1.])})
    """
    whole = {"format": _FORMAT, "format_version": _FORMAT_VERSION, **record}
    metadata = {"record": json.dumps(whole, allow_nan=False), "sha256": "0" * 64}
    # clone: tied weights share their memory, which the file format does not know
    owned = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    content = bytearray(save(owned, metadata))
    place = content.index(_UNHASHED) + len(b'"sha256":"')
    content[place : place + 64] = hashlib.sha256(content).hexdigest().encode()
    return content


def decode_checkpoint(content: bytearray) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `encode_checkpoint` wrote.

    Args:
        content: the whole file; unchanged afterwards.

    Returns:
        The record and the tensors, on the CPU.

    Raises:
        ValueError: what is wrong, in a few words.

    Example:
        >>> decode_checkpoint(bytearray(b"half a file"))
        Traceback (most recent call last):
        ValueError: it is cut
    """
    length = int.from_bytes(content[:8], "little")
    if length > len(content) - 8:
        raise ValueError("it is cut")
    found = _HASHED.search(content, 8, 8 + length)
    if not found:
        raise ValueError("it holds no hash")
    claimed, unhashed = found.group(1), bytearray(content)
    unhashed[found.start() : found.end()] = _UNHASHED
    if hashlib.sha256(unhashed).hexdigest().encode() != claimed:
        raise ValueError("its content does not match its hash")
    try:
        record = read_json(read_json(bytes(content[8 : 8 + length]))["__metadata__"]["record"].encode())
        if (record.pop("format"), record.pop("format_version")) != (_FORMAT, _FORMAT_VERSION):
            raise ValueError("it is of another version")
        return record, load(bytes(content))
    except (AttributeError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"it is not a checkpoint: {error}") from None


class CheckpointFolder:
    """The checkpoints of one run. The caller holds the lock of the folder.

    Args:
        folder: an existing folder.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as name:
        ...     checkpoints = CheckpointFolder(Path(name))
        ...     for step in (10, 20, 30):
        ...         checkpoints.save(step, {"step": step}, {"w": torch.ones(1)})
        ...     print([path.name for path in checkpoints.paths()])
        ...     checkpoints.load_newest()[0]
        ['checkpoint-000030.safetensors', 'checkpoint-000020.safetensors']
        {'step': 30}
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def paths(self) -> list[Path]:
        """Return the checkpoints, newest first."""
        named = [(match, path) for path in self._folder.iterdir() if (match := _NAME.fullmatch(path.name))]
        return [path for _, path in sorted(named, key=lambda pair: int(pair[0].group(1)), reverse=True)]

    def save(self, step: int, record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Write the checkpoint of one step and remove all but the two newest.

        Raises:
            StorageError: disk full, no permission. The older checkpoints are whole.
        """
        write_atomically(
            self._folder / f"checkpoint-{step:06d}.safetensors", encode_checkpoint(record, tensors)
        )
        for path in self.paths()[_KEPT:]:
            with contextlib.suppress(
                OSError
            ):  # one checkpoint too many harms nobody; the next save tries again
                path.unlink()

    def load_newest(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Read the newest checkpoint that is whole; None if there never was one.

        A damaged one is renamed to `….damaged`, with a `CheckpointWarning`.

        Raises:
            ModelFileError: all checkpoints are damaged.
            StorageError: the system would not let them be read.
        """
        paths = self.paths()
        for path in paths:
            try:
                content = bytearray(path.read_bytes())
            except OSError as error:
                raise storage_error(error, path, "read the checkpoint") from error
            try:
                return decode_checkpoint(content)
            except ValueError as error:
                self._put_aside(path, str(error))
        if paths:
            raise ModelFileError(
                "no checkpoint is whole",
                where=str(self._folder),
                hint="start again in a new folder, or copy a checkpoint back from a backup",
            )
        return None

    def clean(self) -> None:
        """Remove what a killed run left of a file it was writing."""
        for path in self._folder.glob(".checkpoint-*.tmp"):
            with contextlib.suppress(OSError):
                path.unlink()

    def _put_aside(self, path: Path, why: str) -> None:
        aside = path.with_suffix(".damaged")
        try:
            path.replace(aside)
        except OSError as error:
            raise storage_error(error, path, "put the damaged checkpoint aside") from error
        warnings.warn(
            f"{path}: damaged ({why}); it is now {aside.name}, and the checkpoint before it is used",
            CheckpointWarning,
            stacklevel=2,
        )
