"""The model folder: `model.json`, `weights.safetensors`, `proof.safetensors`. Data only, never code.

The format is specified on one page, `docs/model-format.md`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gatestack.errors import ArgumentError, ModelFileError, StorageError, quote_value
from gatestack.runtime.durable import flush_folder, storage_error, temporary_name, write_flushed
from gatestack.runtime.strict_json import MAX_JSON_DEPTH, read_json
from gatestack.runtime.tensor_file import decode_tensors, encode_tensors

__all__ = [
    "FORMAT_VERSION",
    "MAX_MODEL_JSON_BYTES",
    "MAX_TENSOR_FILE_BYTES",
    "ModelFolder",
    "read_model_folder",
    "write_model_folder",
]

FORMAT_VERSION = 1
"""The version of the format that this release writes and reads."""

MAX_MODEL_JSON_BYTES = 16 * 2**20
"""The largest `model.json` that is read: 16 MiB."""

MAX_TENSOR_FILE_BYTES = 4 * 2**30
"""The largest tensor file that is read unless another limit is given: 4 GiB."""

_MODEL, _WEIGHTS, _PROOF = "model.json", "weights.safetensors", "proof.safetensors"
_FORMAT = "gatestack-model"
_RESERVED = ("format", "format_version", "files", "texts")
_NO_TEXTS: Mapping[str, str] = MappingProxyType({})
# Not following a link and not waiting on a pipe; Windows has neither flag, and needs O_BINARY.
_READ_FLAGS = os.O_RDONLY
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
    _READ_FLAGS |= getattr(os, _flag, 0)
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9]+)+$"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class _Files(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    weights: _File = Field(alias="weights.safetensors")
    proof: _File = Field(alias="proof.safetensors")


class _Envelope(BaseModel):
    """What every model.json holds; the keys of its kind come on top and are checked by the estimator."""

    model_config = ConfigDict(extra="allow", strict=True)

    format: Literal["gatestack-model"]
    format_version: int
    kind: Annotated[str, Field(min_length=1)]
    files: _Files
    texts: list[Annotated[str, Field(pattern=_NAME)]]


@dataclass(frozen=True)
class ModelFolder:
    """What a model folder holds, checked.

    Args:
        path: the folder.
        model: the content of `model.json` as it was given to `write_model_folder`.
        weights: name to array of any shape, writable.
        proof: test vectors: inputs and the outputs that the model gave for them.

    Example:
        >>> ModelFolder(Path("m"), {"kind": "forecaster"}, {}, {}).model["kind"]
        'forecaster'
    """

    path: Path
    model: dict[str, Any]
    weights: dict[str, npt.NDArray[Any]]
    proof: dict[str, npt.NDArray[Any]]


def write_model_folder(
    path: str | os.PathLike[str],
    *,
    model: Mapping[str, Any],
    weights: Mapping[str, npt.NDArray[Any]],
    proof: Mapping[str, npt.NDArray[Any]],
    texts: Mapping[str, str] = _NO_TEXTS,
    overwrite: bool = False,
) -> None:
    """Write a model folder that is whole or absent, whatever happens meanwhile.

    Everything is written into a hidden folder beside `path`, flushed to the disk, and renamed.
    Equal arguments give equal bytes.

    Args:
        path: the folder to make; folders above it are made as well.
        model: what JSON can hold, at most 64 levels deep. Must have `kind`, the name of the estimator;
            must not have `format`, `format_version`, `files` or `texts`, which are added here.
        weights: name to array of any shape.
        proof: test vectors, name to array.
        texts: pages for people, such as `{"report.html": …}`. They are written, never read back or checked.
        overwrite: replace `path` if it is a Gatestack model folder without other files in it. A kill in
            between leaves the old or the new model: `read_model_folder` finds the old one where it waits.

    Raises:
        ArgumentError: `path` exists, or something in it would be lost; an argument cannot be stored.
        StorageError: disk full, no permission. What was at `path` is still there.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_model_folder(
        ...         folder + "/m", model={"kind": "forecaster"}, weights={"w": np.eye(2)}, proof={}
        ...     )
        ...     read_model_folder(folder + "/m").weights["w"].tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    target = Path(os.path.abspath(path))  # noqa: PTH100  (resolve() would follow a link that is to be refused)
    contents = _contents(model, weights, proof, texts)
    try:
        _settle(target)
        _check_target(target, overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_and_swap(target, contents)
    except StorageError:
        raise
    except OSError as error:
        raise storage_error(error, target, "save the model") from error


def read_model_folder(
    path: str | os.PathLike[str], *, max_tensor_file_bytes: int = MAX_TENSOR_FILE_BYTES
) -> ModelFolder:
    """Read a model folder, checking sizes before reading and hashes before using. No code in it can run.

    Args:
        path: the folder.
        max_tensor_file_bytes: the largest weights or proof file to read, in bytes.

    Returns:
        The model, its weights and its proof.

    Raises:
        ModelFileError: not a model folder, an unknown version, or a file that is missing, damaged, too large
            or a symbolic link; names the file.
        StorageError: the system would not let it be read.

    Example:
        >>> read_model_folder("no/such/folder")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        gatestack.errors.ModelFileError: no/such/folder: there is no such folder...
    """
    shown = Path(path)
    folder = shown
    moved = _moved_aside(Path(os.path.abspath(path)))  # noqa: PTH100
    if not shown.exists() and moved.is_dir():  # a save over this model was killed between its two renames
        folder = moved
    try:
        if not folder.is_dir():
            what = "this is a file, not a folder" if folder.exists() else "there is no such folder"
            raise ModelFileError(what, where=os.fspath(path), hint="give the folder that save() wrote")
        _refuse_links(folder)
        envelope, model = _read_model(folder)
        weights = _read_tensors(folder / _WEIGHTS, envelope.files.weights, max_tensor_file_bytes)
        proof = _read_tensors(folder / _PROOF, envelope.files.proof, max_tensor_file_bytes)
    except OSError as error:
        raise storage_error(error, folder, "read the model") from error
    return ModelFolder(shown, model, weights, proof)


def _contents(
    model: Mapping[str, Any],
    weights: Mapping[str, npt.NDArray[Any]],
    proof: Mapping[str, npt.NDArray[Any]],
    texts: Mapping[str, str],
) -> dict[str, bytes]:
    """Build every file in memory, so that a bad argument is found before anything is written."""
    tensors = {
        _WEIGHTS: encode_tensors(weights, where="weights"),
        _PROOF: encode_tensors(proof, where="proof"),
    }
    for key in _RESERVED:
        if key in model:
            raise ArgumentError(f"the key {key!r} is written by the format itself", where="model")
    whole = {
        "format": _FORMAT,
        "format_version": FORMAT_VERSION,
        **model,
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in tensors.items()
        },
        "texts": sorted(texts),
    }
    try:
        text = json.dumps(whole, indent=1, allow_nan=False).encode() + b"\n"
        _Envelope.model_validate(read_json(text))
    except ValidationError as error:
        raise ArgumentError(_first_problem(error), where="model") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(
            f"cannot be stored as JSON: {error}",
            where="model",
            expected=f"finite numbers, texts, lists and objects, at most {MAX_JSON_DEPTH} levels deep",
        ) from None
    if len(text) > MAX_MODEL_JSON_BYTES:
        raise ArgumentError(
            f"model.json would have {len(text)} bytes",
            where="model",
            expected=f"at most {MAX_MODEL_JSON_BYTES}",
        )
    taken = {_MODEL, *tensors} & set(texts)
    if taken:
        raise ArgumentError(f"the name {min(taken)!r} is taken", where="texts")
    return {**tensors, **{name: page.encode() for name, page in texts.items()}, _MODEL: text}


