"""Read a table from a file: CSV, TSV and other delimited text (also `.gz`), Parquet.

A file is accepted whole or refused with the file, the line, the column and the value. Nothing is skipped,
padded or filled.
"""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl

from gatestack.data.places import TEXT_ENDINGS, guess_separator, open_bytes, text_ending
from gatestack.data.text_diagnosis import diagnose_text, guess_encoding, refuse_encoding
from gatestack.data.text_scan import scan_text
from gatestack.errors import ArgumentError, DataError, nearest_name, quote_value

__all__ = ["MISSING_TOKENS", "read_table"]

# Cells of text files that mean "no value here", as they are written. Blanks around them are allowed.
MISSING_TOKENS = (
    "",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "NaN",
    "nan",
    "NAN",
    "NULL",
    "null",
    "None",
    "none",
    "?",
    "-",
)
_PARQUET_ENDINGS = (".parquet", ".pq")
_PARQUET_MARK = b"PAR1"
_LONGEST_HEADER_BYTES = 1 << 24
_UNPACKED_LIMIT_BYTES = 1 << 30
_UNPACKED_RATIO = 100
_GUESS_ROWS = 10_000


def read_table(
    path: str | Path,
    *,
    separator: str | None = None,
    decimal_comma: bool = False,
    max_columns: int = 10_000,
    max_cell_bytes: int = 100_000,
) -> pl.DataFrame:
    """Read a table from a CSV, TSV or Parquet file.

    Text files are UTF-8, with a header line; a byte order mark, Windows line ends and a missing last line
    end are accepted. Types come from all rows. Times stay text here; `SeriesTable` reads them. The cells of
    `MISSING_TOKENS` are missing values.

    Args:
        path: a file that ends in .csv, .tsv, .txt (also .gz after it), .parquet or .pq.
        separator: one of `,` `;` tab `|`; by default `,` for .csv, tab for .tsv, found in the header for
            .txt.
        decimal_comma: True when numbers are written `1,5`; needs another separator than the comma.
        max_columns: more columns than this are refused (default 10,000).
        max_cell_bytes: longer cells than this are refused (default 100,000 bytes).

    Returns:
        A Polars DataFrame, one row per row of the file.

    Raises:
        DataError: the file is absent, empty, damaged or not a table; names file, line, column and value.
        ArgumentError: the separator is not one of the list.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / "rain.csv"
        >>> _ = path.write_text("date,rain\\n2024-01-01,1.5\\n2024-01-02,NA\\n")
        >>> read_table(path).rows()
        [('2024-01-01', 1.5), ('2024-01-02', None)]
        >>> folder.cleanup()
    """
    file = Path(path).expanduser()
    if separator is not None and (len(separator) != 1 or not separator.isascii() or separator in '"\r\n'):
        raise ArgumentError(
            f"the separator is {quote_value(separator)}",
            where="read_table",
            expected="one of , ; | or tab ('\\t')",
        )
    if decimal_comma and separator in (None, ",") and text_ending(file) == ".csv":
        raise ArgumentError(
            "decimal_comma=True, but cells are separated by commas too",
            where="read_table",
            expected="another separator than the comma",
            hint="pass separator=';' as well",
        )
    _check_file(file, str(path))
    if file.suffix.lower() in _PARQUET_ENDINGS:
        return _read_parquet(file, str(path))
    return _read_text(file, str(path), separator, decimal_comma, max_columns, max_cell_bytes)


def _check_file(file: Path, source: str) -> None:
    if not file.exists():
        near = (
            nearest_name(file.name, [other.name for other in file.parent.iterdir()])
            if file.parent.is_dir()
            else ""
        )
        raise DataError(
            "there is no such file",
            where=source,
            hint=near
            if near.startswith("did you mean")
            else "check the path; it is taken from the current folder",
        )
    if file.is_dir():
        raise DataError(
            "this is a folder", where=source, expected="a file", hint="name one file of the folder"
        )
    if text_ending(file) is None and file.suffix.lower() not in _PARQUET_ENDINGS:
        known = ", ".join([*TEXT_ENDINGS, *_PARQUET_ENDINGS])
        raise DataError(
            f"the ending {quote_value(file.suffix)} is not known",
            where=source,
            expected=f"a file that ends in {known} (text also with .gz)",
            hint="rename the file if it is one of these, or read it yourself and pass a pandas, Polars "
            "or Arrow frame",
        )
    try:
        with file.open("rb") as stream:
            first = stream.read(4)
    except OSError as error:
        raise DataError(f"the file cannot be opened ({error.strerror})", where=source) from error
    if not first:
        raise DataError(
            "the file is empty",
            where=source,
            expected="a header and rows",
            hint="check that it was written whole",
        )
    if text_ending(file) and first == _PARQUET_MARK:
        raise DataError(
            "the file is Parquet, not text", where=source, hint="rename it so that it ends in .parquet"
        )
    if text_ending(file) and first[:2] == b"\x1f\x8b" and not file.name.lower().endswith(".gz"):
        raise DataError("the file is packed with gzip", where=source, hint="rename it so that it ends in .gz")
    if text_ending(file) and first == b"PK\x03\x04":
        raise DataError(
            "the file is a zip archive or an Excel workbook, not text",
            where=source,
            hint="unpack it, or save the sheet as CSV",
        )


