"""What is known of the future: rows after the end of each series, with the columns named `future`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.category_column import write_category_column
from gatestack.data.frames import Frame, as_polars
from gatestack.data.frequency_inference import show_time
from gatestack.data.number_column import write_number_column
from gatestack.data.places import row_place
from gatestack.data.series_grid import encode_series
from gatestack.data.series_table import SeriesTable
from gatestack.data.time_column import read_time
from gatestack.errors import ArgumentError, DataError, nearest_name, quote_value

__all__ = ["future_values", "split_horizon"]


def future_values(table: SeriesTable, future_frame: Frame, horizon: int) -> npt.NDArray[np.float32]:
    """Read the future columns for the `horizon` steps after each series.

    Rows up to the end of a series and beyond the horizon are allowed and not used, so that one calendar can
    serve many forecasts.

    Args:
        table: the history.
        future_frame: path or frame with the key (where the history has one), the time and the future columns.
        horizon: steps, at least 1.

    Returns:
        float32 of shape (series, horizon, future columns).

    Raises:
        DataError: a column, a time or a value that is missing, named with its series; an unknown series.

    Example:
        >>> table = SeriesTable.from_frame(pl.DataFrame({"ds": [1, 2], "y": [1, 2], "x": [0, 0]}), future="x")
        >>> future_values(table, pl.DataFrame({"ds": [3], "x": [5]}), 1)
        array([[[5.]]], dtype=float32)
    """
    if horizon < 1:
        raise ArgumentError(f"the horizon is {horizon}", where="future_values", expected="at least 1 step")
    columns, count = table.columns, len(table.series_keys)
    where = str(future_frame) if isinstance(future_frame, str | Path) else "future frame"
    data = as_polars(future_frame, where)
    wanted = [columns.time, *columns.future] + ([columns.series] if columns.series else [])
    absent = [name for name in wanted if name not in data.columns]
    if absent:
        raise DataError(
            f"the future lacks the column{'s' * (len(absent) > 1)} {', '.join(absent)}",
            where=where,
            expected=f"the columns {', '.join(wanted)}",
            hint=nearest_name(absent[0], data.columns)
            + "; a column that is not known ahead belongs in past=",
        )
    result = np.full((count, horizon, len(columns.future)), np.nan, dtype=np.float32)
    if not columns.future:
        return result
    # A column without rows, as of a file that ends with the history, has no time to tell its kind by.
    times, kind = (
        read_time(data[columns.time], source=where) if data.height else (table.times[:0], table.time_kind)
    )
    if (kind.kind == "integer") != (table.time_kind.kind == "integer") or (kind.zone is None) != (
        table.time_kind.zone is None
    ):
        raise DataError(
            "the times of the future are of another kind than those of the history",
            where=f"{where}, column {quote_value(columns.time)}",
            expected=f"{table.time_kind.kind}"
            + (f" in {table.time_kind.zone}" if table.time_kind.zone else ""),
            hint="write both in the same way",
        )
    numbers = _series_numbers(table, data, where)
    steps, exact = table.frequency.steps_and_exact(table.last_times[numbers], times)
    inside = (steps >= 1) & (steps <= horizon)
    off = inside & ~exact
    if off.any():
        row = int(np.argmax(off))
        place, value = row_place(where, row, columns.time, value=show_time(times[row]))
        raise DataError(
            f"the time {value} lies off the grid of the history",
            where=place,
            expected=f"{table.frequency.label} steps after {show_time(table.last_times[numbers[row]])}",
        )
    rows = np.flatnonzero(inside)
    cell = numbers[rows].astype(np.int64) * horizon + steps[rows] - 1
    _refuse_wrong_rows(table, cell, rows, horizon, times, where)
    column = np.empty(data.height, dtype=np.float32)
    flat = result.reshape(count * horizon, -1)
    for index, name in enumerate(columns.future):
        if name in table.categories:
            write_category_column(data[name], column, table.categories[name])
        else:
            write_number_column(data[name], column, role="future", source=where)
        flat[cell, index] = column[rows]
        missing = np.isnan(flat[:, index])
        if missing.any():
            series, step = divmod(int(np.argmax(missing)), horizon)
            row = int(rows[np.flatnonzero(cell == series * horizon + step)[0]])
            raise DataError(
                f"the value is missing for step {step + 1} of series "
                f"{quote_value(table.series_keys[series])}",
                where=row_place(where, row, name)[0],
                expected="a number for each step of the horizon",
                hint="a column that is not known ahead belongs in past=",
            )
    return result


def _series_numbers(table: SeriesTable, data: pl.DataFrame, where: str) -> npt.NDArray[np.int64]:
    if table.columns.series is None or not data.height:
        return np.zeros(data.height, dtype=np.int64)
    codes, keys = encode_series(data[table.columns.series], source=where)
    known = {str(key): number for number, key in enumerate(table.series_keys)}
    unknown = [str(key) for key in keys if str(key) not in known]
    if unknown:
        raise DataError(
            f"{len(unknown)} series of the future {'is' if len(unknown) == 1 else 'are'} not in the history: "
            f"{', '.join(quote_value(name) for name in unknown[:3])}",
            where=f"{where}, column {quote_value(table.columns.series)}",
            expected="the series of the history",
            hint=nearest_name(unknown[0], known),
        )
    return np.array([known[str(key)] for key in keys], dtype=np.int64)[codes]


def _refuse_wrong_rows(
    table: SeriesTable,
    cell: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    horizon: int,
    times: npt.NDArray[np.generic],
    where: str,
) -> None:
    found = np.bincount(cell, minlength=len(table.series_keys) * horizon)
    if np.any(found > 1):
        at = int(rows[np.flatnonzero(cell == int(np.argmax(found > 1)))[1]])
        raise DataError(
            f"the time {show_time(times[at])} repeats",
            where=row_place(where, at, table.columns.time)[0],
            expected="one row per series and time",
        )
    if np.any(found == 0):
        series, step = divmod(int(np.argmax(found == 0)), horizon)
        time = show_time(table.forecast_times(horizon)[series, step])
        raise DataError(
            f"{int(np.count_nonzero(found == 0)):,} rows are missing, first series "
            f"{quote_value(table.series_keys[series])} at {time} (step {step + 1} of {horizon}), columns "
            f"{', '.join(table.columns.future)}",
            where=where,
            expected=f"{horizon} {table.frequency.label} steps after the end of each series",
            hint="add the rows, or forecast a shorter horizon",
        )


def split_horizon(
    frame: Frame, *, target: str, time: str, series: str | None = None, source: str | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cut a frame whose last rows have no target yet into history and future.

    Args:
        frame: path or frame, in the order of time.
        target: column that is missing in the rows of the future.
        time: time column, kept in both parts.
        series: key; the cut is made in each series.
        source: file that the frame was read from.

    Returns:
        History (up to the last row with a target, in each series) and future (the rows after it, without
        target).

    Raises:
        ArgumentError: a column that does not exist.

    Example:
        >>> frame = pl.DataFrame({"ds": [1, 2, 3], "y": [1.0, 2.0, None], "open": [1, 0, 1]})
        >>> history, future = split_horizon(frame, target="y", time="ds")
        >>> history.height, future.rows()
        (2, [(3, 1)])
    """
    if source is None:
        source = str(frame) if isinstance(frame, str | Path) else "frame"
    data = as_polars(frame)
    for name in (target, time, series):
        if name is not None and name not in data.columns:
            raise ArgumentError(
                f"there is no column {quote_value(name)}",
                where=source,
                hint=nearest_name(name, data.columns),
            )
    known = pl.col(target).is_not_null()
    if data[target].dtype.is_float():
        known &= pl.col(target).is_not_nan()
    ahead = known.cast(pl.UInt32).cum_sum(reverse=True)
    seen = data.select((ahead if series is None else ahead.over(series)).alias("ahead"))["ahead"] > 0
    return data.filter(seen), data.filter(~seen).drop(target)
