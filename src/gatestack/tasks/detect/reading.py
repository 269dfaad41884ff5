"""Reading what a detector is given: tables of values, and the truth as a column or as windows of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.frames import Frame, as_polars
from gatestack.data.frequency import Frequency
from gatestack.data.places import row_place
from gatestack.data.series_table import SeriesTable
from gatestack.data.table_columns import TIME_NAMES
from gatestack.data.time_column import read_time
from gatestack.errors import ArgumentError, DataError, nearest_name, quote_value
from gatestack.tasks.detect.fitted import FittedDetector

__all__ = ["LARGEST_VALUE", "NoTruthError", "Windows", "read_like_fit", "read_truth", "read_values"]

Windows = Sequence[tuple[Any, Any]] | Mapping[str, Sequence[tuple[Any, Any]]]
BoolArray = npt.NDArray[np.bool_]


LARGEST_VALUE = 1e60
"""Squares of larger numbers, in units of the training part, would not be finite."""


class NoTruthError(DataError):
    """The data is good for predicting, and says nothing that alarms could be scored on."""


def read_values(
    frame: Frame,
    *,
    values: Sequence[str] | None,
    time: str | None,
    series: str | None,
    frequency: str | int | Frequency | None,
    label: str,
    source: str,
) -> SeriesTable:
    """Read a table of one or many series with one or many value columns.

    Args:
        frame: path or frame.
        values: names of the value columns; None takes all columns of numbers but time, key and label.
        time: column of times; None finds it.
        series: column of keys; None takes `unique_id` if there is one.
        frequency: the step; None finds it.
        label: column that is never read as a value unless it is named.
        source: name for messages.

    Raises:
        DataError: a value that cannot be used. ArgumentError: no such column, or no column of numbers.
    """
    data = as_polars(frame, source)
    names = _value_columns(data, time, series, label) if values is None else list(values)
    if not names or isinstance(values, str):
        raise ArgumentError(
            f"values= is {values!r}" if values is not None else "there is no column of numbers",
            where=source,
            expected="at least one value column, in a list",
        )
    table = SeriesTable.from_frame(
        data,
        target=names[0],
        time=time,
        series=series,
        past=names[1:],
        frequency=frequency,
        source=source,
        dtype="float64",
    )
    if len(table.sequences.values) and float(np.nanmax(np.abs(table.sequences.values))) > LARGEST_VALUE:
        _refuse_large(data, names, source)
    return table


def _value_columns(data: pl.DataFrame, time: str | None, series: str | None, label: str) -> list[str]:
    used = {time, series or "unique_id", label}
    return [
        name
        for name in data.columns
        if name not in used
        and (time is not None or name.lower() not in TIME_NAMES)
        and (data[name].dtype.is_numeric() or _mostly_numbers(data[name]))
    ]


def _mostly_numbers(column: pl.Series) -> bool:
    """Tell a column of numbers with a word in it, whose place is named when it is read, from words."""
    if column.dtype != pl.String:
        return False
    return int(column.cast(pl.Float64, strict=False).is_not_null().sum()) > len(column) / 2


def _refuse_large(data: pl.DataFrame, names: list[str], source: str) -> NoReturn:
    for name in names:
        rows = (data[name].cast(pl.Float64, strict=False).abs() > LARGEST_VALUE).arg_true()
        if len(rows):
            place, value = row_place(source, int(rows[0]), name, value=data[name][int(rows[0])])
            raise DataError(
                f"{value} is too large",
                where=place,
                expected=f"numbers up to {LARGEST_VALUE:g}",
                hint="leave the cell empty where the value is missing, or scale the column down",
            )
    raise RuntimeError("no value of the table is as large as the series say")


def read_like_fit(fitted: FittedDetector, frame: Frame, source: str) -> SeriesTable:
    """Read a table with the columns and the step of the fit.

    Raises:
        DataError: other columns, or another kind of time.
    """
    columns = fitted.columns
    data = as_polars(frame, source)
    absent = [name for name in columns.all if name not in data.columns]
    if absent:
        raise DataError(
            f"the column {quote_value(absent[0])} of the fit is missing",
            where=source,
            expected=f"the columns {', '.join(columns.all)}",
            hint=nearest_name(absent[0], data.columns),
        )
    table = read_values(
        data,
        values=columns.features,
        time=columns.time,
        series=columns.series,
        frequency=fitted.frequency,
        label=fitted.label,
        source=source,
    )
    if (table.time_kind.kind == "integer") != (fitted.time_kind.kind == "integer"):
        raise DataError(
            f"its times are of kind {table.time_kind.kind}", where=source, expected=fitted.time_kind.kind
        )
    return table


def read_truth(
    fitted: FittedDetector, table: SeriesTable, frame: Frame, windows: Windows | None, label: str | None
) -> BoolArray:
    """Tell which steps are anomalous.

    Args:
        fitted: knows the columns.
        table: the same frame, read by `read_like_fit`.
        frame: with a column of labels, unless there are windows.
        windows: first and last time of each anomaly; by key where there are several series.
        label: name of the column of labels; None takes that of the fit.

    Returns:
        (steps,) of all series, True within anomalies.

    Raises:
        NoTruthError: there is no column with the labels' name of the fit. DataError: no column `label`, or a
            label is neither 0 nor 1. ArgumentError: a window that cannot be read, or both are given.
    """
    if windows is not None:
        if label is not None:
            raise ArgumentError("windows= and label= are both given", where="evaluate", expected="one")
        return _within(table, windows)
    name = label or fitted.label
    data = as_polars(frame, table.source)
    if name not in data.columns:
        kind = NoTruthError if label is None else DataError
        raise kind(
            f"there is no column {quote_value(name)} of labels",
            where=table.source,
            expected="1 where a step is anomalous, 0 elsewhere",
            hint=f"{nearest_name(name, data.columns)}; or pass windows=[(start, end), …]",
        )
    if data[name].dtype == pl.Boolean:
        data = data.with_columns(pl.col(name).cast(pl.Int8))
    columns = fitted.columns
    labelled = SeriesTable.from_frame(
        data,
        target=columns.target,
        time=columns.time,
        series=columns.series,
        past=[name],
        frequency=table.frequency,
        source=table.source,
    )
    flags = labelled.sequences.values[:, 1]
    wrong = (flags != 0) & (flags != 1)
    if wrong.any():
        raise DataError(
            f"the label is {flags[wrong][0]:g}",
            where=f"{table.source}, column `{name}`",
            expected="1 where a step is anomalous, 0 elsewhere",
        )
    return np.asarray(flags == 1)


def _within(table: SeriesTable, windows: Windows) -> BoolArray:
    keys = table.sequences.keys or ()
    if not isinstance(windows, Mapping):
        if len(keys) > 1:
            raise ArgumentError(
                f"windows= is a list, and there are {len(keys)} series",
                where="evaluate",
                expected="a mapping: key → windows",
            )
        windows = {keys[0]: windows}
    truth = np.zeros(len(table.times), dtype=bool)
    for key, pairs in windows.items():
        if key not in keys:
            raise ArgumentError(
                f"windows= names the series {quote_value(key)}",
                where="evaluate",
                hint=nearest_name(key, keys),
            )
        row = keys.index(key)
        own = slice(table.sequences.offsets[row], table.sequences.offsets[row + 1])
        for first, last in pairs:
            begin, end = read_time(pl.Series("windows", [first, last]), source="windows")[0]
            times = table.times[own]
            if begin.dtype != times.dtype or end < begin:
                raise ArgumentError(
                    f"the window from {first} to {last}",
                    where="evaluate",
                    expected="two times as in the data, the earlier one first",
                )
            truth[own] |= (times >= begin) & (times <= end)
    return truth