def _read_parquet(file: Path, source: str) -> pl.DataFrame:
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(4)
        stream.seek(max(0, size - 4))
        tail = stream.read(4)
    hint = "write or fetch the file again"
    if head != _PARQUET_MARK:
        raise DataError(
            f"the first bytes are {head!r}", where=source, expected="b'PAR1', a Parquet file", hint=hint
        )
    if size < 12 or tail != _PARQUET_MARK:
        raise DataError(
            f"the file is cut: it ends after {size:,} bytes",
            where=source,
            expected="b'PAR1' at its end",
            hint=hint,
        )
    try:
        frame = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"the Parquet file is damaged ({reason})", where=source, hint=hint) from error
    if not frame.height:
        raise DataError("the table has no rows", where=source, expected="at least one row of data")
    return frame


def _read_text(
    file: Path, source: str, separator: str | None, decimal_comma: bool, max_columns: int, max_cell_bytes: int
) -> pl.DataFrame:
    try:
        header = _header(file, source)
        separator = _separator(header, text_ending(file) or ".txt", separator, source)
        names = _names(header, separator, source, max_columns)
        _check_unpacked_size(file, source)
        with open_bytes(file) as stream:
            scan = scan_text(stream, separator=separator, columns=len(names), max_cell_bytes=max_cell_bytes)
        if not scan.sound:
            _diagnose(file, source, separator, names, max_cell_bytes)
    except (EOFError, OSError) as error:
        raise DataError(
            f"the file cannot be read to its end ({error})",
            where=source,
            hint="write or fetch the file again",
        ) from error
    if scan.sound and scan.rows <= 0:
        raise DataError(
            "the file has a header and no rows", where=source, expected="at least one row of data"
        )
    return _parse(
        file, source, separator, decimal_comma, names, scan.rows if scan.sound else None, max_cell_bytes
    )


def _parse(
    file: Path,
    source: str,
    separator: str,
    decimal_comma: bool,
    names: tuple[str, ...],
    rows: int | None,
    max_cell_bytes: int,
) -> pl.DataFrame:
    reason = "its rows do not match what was counted"
    # Types guessed from the first rows are right when all rows can be read with them: guessing from all rows
    # takes six times as long. Where not even that holds (a number too long), everything is kept as text.
    for typed, guess_rows in ((True, _GUESS_ROWS), (True, None), (False, None)):
        try:
            frame = pl.read_csv(
                file,
                separator=separator,
                decimal_comma=decimal_comma and separator != ",",
                null_values=list(MISSING_TOKENS),
                infer_schema=typed,
                infer_schema_length=guess_rows,
                n_rows=rows,
            )
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            continue
        if guess_rows is not None and frame.height > guess_rows and _has_unguessed_column(frame, guess_rows):
            continue
        if rows is None or frame.height == rows:
            return frame.rename(dict(zip(frame.columns, names, strict=True)))
    _diagnose(file, source, separator, names, max_cell_bytes)
    raise DataError(
        f"the table cannot be read ({reason})", where=source, hint="write the file again as plain CSV"
    )


def _has_unguessed_column(frame: pl.DataFrame, rows: int) -> bool:
    """True when a column had nothing to guess from: its first rows are all missing, so it became text."""
    return any(
        column.dtype == pl.String and column.head(rows).null_count() == rows
        for column in frame.iter_columns()
    )


def _diagnose(file: Path, source: str, separator: str, names: tuple[str, ...], max_cell_bytes: int) -> None:
    with open_bytes(file) as stream:
        diagnose_text(
            stream, source=source, separator=separator, columns=names, max_cell_bytes=max_cell_bytes
        )


