"""Where a value stands: the words that errors use for files, lines and rows."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from gatestack.errors import quote_value

__all__ = [
    "TEXT_ENDINGS",
    "guess_separator",
    "open_bytes",
    "raw_cell",
    "row_place",
    "rows_place",
    "text_ending",
]

# Endings of delimited text and the separator each one promises; None: the header decides.
TEXT_ENDINGS: dict[str, str | None] = {".csv": ",", ".tsv": "\t", ".txt": None}
SEPARATORS = (",", ";", "\t", "|")


def text_ending(path: Path) -> str | None:
    """Return `.csv`, `.tsv` or `.txt` when the name ends so (also before `.gz`), else None.

    Example:
        >>> text_ending(Path("rain.csv.gz"))
        '.csv'
    """
    name = path.name.lower().removesuffix(".gz")
    ending = Path(name).suffix
    return ending if ending in TEXT_ENDINGS else None


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading bytes; `.gz` is unpacked on the way."""
    if path.name.lower().endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def guess_separator(header: str, *, prefer: str = ",") -> str:
    """Say which separator a header line uses: the most frequent one outside quotes.

    Args:
        header: the first line of the file.
        prefer: wins when two are equally frequent.

    Returns:
        One of `,`, `;`, tab, `|`.

    Example:
        >>> guess_separator("date;temp, max;rain")
        ';'
    """
    bare = "".join(header.split('"')[0::2])
    order = (prefer, *(sign for sign in SEPARATORS if sign != prefer))
    return max(order, key=bare.count)


def raw_cell(path: Path, row: int, column: str | None) -> tuple[int, str | None]:
    """Find the line and the text of a cell by reading the file again.

    Args:
        path: a delimited text file whose structure is sound.
        row: row of data, counted from 0.
        column: name of the column, or None when only the line is wanted.

    Returns:
        The line (from 1, the header counted) on which the row begins, and the text of the cell.
    """
    # Lines differ from rows where quoted cells hold line ends, so they must be counted.
    with open_bytes(path) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        first = text.readline()
        text.seek(0)
        separator = guess_separator(first, prefer=TEXT_ENDINGS.get(text_ending(path) or "") or ",")
        reader = csv.reader(text, delimiter=separator)
        header = next(reader)
        line = reader.line_num + 1
        for index, record in enumerate(reader):
            if index == row:
                position = header.index(column) if column in header else -1
                return line, record[position] if 0 <= position < len(record) else None
            line = reader.line_num + 1
    return line, None


def row_place(
    source: str | None, row: int, column: str | None = None, *, value: object = None
) -> tuple[str, str]:
    """Name the place of a row for the `where` of an error, and the value as it is written there.

    Args:
        source: path of the file, another name for the data, or None.
        row: row of data, counted from 0.
        column: name of the column.
        value: what stands there, used when the file cannot be read again.

    Returns:
        `rain.csv, line 18, column 'temp'` for delimited files, `frame, row 16 (from 0), column 'temp'`
        otherwise; and the quoted value.

    Example:
        >>> row_place(None, 16, "temp", value="wet")
        ("frame, row 16 (from 0), column 'temp'", "'wet'")
    """
    tail = f", column {quote_value(column)}" if column is not None else ""
    path = _text_file(source)
    if path is None:
        return f"{source or 'frame'}, row {row} (from 0){tail}", quote_value(value)
    line, text = raw_cell(path, row, column)
    return f"{source}, line {line}{tail}", quote_value(value if text is None else text)


def rows_place(source: str | None, rows: Sequence[int], column: str | None = None) -> str:
    """Name up to three rows for the `where` of an error.

    Example:
        >>> rows_place("table", [3, 5], "ds")
        "table, rows 3, 5 (from 0), column 'ds'"
    """
    tail = f", column {quote_value(column)}" if column is not None else ""
    word = "rows" if len(rows) > 1 else "row"
    path = _text_file(source)
    if path is None:
        return f"{source or 'frame'}, {word} {', '.join(map(str, rows[:3]))} (from 0){tail}"
    lines = [str(raw_cell(path, row, None)[0]) for row in rows[:3]]
    return f"{source}, {word.replace('row', 'line')} {', '.join(lines)}{tail}"


def _text_file(source: str | None) -> Path | None:
    if source is None:
        return None
    path = Path(source).expanduser()
    return path if text_ending(path) is not None and path.is_file() else None