def _moved_aside(target: Path) -> Path:
    """Where a model waits while a new one takes its place; a fixed name, so that it is found after a kill."""
    return target.with_name(f".{target.name}.old")


def _settle(target: Path) -> None:
    """Finish or undo what a killed save has left behind."""
    aside = _moved_aside(target)
    if not aside.is_dir():
        return
    if target.exists():
        shutil.rmtree(aside)
    else:
        aside.rename(target)


def _check_target(target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise ArgumentError(
            "exists already",
            where=str(target),
            hint="choose another path, or pass overwrite=True to replace a model",
        )
    refused = "it is not a Gatestack model folder, so it is not overwritten"
    if target.is_symlink() or not target.is_dir():
        raise ArgumentError(refused, where=str(target), hint="choose another path")
    try:
        envelope, _ = _read_model(target)
    except ModelFileError as error:
        raise ArgumentError(refused, where=str(target), hint=f"choose another path ({error.what})") from error
    ours = {_MODEL, _WEIGHTS, _PROOF, "report.html", *envelope.texts}
    strange = sorted(
        entry.name for entry in target.iterdir() if entry.name not in ours or not entry.is_file()
    )
    if strange:
        raise ArgumentError(
            f"it holds {', '.join(map(quote_value, strange[:3]))}, which would be lost",
            where=str(target),
            hint="move what you want to keep, or choose another path",
        )


def _write_and_swap(target: Path, contents: Mapping[str, bytes]) -> None:
    fresh, aside = temporary_name(target), _moved_aside(target)
    try:
        fresh.mkdir()
        for name, content in contents.items():
            write_flushed(fresh / name, content)
        flush_folder(fresh)
        if target.exists():
            target.rename(aside)
        try:
            fresh.rename(target)
        except OSError:
            if aside.exists():
                aside.rename(target)
            raise
        flush_folder(target.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    # The new model stands. What cannot be removed of the old one now, the next save removes.
    with contextlib.suppress(OSError):
        if aside.exists():
            shutil.rmtree(aside)


def _refuse_links(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_symlink():
            raise ModelFileError(
                "a symbolic link, which could point anywhere",
                where=str(entry),
                hint="copy the file that it points to into the folder",
            )


def _read_model(folder: Path) -> tuple[_Envelope, dict[str, Any]]:
    file = folder / _MODEL
    text = _read_bounded(file, MAX_MODEL_JSON_BYTES)
    hint = "the file is damaged: take it from its source or a copy again"
    try:
        found = read_json(bytes(text))
    except ValueError as error:
        raise ModelFileError(str(error), where=str(file), hint=hint) from None
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise ModelFileError(
            f'its "format" is not "{_FORMAT}"', where=str(file), hint="this is not a Gatestack model"
        )
    version = found.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise ModelFileError(
            f"format_version is {quote_value(version)}",
            where=str(file),
            expected=str(FORMAT_VERSION),
            hint="a newer Gatestack wrote this model: upgrade with `pip install --upgrade gatestack`",
        )
    try:
        envelope = _Envelope.model_validate(found)
    except ValidationError as error:
        raise ModelFileError(_first_problem(error), where=str(file), hint=hint) from None
    return envelope, {key: value for key, value in found.items() if key not in _RESERVED}


def _read_tensors(file: Path, listed: _File, limit: int) -> dict[str, npt.NDArray[Any]]:
    content = _read_bounded(file, limit, listed.bytes)
    if hashlib.sha256(content).hexdigest() != listed.sha256:
        raise ModelFileError(
            "its SHA-256 is not the one in model.json",
            where=str(file),
            hint="the file is damaged or from another model: take the whole folder from its source again",
        )
    return decode_tensors(content, where=str(file))


def _read_bounded(file: Path, limit: int, size: int | None = None) -> bytearray:
    """Read a regular file whole, after its size was checked against the limit and against what is listed."""
    try:
        handle = os.open(file, _READ_FLAGS)
    except FileNotFoundError:
        raise ModelFileError(
            "the file is missing", where=str(file), hint="copy the whole folder again"
        ) from None
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError("not a regular file", where=str(file), hint="copy the whole folder again")
        if status.st_size > limit:
            raise ModelFileError(
                f"{status.st_size} bytes",
                where=str(file),
                expected=f"at most {limit} bytes",
                hint="raise the limit",
            )
        if size is not None and status.st_size != size:
            raise ModelFileError(
                f"{status.st_size} bytes, but model.json lists {size}",
                where=str(file),
                hint="the file is cut or from another model: take the whole folder from its source again",
            )
        content = bytearray(status.st_size)
        filled = stream.readinto(content)
    if filled != len(content):
        raise ModelFileError(
            "the file became shorter while it was read", where=str(file), hint="read it again"
        )
    return content


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
