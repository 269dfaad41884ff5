"""One door for labelled sequences: a path of any known format, a frame, arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gatestack.data.collections.arff_format import read_arff
from gatestack.data.collections.arrays import sequences_from
from gatestack.data.collections.labelled import LabelColumns, LabelledSequences, TargetKind
from gatestack.data.collections.tables import from_table
from gatestack.data.collections.ts_format import read_ts
from gatestack.data.collections.ucr_format import looks_like_ucr, read_ucr
from gatestack.data.frames import as_polars
from gatestack.errors import ArgumentError, check_choice

__all__ = ["read_labelled"]


def read_labelled(
    data: Any,
    labels: npt.ArrayLike | None = None,
    *,
    kind: TargetKind = "classes",
    label: str | None = None,
    case: str | None = None,
    time: str | None = None,
    layout: Literal["time_first", "channels_first"] = "time_first",
    need_labels: bool = True,
) -> LabelledSequences:
    """Read labelled sequences from a file, a frame or arrays.

    Args:
        data: a path that ends in .ts, .arff, .tsv, .csv, .txt or .parquet; a pandas, Polars or Arrow frame;
            an array (cases, steps) or (cases, steps, channels); a list of arrays (steps,) or
            (steps, channels); or `Sequences`.
        labels: (cases,) for arrays and `Sequences`, which bring none.
        kind: read the labels as names of `"classes"` or as `"numbers"` to be predicted.
        label: column of labels in a table or ARFF file; None takes `label`, `class` or `target`.
        case: column that says to which case a row belongs; None takes `case`, `case_id` or `unique_id`, and
            where there is none each row is a case.
        time: column of times within a case, which must rise; the values are taken in the order of the rows.
        layout: of arrays: `"time_first"` as everywhere in Gatestack, or `"channels_first"`, (cases, channels,
            steps), as aeon and sktime have it.
        need_labels: False also takes data without labels, for prediction.

    Returns:
        The sequences with labels or targets. Values that are missing have `observed` False.

    Raises:
        DataError: the data cannot be used; names file, line and position.
        ArgumentError: an argument does not fit the data, or the layout of an array is in doubt.

    Example:
        >>> read_labelled(np.zeros((3, 5, 2)), [1, 2, 1]).sequences
        Sequences(3 sequences, 15 steps, 2 features, float64)
    """
    check_choice("kind", kind, ("classes", "numbers"), owner="read_labelled")
    check_choice("layout", layout, ("time_first", "channels_first"), owner="read_labelled")
    columns = LabelColumns(label=label, case=case, time=time)
    if isinstance(data, str | Path):
        _no_labels(labels, data)
        return _read_path(data, kind, columns, need_labels)
    if isinstance(data, LabelledSequences):
        _no_labels(labels, "LabelledSequences")
        return data
    if hasattr(data, "collect_schema") or hasattr(data, "columns"):
        _no_labels(labels, "a frame")
        return from_table(as_polars(data), columns=columns, kind=kind, need_labels=need_labels)
    sequences = sequences_from(data, channels_first=layout == "channels_first")
    if labels is None and need_labels:
        raise ArgumentError("labels are missing", where="read_labelled", expected="one for each case")
    return _with_labels(sequences, labels, kind)


def _with_labels(sequences: Any, labels: npt.ArrayLike | None, kind: TargetKind) -> LabelledSequences:
    """Put sequences and an array of labels or targets together."""
    if labels is None:
        return LabelledSequences(sequences)
    given = np.asarray(labels)
    if kind == "classes":
        return LabelledSequences(sequences, given, classes=tuple(np.unique(given).tolist()))
    try:
        numbers = given.astype(np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(
            f"the targets have dtype {given.dtype}", where="labels", expected="numbers"
        ) from None
    if not np.isfinite(numbers).all():
        raise ArgumentError(
            f"target {int(np.argmin(np.isfinite(numbers)))} is not finite", where="labels", expected="numbers"
        )
    return LabelledSequences(sequences, targets=numbers)


def _read_path(
    path: str | Path, kind: TargetKind, columns: LabelColumns, need_labels: bool
) -> LabelledSequences:
    ending = Path(path).suffix.lower()
    ucr = ending == ".tsv" and looks_like_ucr(path)
    unread = [name for name in ("case", "time") if getattr(columns, name) is not None]
    unread += ["label"] if columns.label is not None and ending != ".arff" else []
    if unread and (ending in (".ts", ".arff") or ucr):
        raise ArgumentError(
            f"the file has no columns, so {unread[0]}=… names nothing", where=str(path), expected="a table"
        )
    if ending == ".ts":
        return read_ts(path, kind=kind, need_labels=need_labels)
    if ending == ".arff":
        return read_arff(path, kind=kind, label=columns.label, need_labels=need_labels)
    if ucr:
        return read_ucr(path, kind=kind)
    return from_table(as_polars(path), columns=columns, kind=kind, need_labels=need_labels, source=str(path))


def _no_labels(labels: npt.ArrayLike | None, data: object) -> None:
    if labels is not None:
        raise ArgumentError(
            "labels are given beside data that brings its own",
            where=f"read_labelled({data})",
            expected="none",
        )
