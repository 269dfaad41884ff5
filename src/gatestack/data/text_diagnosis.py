"""What is wrong with a delimited text file, and where: the slow pass that names line, column and value.

It runs only after `text_scan` found trouble. It goes line by line with memory bounded by one line and ends
with the first fault.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from typing import BinaryIO, NoReturn

from gatestack.errors import DataError, quote_value

__all__ = ["diagnose_text", "guess_encoding", "refuse_encoding"]

_LONGEST_LINE_BYTES = 1 << 26


@dataclass
class _Record:
    """A row in the making: its cells so far, and where its last quote was opened."""

    line: int
    cells: list[str] = field(default_factory=list)
    cell: list[str] = field(default_factory=list)
    quoted: bool = False  # inside quotes now
    closed: bool = False  # just after a closing quote
    quote_line: int = 0
    quote_column: int = 0
    cell_bytes: int = 0  # of the quoted cell, counted by line


def diagnose_text(
    stream: BinaryIO, *, source: str, separator: str, columns: tuple[str, ...], max_cell_bytes: int
) -> None:
    """Raise the error for the first fault of a delimited file; return when none is found.

    Args:
        stream: the bytes of the file, from its beginning.
        source: path, for messages.
        separator: one character.
        columns: the names in the header.
        max_cell_bytes: longest cell that is accepted.

    Raises:
        DataError: naming file, line, column and value.

    Example:
        >>> import io
        >>> diagnose_text(io.BytesIO(b"a,b\\n1,2\\n3\\n"), source="x.csv", separator=",", columns=("a", "b"),
        ...               max_cell_bytes=100)
        Traceback (most recent call last):
        ...
        gatestack.errors.DataError: x.csv, line 3: the row has 1 cell, '3' — expected 2 cells: a, b
        <BLANKLINE>
        hint: cells are missing from column 'b' on: fill the row, with empty cells where values are missing
    """
    line, blank_line = 0, 0
    record: _Record | None = None
    while raw := stream.readline(_LONGEST_LINE_BYTES + 1):
        line += 1
        if len(raw) > _LONGEST_LINE_BYTES:
            _refuse_long_cell(f"{source}, line {line}", raw[:80].decode("utf-8", "replace"), max_cell_bytes)
        text = _decoded(raw, source, line, separator, columns)
        if record is None:
            if not text.strip("\r\n") and len(columns) > 1:
                blank_line = blank_line or line
                continue
            if blank_line:
                raise DataError(
                    "the line is blank",
                    where=f"{source}, line {blank_line}",
                    expected=f"{len(columns)} cells: {_listed(columns)}",
                    hint="delete the blank line (blank lines are accepted at the end of a file only)",
                )
            record = _Record(line=line)
        _read_line(record, text, line, source, separator, columns)
        if not record.quoted:
            _check_row(record, source, columns, max_cell_bytes)
            record = None
        elif record.cell_bytes > max_cell_bytes:
            _refuse_unclosed(record, source, columns)
    if record is not None:
        _refuse_unclosed(record, source, columns)


def _read_line(
    record: _Record, text: str, line: int, source: str, separator: str, columns: tuple[str, ...]
) -> None:
    """Add the characters of one line to the record."""
    if not record.quoted and '"' not in text:
        record.cells.extend(text.rstrip("\r\n").split(separator))
        return
    if record.quoted:
        record.cell_bytes += len(text)
        if '"' not in text:
            record.cell.append(text)
            return
    characters = text if text.endswith("\n") else text + "\n"
    for sign in characters:
        if record.quoted:
            if sign == '"':
                record.quoted, record.closed = False, True
            else:
                record.cell.append(sign)
        elif sign == '"':
            if record.closed:  # a doubled quote inside a quoted cell
                record.cell.append('"')
                record.quoted, record.closed = True, False
            elif record.cell:
                name = _name(columns, len(record.cells))
                raise DataError(
                    f"a quote stands inside the cell that begins with {quote_value(''.join(record.cell))}",
                    where=f"{source}, line {line}, column {name}",
                    expected='a cell that has quotes only around it, and "" for a quote inside',
                    hint='write the whole cell in quotes and double the quote inside: "5"" pipe"',
                )
            else:
                record.quoted, record.quote_line, record.quote_column = True, line, len(record.cells)
                record.cell_bytes = 0
        elif sign in (separator, "\n"):
            record.cells.append("".join(record.cell))
            record.cell, record.closed = [], False
        elif record.closed and sign != "\r":
            name = _name(columns, len(record.cells))
            raise DataError(
                f"{quote_value(sign)} follows the closing quote of {quote_value(''.join(record.cell))}",
                where=f"{source}, line {line}, column {name}",
                expected=f"{quote_value(separator)} or the end of the line after a closing quote",
                hint='a quote inside a quoted cell is written twice: ""',
            )
        elif sign != "\r":
            record.cell.append(sign)


def _check_row(record: _Record, source: str, columns: tuple[str, ...], max_cell_bytes: int) -> None:
    where, found = f"{source}, line {record.line}", len(record.cells)
    for index, cell in enumerate(record.cells):
        if len(cell.encode()) > max_cell_bytes:
            _refuse_long_cell(f"{where}, column {_name(columns, index)}", cell, max_cell_bytes)
    rule = f"{len(columns)} cells: {_listed(columns)}"
    if found < len(columns):
        cells = "1 cell" if found == 1 else f"{found} cells"
        raise DataError(
            f"the row has {cells}, {quote_value(record.cells[-1])}" + ("" if found == 1 else " is the last"),
            where=where,
            expected=rule,
            hint=f"cells are missing from column {quote_value(columns[found])} on: fill the row, with empty "
            "cells where values are missing",
        )
    if found > len(columns):
        raise DataError(
            f"the row has {found} cells, {quote_value(record.cells[len(columns)])} is too much",
            where=where,
            expected=rule,
            hint="a text or number that holds the separator must stand in quotes; or the header lacks a name",
        )


def _decoded(raw: bytes, source: str, line: int, separator: str, columns: tuple[str, ...]) -> str:
    where = f"{source}, line {line}"
    nul = raw.find(b"\0")
    if nul >= 0:
        name = _name(columns, raw[:nul].decode("utf-8", "replace").count(separator))
        raise DataError(
            f"a NUL byte (0x00) at byte {nul + 1} of the line",
            where=f"{where}, column {name}",
            expected="text",
            hint="the file is damaged or is not a text file: write it again from its source",
        )
    try:
        return raw.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        bad = raw[error.start]
        encoding = guess_encoding(raw)
        shown = raw.decode(encoding, "replace").strip().split(separator)
        column = min(before.count(separator), len(shown) - 1)
        raise DataError(
            f"byte 0x{bad:02x} is not UTF-8 (as {encoding} the cell reads {quote_value(shown[column])})",
            where=f"{where}, column {_name(columns, column)}",
            expected="text in UTF-8",
            hint=_encoding_hint(source, encoding),
        ) from None


def guess_encoding(raw: bytes) -> str:
    """Guess the encoding of bytes that are not UTF-8.

    Example:
        >>> guess_encoding("é".encode("cp1252"))
        'Windows-1252'
    """
    for mark, name in (
        (codecs.BOM_UTF32_LE, "UTF-32"),
        (codecs.BOM_UTF16_LE, "UTF-16"),
        (codecs.BOM_UTF16_BE, "UTF-16"),
    ):
        if raw.startswith(mark):
            return name
    sample = raw[:4096]
    if sample[1::2].count(0) > len(sample) // 4:
        return "UTF-16LE"
    if sample[0::2].count(0) > len(sample) // 4:
        return "UTF-16BE"
    for candidate, name in (("gb18030", "GB18030"), ("cp1252", "Windows-1252")):
        # A lone high byte between ASCII letters is not Chinese text.
        high = sum(byte > 0x7F for byte in sample)
        if candidate == "gb18030" and high < 4:
            continue
        try:
            text = sample.decode(candidate)
        except UnicodeDecodeError:
            continue
        if candidate == "cp1252" or sum("一" <= sign <= "鿿" for sign in text) * 2 >= high * 0.9:
            return name
    return "Latin-1"


def refuse_encoding(source: str, encoding: str) -> NoReturn:
    """Raise the error for a file whose first bytes show another encoding than UTF-8."""
    raise DataError(
        f"the file is encoded in {encoding}",
        where=f"{source}, line 1",
        expected="text in UTF-8",
        hint=_encoding_hint(source, encoding),
    )


def _encoding_hint(source: str, encoding: str) -> str:
    code = "CP1252" if encoding == "Windows-1252" else encoding
    return f"save the file as UTF-8, for instance: iconv -f {code} -t UTF-8 {source} > utf8.csv"


def _refuse_unclosed(record: _Record, source: str, columns: tuple[str, ...]) -> NoReturn:
    raise DataError(
        f"the quote that opens here is never closed, before {quote_value(''.join(record.cell).strip())}",
        where=f"{source}, line {record.quote_line}, column {_name(columns, record.quote_column)}",
        expected="a closing quote before the next separator",
        hint="close the quote, or delete it",
    )


def _refuse_long_cell(where: str, cell: str, limit: int) -> NoReturn:
    raise DataError(
        f"the cell is longer than {limit:,} bytes, it begins {quote_value(cell)}",
        where=where,
        expected=f"cells of at most {limit:,} bytes",
        hint="a quote or a line end may be missing; if the cell is right, raise read_table's max_cell_bytes",
    )


def _name(columns: tuple[str, ...], index: int) -> str:
    return quote_value(columns[index]) if index < len(columns) else f"{index + 1} (beyond the header)"


def _listed(columns: tuple[str, ...]) -> str:
    return ", ".join(columns[:8]) + (f" and {len(columns) - 8} more" if len(columns) > 8 else "")
