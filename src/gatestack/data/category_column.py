"""Columns of names rather than numbers: which they are, and their values as codes.

Code 0 stands for a category that the fit did not know, and for a missing one; the categories of the fit
follow from 1 on, in alphabetical order. Codes are whole numbers in an array of floats, which holds them
exactly.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.places import row_place
from gatestack.data.read import MISSING_TOKENS
from gatestack.errors import DataError, quote_value

__all__ = [
    "LONGEST_NAME",
    "MOST_CATEGORIES",
    "code_of",
    "find_categories",
    "holds_categories",
    "write_category_column",
]

MOST_CATEGORIES = 10_000
"""Categories of a column at most; a column of more names is a key rather than a category."""

LONGEST_NAME = 200
"""Characters of a category's name at most."""

_TEXT = (pl.String, pl.Categorical, pl.Enum)


def holds_categories(column: pl.Series, *, static: bool) -> bool:
    """Say whether a column is one of categories; numbers stay numbers.

    Args:
        column: as the user gave it. Text counts as categories when more of its values are words than numbers:
            a stray word in a column of numbers is a mistake. Categorical columns always do.
        static: the column holds one value per series; there, true and false are categories, since they may
            be unknown for a new series. In columns over time they are the numbers 1 and 0.

    Example:
        >>> holds_categories(pl.Series(["north", "south"]), static=True)
        True
        >>> holds_categories(pl.Series(["1", "2.5", "x"]), static=True)
        False
    """
    if column.dtype == pl.Boolean:
        return static
    if column.dtype not in _TEXT:
        return False
    names = _names(column).drop_nulls()
    if column.dtype != pl.String:
        return len(names) > 0
    truth = names.str.to_lowercase().is_in(["true", "false"])
    words = names.cast(pl.Float64, strict=False).is_null() & ~(truth & (not static))
    return bool(words.sum() * 2 > len(names))


def find_categories(column: pl.Series, *, source: str | None = None) -> tuple[str, ...]:
    """List the categories of a column.

    Args:
        column: names; shape (rows,).
        source: file or name for messages.

    Returns:
        The different names, sorted.

    Raises:
        DataError: more than 10,000 categories, or a name longer than 200 characters.

    Example:
        >>> find_categories(pl.Series(["south", "north", None, "south"]))
        ('north', 'south')
    """
    names = _names(column)
    long = (names.str.len_chars() > LONGEST_NAME).fill_null(False).arg_true()
    if len(long):
        place, value = row_place(source, int(long[0]), column.name, value=names[int(long[0])])
        raise DataError(
            f"the category {value} has {len(names[int(long[0])]):,} characters",
            where=place,
            expected=f"at most {LONGEST_NAME}",
            hint="shorten the names, or leave the column out",
        )
    found = names.drop_nulls().unique()
    if len(found) > MOST_CATEGORIES:
        raise DataError(
            f"the column {quote_value(column.name)} has {len(found):,} different names",
            where=source or "frame",
            expected=f"at most {MOST_CATEGORIES:,} categories",
            hint="group them, turn them into numbers, or leave the column out",
        )
    return tuple(found.sort())


def write_category_column(
    column: pl.Series,
    out: npt.NDArray[np.floating],
    categories: tuple[str, ...],
    rows: npt.NDArray[np.int64] | None = None,
) -> None:
    """Write the codes of a column into `out`; 0 where the category is missing or not in the list.

    Args:
        column: names, or what reads as one (a number, a truth value); shape (rows,).
        out: float32 or float64, shape (steps,), any strides; steps without a row become 0.
        categories: as `find_categories` gave them.
        rows: the step of each row, shape (rows,); None writes row i to step i.

    Example:
        >>> out = np.empty(3, dtype=np.float32)
        >>> write_category_column(pl.Series(["b", "x", None]), out, ("a", "b"))
        >>> out
        array([2., 0., 0.], dtype=float32)
    """
    codes = pl.Series(range(1, len(categories) + 1), dtype=pl.Float64)
    names = pl.Series(categories, dtype=pl.String)
    found = _names(column).replace_strict(names, codes, default=0.0, return_dtype=pl.Float64)
    out[:] = 0.0
    out[slice(None) if rows is None else rows] = found.fill_null(0.0).to_numpy()


def code_of(value: object, categories: tuple[str, ...]) -> float:
    """Give the code of one value, 0 where it is missing or not in the list.

    Example:
        >>> code_of("b", ("a", "b")), code_of(None, ("a", "b"))
        (2.0, 0.0)
    """
    out = np.empty(1)
    write_category_column(
        pl.Series([None if value is None else _text(value)], dtype=pl.String), out, categories
    )
    return float(out[0])


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool | np.bool_) else str(value)


def _names(column: pl.Series) -> pl.Series:
    """Give the names as text, null where they are missing."""
    text = column.cast(pl.String).str.strip_chars()
    if column.dtype not in _TEXT:
        return text
    return pl.select(pl.when(~text.is_in(MISSING_TOKENS)).then(text).alias(column.name)).to_series()
