"""Read a file that holds one series a row, as the M competitions publish theirs, into one row per step.

The first column names the series, the others are its steps. Series may end early: cells left empty at the end
of a row, or left out, are no steps. A file is read line by line, so that many series of different lengths
take the memory of their values, not that of a full table.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from gatestack.data.collections.lines import check_file, numbered_lines
from gatestack.data.places import TEXT_ENDINGS, guess_separator
from gatestack.data.read import MISSING_TOKENS
from gatestack.errors import DataError, nearest_name, quote_value

__all__ = ["continue_series", "read_wide"]

_COLUMNS = ("unique_id", "ds", "y")


def read_wide(path: str | Path) -> pl.DataFrame:
    """Read a CSV or TSV file with one series a row: a name, then its values from the first step on.

    The first line is a header. A row may be shorter than the header. An empty cell (or one of
    `MISSING_TOKENS`) before the first or after the last value of a row is no step; between them it is a step
    whose value is missing.

    Args:
        path: a text file in UTF-8 that ends in .csv, .tsv or .txt.

    Returns:
        One row per step: `unique_id`, `ds` (the place of the step in its row, from 1) and `y` (null where
        missing). `Forecaster.fit` takes it as it is.

    Raises:
        DataError: a name that is missing or stands twice, a row that is too long or holds no value, a cell
            that is no number; names line and column.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / "sales.csv"
        >>> _ = path.write_text("id,V1,V2,V3\\nnorth,5,6,7\\nsouth,1,,\\n")
        >>> read_wide(path).rows()
        [('north', 1, 5.0), ('north', 2, 6.0), ('north', 3, 7.0), ('south', 1, 1.0)]
        >>> folder.cleanup()
    """
    file, source = Path(path).expanduser(), str(path)
    check_file(file, source, tuple(TEXT_ENDINGS))
    lines = numbered_lines(file, source, comment=())
    header = _header(lines, source)
    lines_of: dict[str, int] = {}
    begins: list[int] = []
    values: list[pl.Series] = []
    for number, text in lines:
        where = f"{source}, line {number}"
        key, *cells = _cells(text, header.separator, where)
        key = key.strip()
        _check_row(key, cells, header, lines_of, where)
        first, steps = _steps(cells, header.names, where)
        lines_of[key] = number
        begins.append(first)
        values.append(steps)
    if not values:
        raise DataError(
            "the file has a header and no rows", where=source, expected="at least one row of data"
        )
    lengths = np.array([len(steps) for steps in values])
    places = [
        np.arange(first, first + steps, dtype=np.int64) for first, steps in zip(begins, lengths, strict=True)
    ]
    rows = np.repeat(np.arange(len(values)), lengths)
    keys = pl.Series("unique_id", list(lines_of), dtype=pl.String)
    return pl.DataFrame(
        {"unique_id": keys.gather(rows), "ds": np.concatenate(places), "y": pl.concat(values).rename("y")}
    )


def continue_series(history: pl.DataFrame, after: pl.DataFrame, *, source: str = "frame") -> pl.DataFrame:
    """Put what came after series behind their history: step 1 of `after` follows the last step of `history`.

    Args:
        history: as `read_wide` gives it.
        after: the same for the steps that followed; series may be absent.
        source: what messages call `after`.

    Returns:
        All series of `history`, with the steps of both.

    Raises:
        DataError: a series of `after` is not in `history`.

    Example:
        >>> history = pl.DataFrame({"unique_id": ["a", "a"], "ds": [1, 2], "y": [5.0, 6.0]})
        >>> continue_series(history, pl.DataFrame({"unique_id": ["a"], "ds": [1], "y": [7.0]})).rows()
        [('a', 1, 5.0), ('a', 2, 6.0), ('a', 3, 7.0)]
    """
    key, time, _ = _COLUMNS
    ends = history.group_by(key).agg(pl.col(time).max().alias("end"))
    moved = after.join(ends, on=key, how="left", maintain_order="left")
    unknown = moved.filter(pl.col("end").is_null())[key].unique(maintain_order=True)
    if len(unknown):
        raise DataError(
            f"{len(unknown):,} series {'is' if len(unknown) == 1 else 'are'} not in the history: "
            f"{', '.join(quote_value(name) for name in unknown[:3])}",
            where=source,
            expected="the series of the history",
            hint=nearest_name(str(unknown[0]), ends[key]),
        )
    return pl.concat([history, moved.with_columns(pl.col(time) + pl.col("end")).drop("end")])


class _Header(NamedTuple):
    """The names of the columns, and what separates them."""

    names: list[str]
    separator: str


def _header(lines: Iterator[tuple[int, str]], source: str) -> _Header:
    number, text = next(lines, (1, ""))
    where = f"{source}, line {number}"
    separator = guess_separator(text)
    names = [name.strip() for name in _cells(text, separator, where)]
    if len(names) < 2:
        raise DataError(
            f"the header has one column: {quote_value(text)}",
            where=where,
            expected="the name of the series, then one column for each step",
            hint="read a file with one row per step without the wide layout",
        )
    numbers = pl.Series(names[1:]).cast(pl.Float64, strict=False)
    # Numbers may head columns (1, 2, 3 or years) when they count up.
    counting = all(before < after for before, after in itertools.pairwise(numbers.drop_nulls()))
    if not numbers.null_count() and not counting:
        raise DataError(
            f"the first line looks like a series: {quote_value(text)}",
            where=where,
            expected="a header",
            hint="write the names of the columns as first line, for instance id,1,2,3",
        )
    return _Header(names, separator)


def _cells(text: str, separator: str, where: str) -> list[str]:
    if '"' not in text:
        return text.split(separator)
    try:
        (cells,) = csv.reader([text], delimiter=separator, strict=True)
    except csv.Error as error:
        raise DataError(
            f"the line cannot be cut into cells ({error})",
            where=where,
            expected="pairs of quotes around a cell, and short cells",
            hint="a cell must not hold a line end here",
        ) from error
    return cells


def _check_row(key: str, cells: list[str], header: _Header, lines_of: dict[str, int], where: str) -> None:
    if not key:
        raise DataError(
            "the name of the series is missing",
            where=f"{where}, column {quote_value(header.names[0])}",
            expected="a name in every row",
        )
    if key in lines_of:
        raise DataError(
            f"the series {quote_value(key)} stands twice, first in line {lines_of[key]}",
            where=where,
            expected="one row per series",
            hint="rename one of the two, or join them",
        )
    if len(cells) >= len(header.names):
        raise DataError(
            f"the row has {len(cells) + 1:,} cells",
            where=where,
            expected=f"at most {len(header.names):,}, as in the header",
            hint="a decimal comma makes two cells of one number: write a point",
        )


def _steps(cells: list[str], names: list[str], where: str) -> tuple[int, pl.Series]:
    """Give the place of the first value, from 1, and the values up to the last one, null where missing."""
    text = pl.Series(cells, dtype=pl.String).str.strip_chars()
    missing = text.is_in(MISSING_TOKENS)
    numbers = text.cast(pl.Float64, strict=False)
    wrong = (~missing & ~numbers.is_finite().fill_null(False)).arg_true()
    if len(wrong):
        place = int(wrong[0])
        raise DataError(
            f"{quote_value(text[place])} is not a finite number",
            where=f"{where}, column {quote_value(names[place + 1])}",
            expected="a number, or an empty cell where there is none",
            hint="only the first column holds names; a table with one row per step is read without the "
            "wide layout",
        )
    known = (~missing).arg_true()
    if not len(known):
        raise DataError("the series has no value", where=where, expected="at least one", hint="remove it")
    first, last = int(known[0]), int(known[-1])
    # Tokens such as "nan" are numbers to Polars.
    values = pl.select(pl.when(~missing).then(numbers)).to_series()
    return first + 1, values.slice(first, last - first + 1)
