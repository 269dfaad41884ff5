"""The values of a table's columns as the model's matrix: numbers as they are, categories as codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.category_column import find_categories, holds_categories, write_category_column
from gatestack.data.number_column import write_number_column
from gatestack.data.places import row_place
from gatestack.data.series_grid import SeriesGrid
from gatestack.data.table_columns import Columns
from gatestack.errors import ArgumentError, DataError, quote_value

__all__ = ["Categories", "categories_of", "static_values", "step_values"]

Categories: TypeAlias = Mapping[str, tuple[str, ...]]
"""The names in each column of categories."""


def categories_of(data: pl.DataFrame, columns: Columns, source: str | None) -> dict[str, tuple[str, ...]]:
    """Find which past, future and static columns hold categories, and their names.

    Args:
        data: the table.
        columns: its columns by role.
        source: file or name for messages.

    Example:
        >>> frame = pl.DataFrame({"key": ["a", "b"], "ds": [1, 1], "y": [1, 2], "kind": ["shop", "web"]})
        >>> columns = Columns(time="ds", series="key", target="y", static=("kind",))
        >>> categories_of(frame, columns, None)
        {'kind': ('shop', 'web')}
    """
    names = (*columns.past, *columns.future, *columns.static)
    return {
        name: find_categories(data[name], source=source)
        for name in names
        if holds_categories(data[name], static=name in columns.static)
    }


def step_values(
    data: pl.DataFrame,
    columns: Columns,
    categories: Categories,
    grid: SeriesGrid,
    dtype: np.dtype[np.floating],
    source: str | None,
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.bool_] | None]:
    """Fill the one matrix of target, past and future columns, column by column.

    Args:
        data: the table.
        columns: its columns by role.
        categories: the names in each column of categories.
        grid: where each row stands.
        dtype: of the matrix.
        source: file or name for messages.

    Returns:
        Values (steps, columns), and where they were observed, None for everywhere. Unobserved ones are 0.

    Raises:
        DataError: a value that is no number; names row, column and value.
    """
    roles = ["target"] + ["past"] * len(columns.past) + ["future"] * len(columns.future)
    steps = int(grid.offsets[-1])
    values = np.empty((steps, len(roles)), dtype=dtype)
    if steps > data.height:
        values.fill(np.nan)
    observed: npt.NDArray[np.bool_] | None = None
    for index, (name, role) in enumerate(zip(columns.features, roles, strict=True)):
        if name in categories:
            write_category_column(data[name], values[:, index], categories[name], grid.places)
            continue
        write_number_column(data[name], values[:, index], grid.places, role=role, source=source)
        missing = np.isnan(values[:, index])
        if missing.any():
            if observed is None:
                observed = np.ones(values.shape, dtype=np.bool_)
            observed[:, index] = ~missing
            values[missing, index] = 0.0
    return values, observed


def static_values(
    data: pl.DataFrame,
    columns: Columns,
    categories: Categories,
    numbers: npt.NDArray[np.int32],
    keys: tuple[str, ...],
    source: str | None,
) -> npt.NDArray[np.float32] | None:
    """Read the static columns, which have one value per series.

    Args:
        data: the table.
        columns: its columns by role.
        categories: the names in each column of categories.
        numbers: (rows,) the series of each row, from 0.
        keys: name of each series.
        source: file or name for messages.

    Returns:
        (series, static columns), None where there is no such column.

    Raises:
        DataError: a value that is no number, is missing, or differs inside a series.
        ArgumentError: the table has no column of keys.
    """
    names = columns.static
    if not names:
        return None
    if columns.series is None:
        raise ArgumentError(
            "static columns are named, but there is one series only",
            where=source or "frame",
            expected="several series",
            hint="leave static= out, or name the key with series=",
        )
    _, first_rows = np.unique(numbers, return_index=True)
    table = np.empty((len(keys), len(names)), dtype=np.float32)
    column = np.empty(data.height, dtype=np.float32)
    for index, name in enumerate(names):
        if name in categories:
            write_category_column(data[name], column, categories[name])
        else:
            write_number_column(data[name], column, role="static", source=source)
        table[:, index] = column[first_rows]
        differs = column != table[numbers, index]  # NaN differs from itself
        if differs.any():
            _refuse_varying(data[name], int(np.argmax(differs)), column, numbers, first_rows, keys, source)
    return table


def _refuse_varying(
    values: pl.Series,
    row: int,
    column: npt.NDArray[np.float32],
    numbers: npt.NDArray[np.int32],
    first_rows: npt.NDArray[np.int64],
    keys: tuple[str, ...],
    source: str | None,
) -> NoReturn:
    key = quote_value(keys[numbers[row]])
    place, value = row_place(source, row, values.name, value=values[row])
    if np.isnan(column[row]):
        raise DataError(
            f"the static value of series {key} is missing",
            where=place,
            expected="a number in every row",
        )
    raise DataError(
        f"series {key} has {value} here and {quote_value(values[int(first_rows[numbers[row]])])} before",
        where=place,
        expected="one value per series in a static column",
        hint="a column that varies in time belongs in past= or future=",
    )
