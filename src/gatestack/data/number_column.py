"""One column of a table as floats, written straight into the matrix that the model will see."""

from __future__ import annotations

import re
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.places import row_place
from gatestack.data.read import MISSING_TOKENS
from gatestack.errors import DataError

__all__ = ["write_number_column"]

_TRUTH = {"true": "1", "True": "1", "TRUE": "1", "false": "0", "False": "0", "FALSE": "0"}


def write_number_column(
    column: pl.Series,
    out: npt.NDArray[np.floating],
    rows: npt.NDArray[np.int64] | None = None,
    *,
    role: str = "target",
    source: str | None = None,
) -> None:
    """Write a column into `out`, missing values as NaN. Numbers are never copied whole on the way.

    Text that holds numbers, and true/false, are accepted as numbers.

    Args:
        column: numbers, truth values, or text; shape (rows,).
        out: float32 or float64, shape (steps,), any strides.
        rows: the step of each row, shape (rows,); None writes row i to step i.
        role: what the column is used as, for messages.
        source: file or name for messages.

    Raises:
        DataError: a value that is no number, is infinite, or is too large; names row, column and value.

    Example:
        >>> out = np.zeros(3, dtype=np.float32)
        >>> write_number_column(pl.Series("y", [1, None, 3]), out)
        >>> out
        array([ 1., nan,  3.], dtype=float32)
    """
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        numbers = _from_text(column, role, source)
    elif column.dtype.is_numeric() or column.dtype == pl.Boolean:
        numbers = column
    elif column.dtype == pl.Null:
        numbers = column.cast(pl.Float64)
    else:
        raise DataError(
            f"the {role} column {column.name!r} is of type {column.dtype}",
            where=row_place(source, 0, column.name)[0],
            expected="numbers",
            hint=f"leave the column out, or turn it into numbers before it is used as {role}",
        )
    start = 0
    for chunk in numbers.get_chunks():
        values = _as_floats(chunk)
        stop = start + len(values)
        target = slice(start, stop) if rows is None else rows[start:stop]
        # A number beyond the range of float32 becomes infinite here and is refused below.
        with np.errstate(over="ignore"):
            out[target] = values
        written = out[target]
        if np.isinf(written).any():
            _refuse_infinite(column, start + int(np.argmax(np.isinf(written))), out.dtype, source)
        start = stop


def _as_floats(chunk: pl.Series) -> npt.NDArray[np.generic]:
    simple = chunk.dtype in (pl.Float32, pl.Float64) or (
        chunk.dtype.is_integer() and chunk.dtype != pl.Int128
    )
    if not simple or (chunk.null_count() and chunk.dtype.is_integer()):
        chunk = chunk.cast(pl.Float64)
    return chunk.to_numpy()


def _from_text(column: pl.Series, role: str, source: str | None) -> pl.Series:
    text = column.cast(pl.String).str.strip_chars()
    missing = text.is_null() | text.is_in(MISSING_TOKENS)
    numbers = text.replace(_TRUTH).cast(pl.Float64, strict=False)
    bad = (numbers.is_null() & ~missing).arg_true()
    if len(bad):
        _refuse_word(column, int(bad[0]), len(bad), role, source)
    return numbers


def _refuse_word(column: pl.Series, row: int, count: int, role: str, source: str | None) -> NoReturn:
    place, value = row_place(source, row, column.name, value=column[row])
    word = str(column[row]).strip()
    frame = "frame = gatestack.data.read_table(…, separator=';', decimal_comma=True)"
    if re.fullmatch(r"[+-]?\d+,\d+", word):
        hint = f"the decimal sign is a comma: write a point, or read the file with {frame} and pass the frame"
    elif re.fullmatch(r"[+-]?\d{1,3}(?:[ ,'.]\d{3})+(?:[.,]\d+)?", word):
        hint = "write the number without signs between the thousands"
    elif re.fullmatch(r"[+-]?0[xX][0-9a-fA-F]+", word):
        hint = f"it is a hexadecimal number: write {int(word, 16)}"
    elif count > max(2, len(column) // 2):
        hint = (
            f"{count:,} of {len(column):,} values are no numbers: only numbers can be used as {role} so far; "
        )
        hint += "code the words as numbers, or name another column"
    else:
        hint = "correct the value, or leave the cell empty where it is missing"
        hint += f" ({count:,} such values in the column)" if count > 1 else ""
    raise DataError(
        f"{value} is not a number", where=place, expected=f"numbers in the {role} column", hint=hint
    )


def _refuse_infinite(
    column: pl.Series, row: int, dtype: np.dtype[np.floating], source: str | None
) -> NoReturn:
    place, value = row_place(source, row, column.name, value=column[row])
    largest = f"{np.finfo(dtype).max:.1e}"
    raise DataError(
        f"{value} is infinite or too large",
        where=place,
        expected=f"finite numbers up to {largest} ({dtype})",
        hint="leave the cell empty where the value is missing, or scale the column down",
    )
