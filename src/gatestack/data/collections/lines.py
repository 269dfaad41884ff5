"""Lines of a text file with their numbers, and numbers of a line with their positions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatestack.data.text_diagnosis import guess_encoding, refuse_encoding
from gatestack.errors import DataError, nearest_name, quote_value

__all__ = ["check_file", "number_of", "numbered_lines", "numbers_of", "target_of"]

Floats = npt.NDArray[np.float64]

MISSING = ("?", "NaN", "nan", "NAN")
LONGEST_LINE_BYTES = 1 << 28
# float() of Python also takes 1_000, infinity and digits of other scripts: only this is a number in a file.
_NUMBER = re.compile(r"[ \t]*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,6})?[ \t]*", re.ASCII)
_NUMBERS = re.compile(r"[-+.0-9eE \t,]*")


def check_file(file: Path, source: str, endings: tuple[str, ...]) -> None:
    """Raise a `DataError` unless a file with something in it stands there.

    Args:
        file: to be read.
        source: its name for messages.
        endings: of the files that are looked at when a near name is offered.
    """
    if not file.exists():
        near = ""
        if file.parent.is_dir():
            names = [other.name for other in file.parent.iterdir() if other.suffix.lower() in endings]
            near = nearest_name(file.name, names)
        hint = (
            near if near.startswith("did you mean") else "check the path; it is taken from the current folder"
        )
        raise DataError("there is no such file", where=source, hint=hint)
    if not file.is_file():
        raise DataError("this is not a file", where=source, hint="name one file of the folder")
    try:
        with file.open("rb") as stream:
            first = stream.read(4)
    except OSError as error:
        raise DataError(f"the file cannot be opened ({error.strerror})", where=source) from error
    if not first:
        raise DataError("the file is empty", where=source, hint="check that it was written whole")
    if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        refuse_encoding(source, guess_encoding(first))
    if first == b"PK\x03\x04" or first[:2] == b"\x1f\x8b":
        raise DataError("the file is packed (zip or gzip)", where=source, hint="unpack it first")


def numbered_lines(file: Path, source: str, *, comment: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Give the lines that hold something, without blanks around them, and their numbers, from 1.

    Args:
        file: UTF-8 text; a byte order mark and any line end are accepted.
        source: its name for messages.
        comment: signs that begin a line to be left out; what else stands there is not looked at.

    Raises:
        DataError: a line is not UTF-8, holds a NUL byte, or is longer than 256 MiB.
    """
    signs = tuple(sign.encode() for sign in comment)
    try:
        with file.open("rb") as stream:
            number = 0
            while raw := stream.readline(LONGEST_LINE_BYTES + 1):
                number += 1
                where = f"{source}, line {number}"
                if len(raw) > LONGEST_LINE_BYTES:
                    raise DataError(
                        f"the line is longer than {LONGEST_LINE_BYTES:,} bytes",
                        where=where,
                        hint="a line end may be missing",
                    )
                raw = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
                if raw.lstrip().startswith(signs) if signs else False:
                    continue
                if b"\0" in raw:
                    raise DataError(
                        f"a NUL byte (0x00) at byte {raw.find(0) + 1} of the line",
                        where=where,
                        expected="text",
                        hint="the file is damaged or not a text file: write it again from its source",
                    )
                try:
                    text = raw.decode().strip()
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"byte 0x{raw[error.start]:02x} at byte {error.start + 1} of the line is not UTF-8",
                        where=where,
                        expected="text in UTF-8",
                        hint=f"it looks like {guess_encoding(raw)}: save the file as UTF-8",
                    ) from None
                if text:
                    yield number, text
    except OSError as error:
        raise DataError(f"the file cannot be read to its end ({error.strerror})", where=source) from error


def numbers_of(text: str, where: str, *, separator: str = ",", missing: str | None = None) -> Floats:
    """Read the numbers of a channel; a missing one becomes NaN.

    Args:
        text: numbers with a sign between them.
        where: place for messages; the position of a number is added to it.
        separator: the sign between two numbers.
        missing: None allows `?` and `NaN`; a text is the rule that forbids them.

    Returns:
        (T,) finite numbers or NaN.

    Raises:
        DataError: something else than a number; names its position, from 1.

    Example:
        >>> numbers_of("1, 2.5,?", "line 3")
        array([1. , 2.5, nan])
    """
    parts = text.split(separator)
    if separator == "," and _NUMBERS.fullmatch(text):
        try:
            values = np.array(list(map(float, parts)))
        except ValueError:
            pass  # the loop below names the place
        else:
            if np.isfinite(values).all():
                return values
    return np.array([_number_at(part, where, at, missing) for at, part in enumerate(parts, 1)])


def _number_at(text: str, where: str, position: int, missing: str | None) -> float:
    bare = text.strip()
    if bare in MISSING:
        if missing is None:
            return math.nan
        raise DataError(
            f"a missing value, {quote_value(bare)}", where=f"{where}, value {position}", expected=missing
        )
    return number_of(bare, f"{where}, value {position}")


def number_of(text: str, where: str) -> float:
    """Read one finite number.

    Raises:
        DataError: it is something else.

    Example:
        >>> number_of("1e-3", "line 4")
        0.001
    """
    if not _NUMBER.fullmatch(text):
        hint = None
        if not text:
            hint = "write ? where a value is missing"
        elif re.fullmatch(r"[+-]?\d+;\d+|[+-]?0[xX][0-9a-fA-F]+", text):
            hint = "write it as a decimal number with a point"
        raise DataError(
            "nothing stands here" if not text else f"{quote_value(text)} is not a number",
            where=where,
            expected="a number",
            hint=hint,
        )
    value = float(text)
    if not math.isfinite(value):
        raise DataError(f"{quote_value(text)} is too large", where=where, expected="a finite number")
    return value


def target_of(text: str, where: str) -> float:
    """Read the target value of a case, which cannot be missing."""
    if text in MISSING:
        raise DataError(
            "the target value is missing", where=where, expected="a number", hint="leave the case out"
        )
    return number_of(text, where)
