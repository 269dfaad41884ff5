"""Put the rows of a table on one regular grid per series: order, frequency, gaps.

Nothing is sorted and nothing filled: rows out of order are an error, and a missing time becomes a step that
is marked as not observed and is reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.frequency import Frequency, TimeArray
from gatestack.data.frequency_inference import BLOCK_ROWS, infer_frequency, show_time
from gatestack.data.places import row_place, rows_place
from gatestack.data.time_column import TimeKind
from gatestack.data.zones import to_wall
from gatestack.errors import DataError, quote_value

__all__ = ["SeriesGrid", "encode_series"]

# A grid longer than this many times the rows is a wrong time stamp rather than a gap.
_GRID_LIMIT = 20
_GRID_ALWAYS_ALLOWED = 100_000


def encode_series(column: pl.Series, *, source: str | None = None) -> tuple[npt.NDArray[np.int32], pl.Series]:
    """Number the series in the order of their first rows.

    Args:
        column: the key of each row.
        source: file or name for messages.

    Returns:
        The number of each row's series, shape (rows,), and the keys in their order.

    Raises:
        DataError: a missing or blank key.

    Example:
        >>> encode_series(pl.Series(["b", "b", "a"]))[0]
        array([0, 0, 1], dtype=int32)
    """
    blank = column.is_null()
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
        blank = blank | (column.str.strip_chars() == "").fill_null(False)
    if blank.any():
        rows = blank.arg_true()
        raise DataError(
            f"the key of the series is missing in {len(rows):,} row{'s' * (len(rows) > 1)}",
            where=rows_place(source, rows.head(3).to_list(), column.name),
            expected="a key in every row",
            hint="fill the key in, or remove the rows",
        )
    # Runs of equal keys are few when the series stand one below the other.
    starts = np.concatenate([[0], np.flatnonzero((column != column.shift(1)).fill_null(False).to_numpy())])
    runs = column.gather(starts)
    keys = runs.unique(maintain_order=True)
    numbered = pl.DataFrame({"key": keys, "number": np.arange(len(keys), dtype=np.int32)})
    numbers = runs.to_frame("key").join(numbered, on="key", how="left", maintain_order="left")["number"]
    return np.repeat(numbers.to_numpy(), np.diff(np.append(starts, len(column)))), keys


@dataclass(frozen=True)
class SeriesGrid:
    """Where each row stands on the grid of its series.

    Args:
        frequency: the step.
        offsets: (series + 1,) where each series begins on the grid.
        times: (steps,) the times of the grid.
        places: (rows,) the step of each row; None when row i is step i.
        gaps: what is missing: columns `series`, `from`, `to` (the rows around the gap), `missing_steps`.
    """

    frequency: Frequency
    offsets: npt.NDArray[np.int64]
    times: TimeArray
    places: npt.NDArray[np.int64] | None
    gaps: pl.DataFrame

    @classmethod
    def build(
        cls,
        times: TimeArray,
        numbers: npt.NDArray[np.int32],
        keys: tuple[str, ...],
        *,
        kind: TimeKind,
        column: str,
        frequency: Frequency | None = None,
        source: str | None = None,
    ) -> SeriesGrid:
        """Check the times and lay the grid.

        Args:
            times: (rows,) datetime64[us] in UTC, or int64.
            numbers: (rows,) the series of each row, from 0.
            keys: name of each series.
            kind: how times are written, for the report of gaps.
            column: name of the time column, for messages.
            frequency: the step; None finds it.
            source: file or name for messages.

        Raises:
            DataError: times that repeat, go back, lie off the grid, or leave gaps longer than the data.

        Example:
            >>> days = np.array(["2024-01-01", "2024-01-02", "2024-01-04"], dtype="datetime64[us]")
            >>> one = np.zeros(3, dtype=np.int32)
            >>> grid = SeriesGrid.build(days, one, ("a",), kind=TimeKind("date"), column="ds")
            >>> grid.places, grid.gaps.rows()
            (array([0, 1, 3]), [('a', datetime.date(2024, 1, 2), datetime.date(2024, 1, 4), 1)])
        """
        order = None if np.all(numbers[1:] >= numbers[:-1]) else np.argsort(numbers, kind="stable")
        sorted_times = times if order is None else times[order]
        rows = np.bincount(numbers, minlength=len(keys)) if len(keys) > 1 else np.array([len(times)])
        bounds = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        where = f"{source or 'frame'}, column {quote_value(column)}"
        _refuse_disorder(sorted_times, bounds, order, keys, column, source, kind)
        if frequency is None:
            named = keys if len(keys) > 1 else None
            frequency = infer_frequency(sorted_times, bounds, zone=kind.zone, keys=named, where=where)
        elif (frequency.unit == "step") != (kind.kind == "integer"):
            raise DataError(
                f"the times are {'whole numbers' if kind.kind == 'integer' else 'dates'}, the frequency is "
                f"{frequency.label}",
                where=where,
                expected="a whole number as frequency for integer times, a duration such as '1d' for dates",
                hint="leave frequency= out",
            )
        else:
            frequency = _settle(frequency.with_zone(kind.zone), sorted_times)
        return cls._lay(sorted_times, bounds, order, keys, frequency, kind, column, source)

    @classmethod
    def _lay(
        cls,
        times: TimeArray,
        bounds: npt.NDArray[np.int64],
        order: npt.NDArray[np.int64] | None,
        keys: tuple[str, ...],
        frequency: Frequency,
        kind: TimeKind,
        column: str,
        source: str | None,
    ) -> SeriesGrid:
        counts = np.diff(bounds)
        first = times[bounds[:-1]]
        steps, odd = _steps_from_first(times, bounds, frequency)
        if odd is not None:
            row = odd if order is None else int(order[odd])
            place, value = row_place(source, row, column, value=show_time(times[odd]))
            start = first[np.searchsorted(bounds, odd, side="right") - 1]
            raise DataError(
                f"the time {value} lies off the grid",
                where=place,
                expected=f"{frequency.label} steps from {show_time(start)}",
                hint="correct the time, or leave frequency= out to have it found",
            )
        lengths = steps[bounds[1:] - 1] + 1
        gaps = _report_gaps(times, bounds, steps, keys, kind)
        total = int(lengths.sum())
        if total > max(_GRID_LIMIT * len(times), _GRID_ALWAYS_ALLOWED):
            worst = gaps.row(int(gaps["missing_steps"].arg_max() or 0), named=True)
            raise DataError(
                f"between {worst['from']} and {worst['to']} {worst['missing_steps']:,} steps are missing"
                f" (frequency: {frequency.label})",
                where=f"{source or 'frame'}, column {quote_value(column)}, series "
                f"{quote_value(worst['series'])}",
                expected=f"at most {_GRID_LIMIT} times as many steps as rows",
                hint="correct the time stamp, pass another frequency=, or cut the series in two",
            )
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        if total == len(times):
            if order is None:
                return cls(frequency, offsets, times, None, gaps)
            places = np.empty(len(times), dtype=np.int64)
            places[order] = np.arange(len(times))
            return cls(frequency, offsets, times, places, gaps)
        along = np.arange(total) - np.repeat(offsets[:-1], lengths)
        grid_times = frequency.advance(np.repeat(first, lengths), along)
        on_grid = steps + np.repeat(offsets[:-1], counts)
        if order is None:
            return cls(frequency, offsets, grid_times, on_grid, gaps)
        places = np.empty(len(times), dtype=np.int64)
        places[order] = on_grid
        return cls(frequency, offsets, grid_times, places, gaps)


def _steps_from_first(
    times: TimeArray, bounds: npt.NDArray[np.int64], frequency: Frequency
) -> tuple[npt.NDArray[np.int64], int | None]:
    """Count the steps of each row from the first of its series; and the first row off the grid, if any."""
    steps = np.empty(len(times), dtype=np.int64)
    for start in range(0, len(times), BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(times))
        series = np.searchsorted(bounds, np.arange(start, stop), side="right") - 1
        steps[start:stop], exact = frequency.steps_and_exact(times[bounds[series]], times[start:stop])
        if not exact.all():
            return steps, start + int(np.argmin(exact))
    return steps, None


def _settle(frequency: Frequency, times: TimeArray) -> Frequency:
    """A month given as `1mo` falls on month ends when all times do (and not all on one day)."""
    if frequency.unit != "month" or frequency.month_end:
        return frequency
    day = to_wall(np.asarray(times, dtype="datetime64[us]"), frequency.zone).astype("datetime64[D]")
    month = day.astype("datetime64[M]")
    at_end = (day + 1).astype("datetime64[M]") != month
    of_month = (day - month.astype("datetime64[D]")).astype(np.int64)
    ends = bool(at_end.all() and of_month.min() != of_month.max())
    return Frequency("month", frequency.every, ends, frequency.zone)


def _refuse_disorder(
    times: TimeArray,
    bounds: npt.NDArray[np.int64],
    order: npt.NDArray[np.int64] | None,
    keys: tuple[str, ...],
    column: str,
    source: str | None,
    kind: TimeKind,
) -> None:
    stays = times[1:] <= times[:-1]
    stays[bounds[1:-1] - 1] = False
    if not stays.any():
        return
    at = np.flatnonzero(stays) + 1
    rows = [int(place if order is None else order[place]) for place in at[:3]]
    series = int(np.searchsorted(bounds, at[0], side="right")) - 1
    name = f", series {quote_value(keys[series])}" if len(keys) > 1 else ""
    repeated = np.count_nonzero(times[at] == times[at - 1])
    time = f"{show_time(times[at[0]])}"
    count = f"{at.size:,} row{'s' * (at.size > 1)}"
    if repeated == at.size:
        what, hint = f"the time repeats in {count}, first {time}", "remove or combine the repeated rows"
        if len(keys) == 1:
            hint += "; if the table holds several series, name their key: series='<column>'"
        if kind.kind == "datetime" and kind.zone is None:
            hint += "; a local clock repeats an hour in autumn: give times with their zone"
    else:
        what = f"the time goes back or repeats in {count}, first {time} after {show_time(times[at[0] - 1])}"
        hint = "sort the rows by time, if their order is of no meaning: frame.sort(time) in Polars, "
        hint += "frame.sort_values(time) in pandas"
        if len(keys) == 1:
            hint += "; if the table holds several series, name their key: series='<column>'"
    raise DataError(
        what,
        where=rows_place(source, rows, column) + name,
        expected="times that increase in each series",
        hint=hint,
    )


def _report_gaps(
    times: TimeArray,
    bounds: npt.NDArray[np.int64],
    steps: npt.NDArray[np.int64],
    keys: tuple[str, ...],
    kind: TimeKind,
) -> pl.DataFrame:
    wide = steps[1:] > steps[:-1] + 1
    wide[bounds[1:-1] - 1] = False
    before = np.flatnonzero(wide)
    series = np.searchsorted(bounds, before, side="right") - 1
    return pl.DataFrame(
        {
            "series": pl.Series([keys[number] for number in series], dtype=pl.String),
            "from": kind.to_series(times[before], "from"),
            "to": kind.to_series(times[before + 1], "to"),
            "missing_steps": pl.Series(steps[before + 1] - steps[before] - 1, dtype=pl.Int64),
        }
    )
