"""Files of `torch.save`: the archive is checked before torch reads it, and torch builds tensors alone.

A `.pt` file is a zip archive with `data.pkl`, a pickle, and the bytes of each tensor. A pickle can name any
function of Python; `torch.load(weights_only=True)` builds none but tensors and containers, from torch 2.10 on
without known holes. What the archive claims is compared with what it has before that.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
import zipfile
from typing import Any

import torch

from gatestack.errors import ModelFileError, quote_value

__all__ = ["program_refused", "read_pt"]

_LEAST_TORCH = (2, 10)
_MOST_MEMBERS = 20_000
_MOST_DIRECTORY_BYTES = 4 * 2**20
# Objects of Python take some fifty times the bytes of the pickle that makes them.
_MOST_PICKLE_BYTES = 4 * 2**20
_END_BYTES, _LOCATOR_BYTES, _END64_BYTES, _LOCAL_HEADER_BYTES = 22, 20, 56, 30
_KNOWN = re.compile(
    r"data\.pkl|byteorder|version|\.format_version|\.storage_alignment|\.data/serialization_id|data/\d{1,9}"
)
_CODE = re.compile(r"code/|constants\.pkl|constants/|.*\.py$|.*\.debug_pkl$")
_PROGRAM = re.compile(r"archive_format|archive_version|models/|data/weights/|data/sample_inputs/|extra/")
_HOW = "in the program that made it: torch.save(module.state_dict(), 'weights.pt')"
_FAILS = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError,
    IndexError, AssertionError, OverflowError, MemoryError, OSError, struct.error,
)  # fmt: skip


def read_pt(content: bytearray, *, where: str) -> Any:
    """Read what `torch.save` wrote, as long as it is data.

    Args:
        content: the whole file.
        where: its path, for errors.

    Returns:
        Tensors in containers, as they were saved.

    Raises:
        ModelFileError: the file is damaged, has code or classes in it, or claims more than it has.

    Example:
        >>> stream = io.BytesIO()
        >>> torch.save({"weight": torch.ones(2)}, stream)
        >>> read_pt(bytearray(stream.getvalue()), where="w.pt")
        {'weight': tensor([1., 1.])}
    """
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < _LEAST_TORCH:
        raise ModelFileError(
            f"torch {torch.__version__} has known holes where it reads such a file",
            where=where,
            expected="torch 2.10 or later",
            hint="save the weights as .safetensors, or update torch",
        )
    _check_archive(content, where)
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except _FAILS as error:
        raise _unreadable(error, where) from None


def _check_archive(content: bytearray, where: str) -> None:
    """Refuse an archive that is not what `torch.save` writes."""
    if content[:2] != b"PK":
        raise ModelFileError(
            "not a zip archive: a bare pickle, or a file that torch wrote before 1.6"
            if content[:1] == b"\x80"
            else "not a file that torch.save wrote",
            where=where,
            expected="a zip archive with data.pkl",
            hint=_HOW,
        )
    _check_directory(content, where)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error) as error:
        raise _damaged(f"not a readable zip archive: {error}", where) from None
    roots = {entry.orig_filename.partition("/")[0] for entry in entries}
    names = [entry.orig_filename.partition("/")[2] for entry in entries]
    for name in names:
        if _CODE.match(name):
            raise ModelFileError(
                f"it has {quote_value(name)}: a TorchScript archive, which is code",
                where=where,
                expected="weights, which are data",
                hint=_HOW,
            )
        if _PROGRAM.match(name):
            raise program_refused(where)
        if not _KNOWN.fullmatch(name):
            raise ModelFileError(
                f"it has a member {quote_value(name)}", where=where, expected="what torch.save writes"
            )
    if len(roots) != 1 or len(set(names)) != len(names) or "data.pkl" not in names:
        raise _damaged("members are there twice, of several archives, or data.pkl is missing", where)
    _check_entries(entries, len(content), where)


def _check_directory(content: bytearray, where: str) -> None:
    """Refuse a directory so long that reading it alone would take the memory."""
    size = len(content)
    end = content[size - _END_BYTES :]
    locator = content[max(0, size - _END_BYTES - _LOCATOR_BYTES) : size - _END_BYTES]
    if size < _END_BYTES or end[:4] != b"PK\5\6" or end[20:22] != b"\0\0":
        raise _damaged("its end is missing, or something follows it: it is cut", where)
    entries, length = struct.unpack_from("<HI", end, 10)
    if locator[:4] == b"PK\6\7":
        (place,) = struct.unpack_from("<Q", locator, 8)
        if place + _END64_BYTES > size or content[place : place + 4] != b"PK\6\6":
            raise _damaged("the end of its directory is not where it should be", where)
        entries, length = struct.unpack_from("<QQ", content, place + 32)
    if entries > _MOST_MEMBERS or length > _MOST_DIRECTORY_BYTES:
        raise _damaged(f"its directory has {entries} entries in {length} bytes", where)


def _check_entries(entries: list[zipfile.ZipInfo], size: int, where: str) -> None:
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        place = f"{where}, member {quote_value(entry.filename)}"
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise _damaged(f"it is packed: {entry.compress_size} bytes are to be {entry.file_size}", place)
        if entry.flag_bits & 0x1:
            raise _damaged("it is encrypted", place)
        if entry.header_offset < end:
            raise _damaged("it overlaps another member", place)
        end = entry.header_offset + _LOCAL_HEADER_BYTES + entry.compress_size
        if end > size:
            raise _damaged(f"it ends at byte {end} of {size}: the archive is cut", place)
        if entry.filename.endswith("data.pkl") and entry.file_size > _MOST_PICKLE_BYTES:
            raise _damaged(f"a pickle of {entry.file_size} bytes, more than {_MOST_PICKLE_BYTES}", place)


def _unreadable(error: BaseException, where: str) -> ModelFileError:
    text = str(error)
    found = re.search(r"(?:GLOBAL|Unsupported global:?|Unsupported class)\s+(?:GLOBAL\s+)?([\w.]+)", text)
    if isinstance(error, pickle.UnpicklingError) and found:
        return ModelFileError(
            f"it names {quote_value(found[1])}: a whole module or other objects, and reading them runs code",
            where=where,
            expected="a state_dict: names and tensors",
            hint=_HOW,
        )
    first = (text or type(error).__name__).splitlines()[0][:200]
    return _damaged(f"torch cannot read it: {first}", where)


def program_refused(where: str) -> ModelFileError:
    """Make the error that says why a file of `torch.export` is not read.

    Args:
        where: its path.
    """
    return ModelFileError(
        "a program of torch.export: a graph of single operations for one number of steps, no modules",
        where=where,
        expected="weights of a module, or its ONNX file",
        hint=_HOW,
    )


def _damaged(what: str, where: str) -> ModelFileError:
    return ModelFileError(
        what, where=where, hint="the file is damaged or made to harm: take it from its source again"
    )
