"""Labelled sequences from a table: wide, a case per row, or long, a step per row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.collections.gather import without_missing_end
from gatestack.data.collections.labelled import LabelColumns, LabelledSequences, TargetKind
from gatestack.data.number_column import write_number_column
from gatestack.data.places import row_place, rows_place
from gatestack.data.sequences import Sequences
from gatestack.errors import ArgumentError, DataError, nearest_name

__all__ = ["from_table"]

_LABEL_NAMES = ("label", "class", "target")
_CASE_NAMES = ("case", "case_id", "unique_id")


def from_table(
    frame: pl.DataFrame,
    *,
    columns: LabelColumns,
    kind: TargetKind = "classes",
    need_labels: bool = True,
    source: str = "frame",
) -> LabelledSequences:
    """Read a table whose rows are cases, or steps of cases where there is a column of cases.

    Args:
        frame: the table.
        columns: which column holds what; open are: the label, the only one called label, class or target;
            the case, one called case, case_id or unique_id, without which each row is a case.
        kind: what the labels are read as.
        need_labels: refuse a table without a column of labels.
        source: file or name for messages.

    Returns:
        Wide: one feature, its steps in the order of the columns; missing cells at the end of a row end the
        case. Long: a feature for each other column, the steps in the order of the rows.

    Raises:
        DataError: a value, label or time that cannot be used; names line and column.
        ArgumentError: a column that does not exist.

    Example:
        >>> long = pl.DataFrame({"case": [1, 1, 2], "x": [0.5, 1.0, 2.0], "label": ["a", "a", "b"]})
        >>> from_table(long, columns=LabelColumns())
        LabelledSequences(2 sequences, 3 steps, 1 feature, float64; classes: a, b)
    """
    label = _find("label", columns.label, _LABEL_NAMES, frame, source)
    case = _find("case", columns.case, _CASE_NAMES, frame, source)
    time = _find("time", columns.time, (), frame, source)
    if label is None and need_labels:
        raise ArgumentError(
            "which column holds the labels is not known",
            where=source,
            expected=f"a column called {', '.join(_LABEL_NAMES)}",
            hint="name it with label=…; " + nearest_name("label", frame.columns),
        )
    if time is not None and case is None:
        raise ArgumentError(
            "a column of times, but none of cases",
            where=source,
            expected="case=… as well",
            hint="without it each row is a case, and no row has a time",
        )
    names = [name for name in frame.columns if name not in (label, case, time)]
    if not names:
        raise DataError("no column is left for the values", where=source, expected="one or more")
    used = LabelColumns(label=label, case=case, time=time)
    values = np.empty((frame.height, len(names)))
    for at, name in enumerate(names):
        write_number_column(frame[name], values[:, at], role="value", source=source)
    if case is None:
        sequences, first = _wide(values, source), np.arange(frame.height)
    else:
        sequences, first = _long(frame, values, used, names, source)
    if label is None:
        return LabelledSequences(sequences, source=source, columns=used)
    return _labelled(sequences, frame[label], first, kind, used, source)


def _find(
    role: str, given: str | None, usual: tuple[str, ...], frame: pl.DataFrame, source: str
) -> str | None:
    if given is not None:
        if given not in frame.columns:
            # A table to predict may lack the labels, and nothing else.
            if role == "label" and not any(name in frame.columns for name in usual):
                return None
            raise ArgumentError(
                f"there is no column {given!r}", where=source, hint=nearest_name(given, frame.columns)
            )
        return given
    found = [name for name in frame.columns if name.lower() in usual]
    if len(found) > 1:
        raise ArgumentError(
            f"the columns {found[0]!r} and {found[1]!r} could both be the {role}",
            where=source,
            hint=f"name one with {role}=…",
        )
    return found[0] if found else None


def _wide(values: npt.NDArray[np.float64], source: str) -> Sequences:
    cases = [without_missing_end(row)[:, None] for row in values]
    for row, case in enumerate(cases):
        if not len(case):
            raise DataError("the case has no values", where=row_place(source, row)[0], expected="one or more")
    return Sequences.from_arrays(cases)


def _long(
    frame: pl.DataFrame,
    values: npt.NDArray[np.float64],
    columns: LabelColumns,
    names: list[str],
    source: str,
) -> tuple[Sequences, npt.NDArray[np.int64]]:
    """Gather the rows of each case; also give the first row of each."""
    key = frame[columns.case or ""]
    if key.null_count():
        row = int(key.is_null().arg_true()[0])
        raise DataError("the case is missing", where=row_place(source, row, columns.case)[0])
    rows = key.to_frame("case").with_row_index("row").group_by("case", maintain_order=True).agg("row")
    members = [np.asarray(found, dtype=np.int64) for found in rows["row"].to_list()]
    if columns.time is not None:
        _check_rising(frame[columns.time], members, source)
    if columns.label is not None:
        _check_constant(frame[columns.label], members, source)
    return (
        Sequences.from_arrays(
            [values[at] for at in members], names=names, keys=[str(name) for name in rows["case"]]
        ),
        np.array([at[0] for at in members]),
    )


def _check_rising(time: pl.Series, members: list[npt.NDArray[np.int64]], source: str) -> None:
    if time.null_count():
        row = int(time.is_null().arg_true()[0])
        raise DataError("the time is missing", where=row_place(source, row, time.name)[0])
    for rows in members:
        stamps = time.gather(rows)
        falls = (stamps.shift(-1) <= stamps).fill_null(False).arg_true().to_numpy()
        if len(falls):
            raise DataError(
                "the time does not rise within the case",
                where=rows_place(source, [int(rows[at + 1]) for at in falls], time.name),
                expected="each time once, in order",
                hint="sort the rows by case and time",
            )


def _check_constant(label: pl.Series, members: list[npt.NDArray[np.int64]], source: str) -> None:
    for rows in members:
        part = label.gather(rows)
        other = (part.ne_missing(part[0])).arg_true()
        if len(other):
            row = int(rows[int(other[0])])
            place, value = row_place(source, row, label.name, value=label[row])
            raise DataError(
                f"the label is {value}, but {part[0]!r} in the first row of the case",
                where=place,
                expected="one label for all rows of a case",
            )


def _labelled(
    sequences: Sequences,
    label: pl.Series,
    rows: npt.NDArray[np.int64],
    kind: TargetKind,
    columns: LabelColumns,
    source: str,
) -> LabelledSequences:
    if kind == "numbers":
        written = np.empty(len(label))
        write_number_column(label, written, source=source, role="target")
        targets = written[rows]
        missing = np.isnan(targets)
    else:
        label = label.gather(rows)
        missing = label.is_null().to_numpy()
    if missing.any():
        row = int(rows[int(np.argmax(missing))])
        raise DataError(
            f"the {'label' if kind == 'classes' else 'target value'} is missing",
            where=row_place(source, row, label.name)[0],
            hint="leave the case out",
        )
    if kind == "numbers":
        return LabelledSequences(sequences, targets=targets, source=source, columns=columns)
    if label.dtype.is_float() and not (label == label.round()).all():
        raise DataError(
            f"the labels are fractions, such as {label.filter(label != label.round())[0]}",
            where=f"{source}, column {label.name!r}",
            expected="names of classes, text or whole numbers",
            hint="use Regressor (fit regress) to predict numbers",
        )
    if label.dtype.is_numeric() and not label.dtype.is_integer():
        label = label.cast(pl.Int64)
    names = label.cast(pl.String).to_numpy().astype(str)
    classes = tuple(str(name) for name in np.unique(names))
    return LabelledSequences(sequences, names, classes=classes, source=source, columns=columns)
