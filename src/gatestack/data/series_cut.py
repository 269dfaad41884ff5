"""Some steps of some series of a table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gatestack.data.sequences import Sequences
from gatestack.data.series_table import SeriesTable

__all__ = ["cut_table", "ranges"]

IntArray = npt.NDArray[np.int64]


def ranges(begins: IntArray, ends: IntArray, step: int = 1) -> IntArray:
    """Join the whole numbers from `begins` up to `ends`, which are left out, of many ranges.

    Args:
        begins: (ranges,).
        ends: (ranges,), of which one may lie before its begin: that range is empty.
        step: between two numbers of a range.

    Example:
        >>> ranges(np.array([0, 10, 5]), np.array([3, 12, 5]))
        array([ 0,  1,  2, 10, 11])
    """
    counts = np.maximum(-((begins - ends) // step), 0)
    first = np.cumsum(counts) - counts
    joined: IntArray = np.repeat(begins - step * first, counts) + step * np.arange(counts.sum())
    return joined


def cut_table(
    table: SeriesTable,
    rows: IntArray,
    ends: IntArray,
    begins: IntArray | None = None,
    *,
    copy: bool = False,
) -> SeriesTable:
    """Give the steps `begins` … `ends` - 1 of some series of a table.

    Args:
        table: the series.
        rows: (N,) which.
        ends: (N,) the step after the last that is kept, counted from the start of each.
        begins: (N,) the first step that is kept; None keeps all before `ends`.
        copy: never a view, so that the whole table need not stay in memory.
    """
    sequences, offsets = table.sequences, table.sequences.offsets
    first = np.zeros_like(ends) if begins is None else begins
    begin, end = offsets[rows] + first, offsets[rows] + ends
    index: slice | IntArray
    if not copy and (begin[1:] == end[:-1]).all():
        # One series, the usual case of large tables, or whole neighbours: a view.
        index = slice(int(begin[0]), int(end[-1]))
    else:
        index = ranges(begin, end)
    keys = sequences.keys or ()
    cut = Sequences(
        values=sequences.values[index],
        offsets=np.concatenate([[0], np.cumsum(ends - first)]),
        observed=None if sequences.observed is None else sequences.observed[index],
        time=None if sequences.time is None else sequences.time[index],
        static=None if sequences.static is None else sequences.static[rows],
        keys=tuple(keys[row] for row in rows),
        names=sequences.names,
    )
    return replace(table, sequences=cut, series_keys=table.series_keys.gather(rows))
