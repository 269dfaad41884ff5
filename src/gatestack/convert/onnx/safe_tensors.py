"""The tensors of an ONNX file: their sizes agree with their data, external data lies inside the folder."""

from __future__ import annotations

import errno
import math
import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from gatestack.errors import ModelFileError, quote_value
from gatestack.runtime.durable import storage_error

if TYPE_CHECKING:
    from onnx import TensorProto

__all__ = ["check_tensor", "load_external", "width_of"]

# data_type of TensorProto -> (name, bytes of one number, the field that holds it when it is not raw)
_KINDS = {
    1: ("float32", 4, "float_data"),
    2: ("uint8", 1, "int32_data"),
    3: ("int8", 1, "int32_data"),
    4: ("uint16", 2, "int32_data"),
    5: ("int16", 2, "int32_data"),
    6: ("int32", 4, "int32_data"),
    7: ("int64", 8, "int64_data"),
    8: ("string", 0, "string_data"),
    9: ("bool", 1, "int32_data"),
    10: ("float16", 2, "int32_data"),
    11: ("float64", 8, "double_data"),
    12: ("uint32", 4, "uint64_data"),
    13: ("uint64", 8, "uint64_data"),
    16: ("bfloat16", 2, "int32_data"),
}
_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def width_of(kind: int) -> int:
    """Say how many bytes a number of a `data_type` has; 8, the most, where it is not known.

    Example:
        >>> width_of(1), width_of(8)  # float32; a text
        (4, 8)
    """
    return _KINDS.get(kind, ("", 0, ""))[1] or 8


def check_tensor(tensor: TensorProto, *, where: str) -> int:
    """Check that a tensor's data are as many as its dims say.

    Args:
        tensor: of a model; external data must have been loaded.
        where: file, node and tensor, for the message of an error.

    Returns:
        Its size in bytes, 0 for texts.

    Raises:
        ModelFileError: an unknown kind, a negative size, too few or too many data; with the numbers.

    Example:
        >>> import onnx, numpy as np
        >>> check_tensor(onnx.numpy_helper.from_array(np.zeros((2, 3), np.float32)), where="w")
        24
    """
    if tensor.data_type not in _KINDS:
        raise _wrong(
            where, f"data_type {tensor.data_type}", "a number or a text of ONNX's first sixteen kinds"
        )
    name, width, field = _KINDS[tensor.data_type]
    dims = tuple(tensor.dims)
    if any(size < 0 for size in dims) or len(dims) > 32:
        raise _wrong(where, f"dims {quote_value(dims)}", "at most 32 sizes, none negative")
    count = int(math.prod(dims))
    if tensor.HasField("segment"):
        raise _wrong(where, "a segment of a tensor", "the whole tensor")
    filled = [one for one in _FIELDS if len(getattr(tensor, one))]
    if tensor.HasField("raw_data") and (filled or field == "string_data"):
        raise _wrong(where, f"raw_data beside {filled or 'texts'}", "one of them")
    if tensor.HasField("raw_data"):
        found, needed, unit = len(tensor.raw_data), count * width, "bytes"
    else:
        if filled not in ([], [field]):
            raise _wrong(where, f"{name} in {', '.join(filled)}", field)
        found, needed, unit = len(getattr(tensor, field)), count, "numbers"
    if found != needed:
        raise _wrong(where, f"{found} {unit}", f"{needed} for {name} of dims {list(dims)}")
    return count * width


def load_external(tensor: TensorProto, folder: Path, limit: int, *, where: str) -> int:
    """Read a tensor's data from a file of the same folder into the tensor.

    The file is opened component by component without following links, must be a regular file with one name
    (a second one could be anywhere), and must be long enough.

    Args:
        tensor: with `data_location` EXTERNAL.
        folder: that of the model.
        limit: how many bytes may be read.
        where: file, node and tensor, for the message of an error.

    Returns:
        How many bytes were read.

    Raises:
        ModelFileError: the location leaves the folder, is a link, is missing or too short, or its length is
            not that of the dims.
        StorageError: the system would not let it be read.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    parts = _inside(location, where)
    width = _KINDS.get(tensor.data_type, ("", 0, ""))[1]
    if not width or any(size < 0 for size in tensor.dims):
        raise _wrong(where, f"external data of data_type {tensor.data_type}", "numbers")
    needed = int(math.prod(tensor.dims)) * width
    offset = _count(entries.get("offset", "0"), "offset", where)
    length = _count(entries.get("length", str(needed)), "length", where)
    if length != needed:
        raise _wrong(where, f"external data of length {length}", f"{needed} for dims {list(tensor.dims)}")
    if needed > limit:
        raise _wrong(where, f"external data of {needed} bytes", f"at most {limit}")
    try:
        content = _read_part(folder, parts, offset, needed, where)
    except OSError as error:
        raise storage_error(error, folder / location, "read") from error
    tensor.raw_data = content
    tensor.ClearField("data_location")
    del tensor.external_data[:]
    return needed


def _inside(location: str, where: str) -> tuple[str, ...]:
    """Take a location apart, refusing one that leaves the folder on any system."""
    parts = PurePosixPath(location).parts
    foreign = PureWindowsPath(location)
    if (
        not parts
        or "\0" in location
        or "\\" in location
        or location.startswith("/")
        or foreign.drive
        or foreign.root
        or ".." in parts
    ):
        raise _wrong(where, f"external data at {quote_value(location)}", "a file inside the model's folder")
    return parts


def _read_part(folder: Path, parts: tuple[str, ...], offset: int, length: int, where: str) -> bytes:
    shown = repr("/".join(parts))
    handle = _opened(folder, parts, f"external data at {shown}", where)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise _wrong(where, f"external data at {shown}, no regular file", "a file")
        if status.st_nlink != 1:
            what = f"external data at {shown}, a hard link ({status.st_nlink} names)"
            raise _wrong(where, what, "a file of its own")
        if offset + length > status.st_size:
            what = f"external data from {offset} to {offset + length}"
            raise _wrong(where, what, f"at most {status.st_size}, the size of {shown}")
        with os.fdopen(handle, "rb", closefd=False) as stream:
            stream.seek(offset)
            content = stream.read(length)
    finally:
        os.close(handle)
    if len(content) != length:
        raise _wrong(where, "external data became shorter while they were read", f"{length} bytes")
    return content


def _opened(folder: Path, parts: tuple[str, ...], what: str, where: str) -> int:
    """Open a file below a folder, no component of which may be a link, also if it becomes one meanwhile."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if os.open not in os.supports_dir_fd:  # Windows, where links need a right of their own
            if any(folder.joinpath(*parts[:depth]).is_symlink() for depth in range(1, len(parts) + 1)):
                raise _wrong(where, f"{what}, a symbolic link", "a file of its own")
            return os.open(folder.joinpath(*parts), flags)
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for part in parts:
            try:
                inside = os.open(part, flags | os.O_NOFOLLOW, dir_fd=place)
            finally:
                os.close(place)
            place = inside
    except FileNotFoundError:
        raise _wrong(where, f"{what}, which is missing", "the file") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _wrong(where, f"{what}, a symbolic link", "a file of its own") from None
        if error.errno == errno.ENOTDIR:
            raise _wrong(where, f"{what}, where a file stands for a folder", "the file") from None
        raise
    return place


def _count(text: str, name: str, where: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise _wrong(where, f"external data with {name} {quote_value(text)}", "a whole number")
    return int(text)


def _wrong(where: str, what: str, expected: str) -> ModelFileError:
    return ModelFileError(
        what, where=where, expected=expected, hint="do not run this file: it is damaged or made up"
    )
