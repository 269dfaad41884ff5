"""Is a delimited text file sound? One fast pass over its bytes, in bounded memory.

The pass looks at every byte before Polars parses the file, because a parser that pads short rows or guesses
around a stray quote would change data without a word. It counts with NumPy, about a second per gigabyte; only
when something is wrong does `text_diagnosis` read the file again, slowly, to name the line and the column.

Quotes follow RFC 4180: a cell may be enclosed in `"`, a quote inside it is doubled.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

__all__ = ["CHUNK_BYTES", "TextScan", "scan_text"]

CHUNK_BYTES = 1 << 22
_NEWLINE, _RETURN, _QUOTE = 10, 13, 34


@dataclass
class TextScan:
    """What the pass has seen.

    Attributes:
        sound: False when a closer look must find what is wrong.
        rows: rows of data (the header and blank lines at the end not counted).
        blank_tail: blank lines at the end of the file.
    """

    sound: bool = True
    rows: int = 0
    blank_tail: int = 0


@dataclass
class _Carry:
    """What one chunk hands to the next."""

    quotes_odd: int = 0  # 1 inside a quoted cell
    separators: int = 0  # in the line so far
    line_bytes: int = 0
    cell_bytes: int = 0
    last_byte: int = _NEWLINE
    decoder: codecs.IncrementalDecoder = field(default_factory=codecs.getincrementaldecoder("utf-8"))


def scan_text(stream: BinaryIO, *, separator: str, columns: int, max_cell_bytes: int) -> TextScan:
    """Check that each row has as many cells as the header, and that bytes, quotes and sizes are in order.

    Args:
        stream: the bytes of the file, from its beginning.
        separator: one ASCII character.
        columns: number of cells that each row must have, at least 1.
        max_cell_bytes: longest cell that is accepted.

    Returns:
        A TextScan. After trouble the rest of the file is not read.

    Example:
        >>> import io
        >>> scan_text(io.BytesIO(b"a,b\\n1,2\\n3\\n"), separator=",", columns=2, max_cell_bytes=100).sound
        False
    """
    scan, carry = TextScan(rows=-1), _Carry()
    while chunk := stream.read(CHUNK_BYTES):
        if not _chunk_is_sound(chunk, scan, carry, ord(separator), columns - 1, max_cell_bytes):
            return TextScan(sound=False)
    try:
        carry.decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return TextScan(sound=False)
    if carry.line_bytes:  # the last line has no line end
        if carry.separators != columns - 1 or scan.blank_tail:
            return TextScan(sound=False)
        scan.rows += 1
    scan.sound = not carry.quotes_odd
    return scan


def _chunk_is_sound(
    chunk: bytes, scan: TextScan, carry: _Carry, separator: int, separators: int, max_cell_bytes: int
) -> bool:
    if not chunk.isascii() or carry.decoder.getstate()[0]:
        try:
            carry.decoder.decode(chunk)
        except UnicodeDecodeError:
            return False
    if b"\0" in chunk:
        return False
    data = np.frombuffer(chunk, dtype=np.uint8)
    marks = _marks(chunk, data, carry, separator)  # positions of separators and line ends, outside quotes
    if not marks.size:
        carry.cell_bytes += data.size
        carry.line_bytes += data.size
        carry.last_byte = int(data[-1])
        return carry.cell_bytes <= max_cell_bytes
    longest = max(int(marks[0]) + carry.cell_bytes, int(np.diff(marks).max(initial=0)) - 1)
    carry.cell_bytes = data.size - 1 - int(marks[-1])
    if max(longest, carry.cell_bytes) > max_cell_bytes:
        return False

    at_end = np.flatnonzero(data[marks] == _NEWLINE)
    if not at_end.size:
        carry.separators += int(marks.size)
        carry.line_bytes += data.size
        carry.last_byte = int(data[-1])
        return True
    ends = marks[at_end]
    found = np.diff(at_end, prepend=-1) - 1  # separators in each line that ends here; the first began earlier
    found[0] += carry.separators
    lengths = np.diff(ends, prepend=-1 - carry.line_bytes) - 1
    blank = lengths == 0
    single = np.flatnonzero(lengths == 1)  # blank too when its one byte is a carriage return
    before = np.where(ends[single] > 0, data[ends[single] - 1], carry.last_byte)
    blank[single] = before == _RETURN
    if not _rows_are_sound(found, blank, scan, separators):
        return False
    carry.line_bytes = data.size - 1 - int(ends[-1])
    carry.separators = int(marks.size) - 1 - int(at_end[-1])
    carry.last_byte = int(data[-1])
    return True


def _marks(chunk: bytes, data: npt.NDArray[np.uint8], carry: _Carry, separator: int) -> npt.NDArray[np.int64]:
    is_mark = (data == _NEWLINE) | (data == separator)
    if carry.quotes_odd or b'"' in chunk:
        # The sum may wrap at 256: only its lowest bit is used.
        odd = np.cumsum(data == _QUOTE, dtype=np.uint8)
        odd += np.uint8(carry.quotes_odd)
        odd &= 1
        is_mark &= odd == 0
        carry.quotes_odd = int(odd[-1])
    return np.flatnonzero(is_mark)


def _rows_are_sound(
    found: npt.NDArray[np.int64], blank: npt.NDArray[np.bool_], scan: TextScan, separators: int
) -> bool:
    # With one column a blank line is a row whose cell is missing; with more it may stand at the end only.
    if separators == 0 or not blank.any():
        if scan.blank_tail or np.any(found != separators):
            return False
        scan.rows += int(found.size)
        return True
    first_blank = int(np.argmax(blank))
    if not blank[first_blank:].all() or (scan.blank_tail and first_blank):
        return False
    if np.any(found[:first_blank] != separators):
        return False
    scan.rows += first_blank
    scan.blank_tail += int(found.size) - first_blank
    return True
