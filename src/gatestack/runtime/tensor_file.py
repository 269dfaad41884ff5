"""NumPy arrays in one safetensors file, as bytes: written by safetensors, read with every number checked.

A safetensors file is eight bytes (the length of the header, little-endian), the header (JSON: name to dtype,
shape and place), and the data. The reader builds nothing before shape, dtype and place agree with each other
and with the size of the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from gatestack.errors import ArgumentError, ModelFileError, quote_value
from gatestack.runtime.strict_json import read_json

__all__ = ["decode_tensors", "encode_tensors"]

_HEADER_BYTES_LIMIT = 16 * 2**20
_DTYPES: dict[str, str] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip


def encode_tensors(arrays: Mapping[str, npt.NDArray[Any]], *, where: str) -> bytes:
    """Put arrays into the bytes of a safetensors file; equal arrays give equal bytes.

    Args:
        arrays: name to array; booleans, integers and floats of 16, 32 and 64 bits.
        where: what the arrays are, for the message of an error.

    Returns:
        The whole file.

    Raises:
        ArgumentError: a value is not such an array.

    Example:
        >>> content = encode_tensors({"w": np.zeros((2, 3), np.float32)}, where="weights")
        >>> decode_tensors(bytearray(content), where="weights")["w"].shape
        (2, 3)
    """
    ready: dict[str, npt.NDArray[Any]] = {}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.newbyteorder("<").str not in _DTYPES.values():
            kind = f"dtype {array.dtype}" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
            raise ArgumentError(
                f"cannot be stored: {kind}",
                where=f"{where}[{name!r}]",
                expected="an array of numbers or booleans",
            )
        if name == "__metadata__":
            raise ArgumentError("the name '__metadata__' is taken by the file format", where=where)
        # ascontiguousarray would turn a scalar into a vector
        ready[name] = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return bytes(save(ready))


def decode_tensors(content: bytearray, *, where: str) -> dict[str, npt.NDArray[Any]]:
    """Read arrays out of the bytes of a safetensors file. The arrays are views into `content`.

    Args:
        content: the whole file.
        where: its path, for the message of an error.

    Returns:
        Name to array, writable, in the order of the file.

    Raises:
        ModelFileError: the header is not what the format says, or does not agree with the data.

    Example:
        >>> content = encode_tensors({"w": np.arange(3)}, where="weights")
        >>> decode_tensors(bytearray(content), where="weights")
        {'w': array([0, 1, 2])}
        >>> decode_tensors(bytearray(content[:-1]), where="weights")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        gatestack.errors.ModelFileError: weights: the tensors end at byte 24, the data at byte 23...
    """
    start, header = _read_header(content, where)
    size = len(content) - start
    placed: list[tuple[int, int, str, str, tuple[int, ...]]] = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        placed.append(_check_entry(name, entry, where))
    placed.sort()
    expected = 0
    for begin, end, name, _, _ in placed:
        if begin != expected:
            raise _damaged(where, f"tensor {quote_value(name)} starts at byte {begin}, not at {expected}")
        expected = end
    if expected != size:
        raise _damaged(where, f"the tensors end at byte {expected}, the data at byte {size}")
    data = memoryview(content)[start:]
    return {
        name: np.frombuffer(data[begin:end], dtype=dtype).reshape(shape)
        for begin, end, name, dtype, shape in placed
    }


def _read_header(content: bytearray, where: str) -> tuple[int, dict[str, Any]]:
    if len(content) < 8:
        raise _damaged(where, f"only {len(content)} bytes, not even the length of the header")
    length = int.from_bytes(content[:8], "little")
    if length > min(len(content) - 8, _HEADER_BYTES_LIMIT):
        raise _damaged(where, f"the header claims {length} bytes, the file has {len(content)}")
    try:
        header = read_json(bytes(content[8 : 8 + length]))
    except ValueError as error:
        raise _damaged(where, f"the header is not readable: {error}") from None
    if not isinstance(header, dict):
        raise _damaged(where, "the header is not an object")
    return 8 + length, header


def _check_entry(name: str, entry: Any, where: str) -> tuple[int, int, str, str, tuple[int, ...]]:
    quoted = quote_value(name)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _damaged(where, f"tensor {quoted} lacks dtype, shape or data_offsets")
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise _damaged(where, f"tensor {quoted} has the dtype {quote_value(entry['dtype'])}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2 or len(shape) > 32:
        raise _damaged(where, f"tensor {quoted} has a shape or place that is not a short list of counts")
    begin, end = offsets
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    if end - begin != needed:
        raise _damaged(
            where, f"tensor {quoted} of shape {shape} needs {needed} bytes, its place has {end - begin}"
        )
    return begin, end, name, dtype, tuple(shape)


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def _damaged(where: str, what: str) -> ModelFileError:
    return ModelFileError(
        what, where=where, hint="the file is damaged: take it from its source or a copy again"
    )
