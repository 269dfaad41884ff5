"""New rows beside the last known steps of each series: what is new, what must agree, and the longer end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.sequences import Sequences
from gatestack.data.series_cut import cut_table
from gatestack.data.series_table import SeriesTable
from gatestack.errors import DataError, quote_value

__all__ = ["NewSteps", "extended", "join_tables", "new_steps"]

IntArray = npt.NDArray[np.int64]

# Missing steps in a row; an update runs through them one by one, about 2 ms each.
_LONGEST_GAP = 10_000


@dataclass(frozen=True)
class NewSteps:
    """The steps of one known series after its last known one.

    Attributes:
        row: of the series in the tail.
        values: (steps, features) float32, NaN where missing; a step that no row names is missing.
    """

    row: int
    values: npt.NDArray[np.float32]


def new_steps(tail: SeriesTable, table: SeriesTable) -> list[NewSteps]:
    """Find what a table adds to the series it shares with a tail.

    Args:
        tail: the last known steps of each series.
        table: new rows, with the columns of the tail; series that the tail lacks are passed over.

    Returns:
        One entry for each series with new steps, in the order of the tail.

    Raises:
        DataError: a time off the grid or far beyond the end, a row that says otherwise than a known one, or
            another static value.

    Example:
        >>> tail = SeriesTable.from_frame(pl.DataFrame({"ds": [1, 2, 3], "y": [1.0, 2.0, 3.0]}))
        >>> table = SeriesTable.from_frame(pl.DataFrame({"ds": [3, 4, 6], "y": [3.0, 4.0, 6.0]}))
        >>> new_steps(tail, table)[0].values.ravel()
        array([ 4., nan,  6.], dtype=float32)
    """
    place = {key: row for row, key in enumerate(tail.sequences.keys or ())}
    found = []
    for number, key in enumerate(table.sequences.keys or ()):
        if key not in place:
            continue
        row = place[key]
        begin, end = table.sequences.offsets[number : number + 2]
        times = table.times[begin:end]
        last = tail.last_times[row]
        ahead, exact = tail.frequency.steps_and_exact(np.full(len(times), last), times)
        if not exact.all():
            off = int(np.argmin(exact))
            raise DataError(
                f"the time {_show(table, times[off])} lies off the grid of series {quote_value(key)}",
                where=table.source,
                expected=f"{tail.frequency.label} steps after {_show(table, last)}",
            )
        values = _with_nan(table, slice(int(begin), int(end)))
        _refuse_other(tail, row, key, values, ahead, table)
        new = ahead > 0
        if new.any():
            _refuse_far(tail, row, key, times, ahead, table)
            longer = np.full((int(ahead.max()), values.shape[1]), np.nan, dtype=np.float32)
            longer[ahead[new] - 1] = values[new]
            found.append(NewSteps(row, longer))
    return sorted(found, key=lambda part: part.row)


def _refuse_far(
    tail: SeriesTable, row: int, key: str, times: npt.NDArray[np.generic], ahead: IntArray, table: SeriesTable
) -> None:
    """Raise where a gap is so long that a time is rather mistyped; each step of it would be run through."""
    known = np.append(0, ahead[ahead > 0])
    missing = np.diff(known) - 1
    worst = int(np.argmax(missing))
    if missing[worst] > _LONGEST_GAP:
        to = times[ahead > 0][worst]
        begin = tail.frequency.advance(tail.last_times[row : row + 1], known[worst : worst + 1])[0]
        raise DataError(
            f"between {_show(table, begin)} and {_show(table, to)} of series {quote_value(key)} "
            f"{missing[worst]:,} steps are missing",
            where=table.source,
            expected=f"at most {_LONGEST_GAP:,} missing steps in a row (frequency: {tail.frequency.label})",
            hint="correct the time; after so long a gap use predict with a history that begins after it",
        )


def _refuse_other(
    tail: SeriesTable,
    row: int,
    key: str,
    values: npt.NDArray[np.float32],
    ahead: IntArray,
    table: SeriesTable,
) -> None:
    """Raise where a row is known already, and was another; rows before the tail cannot be compared."""
    begin, end = (int(at) for at in tail.sequences.offsets[row : row + 2])
    known = np.flatnonzero((ahead <= 0) & (ahead > begin - end))
    before = _with_nan(tail, end - 1 + ahead[known])
    same = (values[known] == before) | (np.isnan(values[known]) & np.isnan(before))
    if not same.all():
        at, column = (int(place[0]) for place in np.nonzero(~same))
        name = table.columns.features[column]
        when = tail.frequency.advance(tail.last_times[row : row + 1], ahead[known[at] : known[at] + 1])[0]
        raise DataError(
            f"{name} of series {quote_value(key)} at {_show(table, when)} is "
            f"{_number(values[known[at], column])}, and was {_number(before[at, column])} when the model "
            "saw it",
            where=table.source,
            expected="rows that the model has seen as they were, or only rows after them",
            hint="the state cannot be taken back: to correct the past, use predict with the whole history",
        )
    mine, theirs = tail.sequences.static, table.sequences.static
    number = (table.sequences.keys or ()).index(key)
    if mine is not None and theirs is not None and not np.array_equal(mine[row], theirs[number]):
        raise DataError(
            f"the static values of series {quote_value(key)} are {theirs[number].tolist()}, and were "
            f"{mine[row].tolist()}",
            where=table.source,
            expected="the same values as in the fit",
        )


def extended(tail: SeriesTable, parts: Sequence[NewSteps], kept: int) -> SeriesTable:
    """Put new steps behind a tail, and keep the last `kept` steps of each series that has new ones."""
    added = {part.row: part.values for part in parts}
    whole, times, lengths = [], [], []
    for row in range(len(tail.sequences)):
        span = slice(*(int(at) for at in tail.sequences.offsets[row : row + 2]))
        values, time = _with_nan(tail, span), tail.times[span]
        if row in added:
            steps = np.arange(1, len(added[row]) + 1)
            values = np.concatenate([values, added[row]])[-kept:]
            time = np.concatenate([time, tail.frequency.advance(time[-1:], steps)])[-kept:]
        whole.append(values)
        times.append(time)
        lengths.append(len(values))
    values = np.concatenate(whole)
    observed = ~np.isnan(values)
    sequences = Sequences(
        values=np.where(observed, values, 0).astype(tail.sequences.values.dtype),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        observed=None if observed.all() else observed,
        time=np.concatenate(times),
        static=tail.sequences.static,
        keys=tail.sequences.keys,
        names=tail.sequences.names,
    )
    return replace(tail, sequences=sequences)


def join_tables(one: SeriesTable, other: SeriesTable, kept: int) -> SeriesTable:
    """Put the series of two tables below each other, with the last `kept` steps of those of the second."""
    lengths = np.diff(other.sequences.offsets)
    end = cut_table(other, np.arange(len(lengths)), lengths, np.maximum(lengths - kept, 0), copy=True)
    values = np.concatenate([_with_nan(table, slice(None)) for table in (one, end)])
    observed = ~np.isnan(values)
    first, second = one.sequences, end.sequences
    sequences = Sequences(
        values=np.where(observed, values, 0).astype(first.values.dtype),
        offsets=np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]]),
        observed=None if observed.all() else observed,
        time=np.concatenate([one.times, end.times]),
        static=None
        if first.static is None or second.static is None
        else np.concatenate([first.static, second.static]),
        keys=(first.keys or ()) + (second.keys or ()),
        names=first.names,
    )
    keys = pl.concat(
        [one.series_keys, end.series_keys.rename(one.series_keys.name).cast(one.series_keys.dtype)]
    )
    return replace(one, sequences=sequences, series_keys=keys)


def _with_nan(table: SeriesTable, steps: slice | IntArray) -> npt.NDArray[np.float32]:
    """Give all features at some steps, NaN where one is missing."""
    values, observed = table.sequences.values[steps], table.sequences.observed
    whole: npt.NDArray[np.float32] = (
        values.copy() if observed is None else np.where(observed[steps], values, np.float32(np.nan))
    )
    return whole


def _show(table: SeriesTable, time: np.generic) -> str:
    return str(table.time_kind.to_series(np.array([time]), "time")[0])


def _number(value: np.float32) -> str:
    return "missing" if np.isnan(value) else f"{value:g}"
