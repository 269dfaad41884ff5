"""The text format of the UCR archive of 2018: a case per line, its label first, tabs between the values."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatestack.data.collections.gather import collect, plain_label, without_missing_end
from gatestack.data.collections.labelled import LabelledSequences, TargetKind
from gatestack.data.collections.lines import check_file, numbered_lines, numbers_of
from gatestack.errors import DataError

__all__ = ["looks_like_ucr", "read_ucr"]


def looks_like_ucr(path: str | Path) -> bool:
    """Tell whether the first line holds values already; a table begins with the names of its columns."""
    file, source = Path(path).expanduser(), str(path)
    check_file(file, source, (".tsv",))
    first = next((text for _, text in numbered_lines(file, source, comment=())), "")
    rest = first.split("\t")[1:]
    return bool(rest) and all(re.match(r"\s*(?:[-+.\d]|NaN|nan|\?)", cell) for cell in rest)


def read_ucr(path: str | Path, *, kind: TargetKind = "classes") -> LabelledSequences:
    """Read a `.tsv` file of the UCR archive. NaN at the end of a line ends the case: it is the shorter one.

    Args:
        path: of the file.
        kind: what the first number of a line is read as; `1`, `1.0` and `1e0` name one class.

    Raises:
        DataError: a line that breaks the format; names file, line and position.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / "tiny.tsv"
        >>> _ = path.write_text("1\\t0.5\\t0.25\\n2\\t0.5\\tNaN\\n")
        >>> read_ucr(path)
        LabelledSequences(2 sequences, 3 steps, 1 feature, float64; classes: 1, 2)
        >>> folder.cleanup()
    """
    file, source = Path(path).expanduser(), str(path)
    check_file(file, source, (".tsv",))
    values: list[npt.NDArray[np.float64]] = []
    labels: list[str] = []
    lines: list[int] = []
    width = 0
    for number, text in numbered_lines(file, source, comment=()):
        where = f"{source}, line {number}"
        label, sign, rest = text.partition("\t")
        if not sign:
            raise DataError(
                "the line has no tab", where=where, expected="the label, then values, tabs between"
            )
        width = width or rest.count("\t") + 1
        if rest.count("\t") + 1 != width:
            raise DataError(
                f"the line has {rest.count(chr(9)) + 1} values",
                where=where,
                expected=f"{width}, as in line {lines[0]}",
                hint="fill shorter cases up with NaN at their end",
            )
        values.append(without_missing_end(numbers_of(rest, where, separator="\t"))[:, None])
        if label.strip() in ("", "NaN", "?"):
            raise DataError("the label is missing", where=where, expected="a class or a number first")
        labels.append(plain_label(label.strip()))
        lines.append(number)
    return collect(values, labels, lines, kind=kind, source=source)