def _header(file: Path, source: str) -> str:
    """Return the first record, as text, without its line end."""
    with open_bytes(file) as stream:
        raw = stream.readline(_LONGEST_HEADER_BYTES + 1)
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or (
            b"\0" in raw[:200] and guess_encoding(raw).startswith("UTF-16")
        ):
            refuse_encoding(source, guess_encoding(raw))
        while raw.count(b'"') % 2 and len(raw) <= _LONGEST_HEADER_BYTES:
            more = stream.readline(_LONGEST_HEADER_BYTES + 1 - len(raw))
            if not more:
                break
            raw += more
    if len(raw) > _LONGEST_HEADER_BYTES:
        raise DataError(
            f"the first line is longer than {_LONGEST_HEADER_BYTES:,} bytes",
            where=f"{source}, line 1",
            expected="a header of names",
        )
    if b"\0" in raw:
        raise DataError("a NUL byte (0x00) in the header", where=f"{source}, line 1", expected="a text file")
    if b"\r" in raw.rstrip(b"\r\n") and b"\n" not in raw:
        raise DataError(
            "lines end with a lone carriage return (old Macintosh)",
            where=f"{source}, line 1",
            expected="lines that end with \\n or \\r\\n",
            hint=f"convert the file, for instance: tr '\\r' '\\n' < {source} > lines.csv",
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        refuse_encoding(source, guess_encoding(raw))
    if not text.strip():
        raise DataError("the first line is blank", where=f"{source}, line 1", expected="a header of names")
    return text.rstrip("\r\n")


def _separator(header: str, ending: str, chosen: str | None, source: str) -> str:
    wanted = chosen or TEXT_ENDINGS[ending]
    guess = guess_separator(header, prefer=wanted or "\t")
    if wanted is None or wanted == guess:
        return guess
    if chosen is not None and chosen in header:
        return chosen
    shown = "tab ('\\t')" if guess == "\t" else quote_value(guess)
    raise DataError(
        f"the header looks separated by {shown}: {quote_value(header)}",
        where=f"{source}, line 1",
        expected=f"cells separated by {quote_value(wanted)}" + ("" if chosen else f", as {ending} promises"),
        hint=f"read it with gatestack.data.read_table({quote_value(source)}, separator={guess!r}) and "
        f"pass the frame" + ("; for numbers written 1,5 add decimal_comma=True" if guess == ";" else ""),
    )


def _names(header: str, separator: str, source: str, max_columns: int) -> tuple[str, ...]:
    where = f"{source}, line 1"
    if header.count(separator) >= max_columns:
        found = header.count(separator) + 1
        raise DataError(
            f"the header has {found:,} columns",
            where=where,
            expected=f"at most {max_columns:,}",
            hint="turn the table so that series stand below each other; or raise read_table's max_columns",
        )
    if header.count('"') % 2:
        raise DataError("a quote in the header is never closed", where=where, expected="pairs of quotes")
    if "\r" in header.removesuffix("\r"):
        raise DataError(
            "a carriage return stands inside the header",
            where=where,
            expected="lines that end with \\n or \\r\\n",
        )
    names = tuple(name.strip() for name in next(csv.reader([header.replace("\n", " ")], delimiter=separator)))
    for index, name in enumerate(names):
        if name and name in names[:index]:
            raise DataError(
                f"the name {quote_value(name)} stands twice, in columns {names.index(name) + 1} and "
                f"{index + 1}",
                where=where,
                expected="a different name for each column",
                hint="rename one of the two",
            )
    if names.count("") > 1:
        raise DataError("two columns have no name", where=where, expected="a name for each column")
    if all(_is_number(name) for name in names):
        raise DataError(
            f"the first line holds numbers only: {quote_value(header)}",
            where=where,
            expected="a header of names",
            hint="write the names of the columns as first line",
        )
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_unpacked_size(file: Path, source: str) -> None:
    """A small packed file may unpack to more than the memory holds: look before Polars does."""
    if not file.name.lower().endswith(".gz"):
        return
    limit = max(_UNPACKED_LIMIT_BYTES, _UNPACKED_RATIO * file.stat().st_size)
    unpacked = 0
    with open_bytes(file) as stream:
        while chunk := stream.read(1 << 22):
            unpacked += len(chunk)
            if unpacked > limit:
                raise DataError(
                    f"the file unpacks to more than {limit:,} bytes",
                    where=source,
                    expected=f"at most {_UNPACKED_RATIO} times its packed size or 1 GiB",
                    hint="unpack it yourself if you trust it",
                )
