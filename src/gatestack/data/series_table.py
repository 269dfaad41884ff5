"""A table of one or many series, ready for a model: a regular grid, numbers with a mask, names kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.frames import Frame, as_polars
from gatestack.data.frequency import Frequency, TimeArray
from gatestack.data.sequences import Sequences
from gatestack.data.series_grid import SeriesGrid, encode_series
from gatestack.data.series_values import Categories, categories_of, static_values, step_values
from gatestack.data.table_columns import Columns, resolve_columns
from gatestack.data.time_column import TimeKind, read_time
from gatestack.data.zones import to_wall
from gatestack.errors import DataError, quote_value

__all__ = ["SeriesTable"]


@dataclass(frozen=True)
class SeriesTable:
    """Series on a regular grid, with what is needed to give forecasts back in the user's own terms.

    Attributes:
        sequences: a Sequences; feature 0 is the target, then the past, then the future columns. Values that
            are not observed are 0 and False in `sequences.observed`. `sequences.time` is in UTC where there
            is a zone.
        columns: names of the columns by role.
        frequency: the step.
        gaps: a frame `series, from, to, missing_steps`, one row per gap in time; empty when there is none.
        time_kind: how the user writes time.
        series_keys: the key of each series in the user's own type, named as the key column.
        source: file or name for messages.
        categories: the names in each column of categories, whose values are codes: 1 is the first name, 0 a
            name that is not in the list or is missing. Columns that are not here hold numbers.

    Example:
        >>> frame = pl.DataFrame({"ds": ["2024-01-01", "2024-01-02", "2024-01-04"], "y": [1.0, None, 3.0]})
        >>> table = SeriesTable.from_frame(frame)
        >>> table.frequency.label, table.sequences.values[:, 0]
        ('daily', array([1., 0., 0., 3.], dtype=float32))
        >>> table.gaps["missing_steps"].to_list()
        [1]
    """

    sequences: Sequences
    columns: Columns
    frequency: Frequency
    gaps: pl.DataFrame
    time_kind: TimeKind
    series_keys: pl.Series
    source: str
    categories: Categories = field(default_factory=dict)

    @classmethod
    def from_frame(
        cls,
        frame: Frame,
        *,
        target: str | None = None,
        time: str | None = None,
        series: str | None = None,
        past: Sequence[str] = (),
        future: Sequence[str] = (),
        static: Sequence[str] = (),
        frequency: str | int | Frequency | None = None,
        categories: Categories | Literal["find"] | None = None,
        source: str | None = None,
        dtype: Literal["float32", "float64"] = "float32",
    ) -> SeriesTable:
        """Read series from a frame or a file.

        Columns that are not named are recognised: `unique_id`, `ds`, `y`, or the only column of times. The
        series keep the order of their first rows; their rows may be mixed, but time must increase inside each
        series. Steps missing from the grid are added as not observed and listed in `gaps`.

        Args:
            frame: a path, or a pandas, Polars or Arrow frame, one row per time (and series).
            target: column to forecast; None takes `y`.
            time: column of times: dates, date times, text of these, or whole numbers.
            series: column of keys; None with no `unique_id` means one series.
            past: columns known up to now.
            future: columns known for the horizon too.
            static: columns with one value per series.
            frequency: the step, such as `1h`, `1d`, `B`, `1mo`, or a whole number; None finds it.
            categories: the names in each past, future or static column of categories; `"find"` finds which
                columns these are and their names; None takes all columns as numbers.
            source: file that the frame was read from, so that messages can name its lines.
            dtype: of the values.

        Returns:
            A SeriesTable.

        Raises:
            DataError: a value, time or key that cannot be used, with its row and column.
            ArgumentError: a column that does not exist or is named twice.

        Example:
            >>> frame = pl.DataFrame({"unique_id": ["a", "a", "b"], "ds": [1, 2, 1], "y": [1, 2, 3]})
            >>> SeriesTable.from_frame(frame).sequences.keys
            ('a', 'b')
        """
        if source is None and isinstance(frame, str | Path):
            source = str(frame)
        where = source or "frame"
        if frequency is not None and not isinstance(frequency, Frequency):
            frequency = Frequency.parse(frequency)
        data = as_polars(frame, where)
        columns = resolve_columns(
            data,
            target=target,
            time=time,
            series=series,
            past=past,
            future=future,
            static=static,
            where=where,
        )
        if not data.height:
            raise DataError("the table has no rows", where=where, expected="at least one row of data")
        times, kind = read_time(data[columns.time], source=source)
        if columns.series is None:
            numbers, keys = np.zeros(data.height, dtype=np.int32), pl.Series("series", [columns.target])
        else:
            numbers, keys = encode_series(data[columns.series], source=source)
        names = tuple(str(key) for key in keys)
        grid = SeriesGrid.build(
            times, numbers, names, kind=kind, column=columns.time, frequency=frequency, source=source
        )
        known = categories_of(data, columns, source) if categories == "find" else dict(categories or {})
        values, observed = step_values(data, columns, known, grid, np.dtype(dtype), source)
        _refuse_unobserved(observed, grid, names, columns.target, where)
        sequences = Sequences(
            values=values,
            offsets=grid.offsets,
            observed=observed,
            time=grid.times,
            static=static_values(data, columns, known, numbers, names, source),
            keys=names,
            names=columns.features,
        )
        return cls(sequences, columns, grid.frequency, grid.gaps, kind, keys, where, known)

    @property
    def times(self) -> TimeArray:
        """The time of each step, shape (steps,), in UTC where there is a zone: `sequences.time`."""
        return cast(TimeArray, self.sequences.time)

    def target_at(self, steps: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Give the target at some steps, counted over all series, NaN where it is missing.

        Args:
            steps: a slice, or whole numbers of any shape.

        Returns:
            float64, in the shape of `steps`.

        Example:
            >>> frame = pl.DataFrame({"ds": [1, 2, 3], "y": [1.0, None, 3.0]})
            >>> SeriesTable.from_frame(frame).target_at(slice(0, 2))
            array([ 1., nan])
        """
        values = self.sequences.values[steps, 0].astype(np.float64)
        observed = self.sequences.observed
        return values if observed is None else np.where(observed[steps, 0], values, np.nan)

    @property
    def last_times(self) -> TimeArray:
        """The last time of each series, shape (series,), in UTC where there is a zone."""
        return self.times[self.sequences.offsets[1:] - 1]

    @property
    def wall_times(self) -> TimeArray:
        """The times of all steps on the wall clock of their zone, shape (steps,), for calendars.

        Example:
            >>> SeriesTable.from_frame(pl.DataFrame({"ds": [3, 4], "y": [1, 2]})).wall_times
            array([3, 4])
        """
        return self.to_wall(self.times)

    def to_wall(self, times: TimeArray) -> TimeArray:
        """Move times in UTC to the wall clock of the table's zone; whole numbers stay as they are."""
        if self.time_kind.kind == "integer":
            return times
        return to_wall(np.asarray(times, dtype="datetime64[us]"), self.time_kind.zone)

    def forecast_times(self, horizon: int) -> TimeArray:
        """Return the `horizon` times after each series, (series, horizon), in UTC where there is a zone.

        Example:
            >>> SeriesTable.from_frame(pl.DataFrame({"ds": [2, 4], "y": [1, 2]})).forecast_times(3)
            array([[ 6,  8, 10]])
        """
        return self.frequency.advance(self.last_times[:, None], np.arange(1, horizon + 1))

    def forecast_frame(self, horizon: int) -> pl.DataFrame:
        """Return the key and time columns of a forecast, series by series, in the user's own names and types.

        Args:
            horizon: steps after the end of each series.

        Returns:
            A frame of series · horizon rows.

        Example:
            >>> SeriesTable.from_frame(pl.DataFrame({"ds": [2, 4], "y": [1, 2]})).forecast_frame(2).rows()
            [(6,), (8,)]
        """
        return self.key_frame(self.forecast_times(horizon))

    def key_frame(self, times: TimeArray) -> pl.DataFrame:
        """Return key and time columns for times of shape (series, k), in the user's own names and types."""
        stamps = self.time_kind.to_series(times.ravel(), self.columns.time)
        if self.columns.series is None:
            return stamps.to_frame()
        rows = np.repeat(np.arange(len(self.series_keys)), times.shape[1])
        return pl.DataFrame([self.series_keys.gather(rows).rename(self.columns.series), stamps])

    def check_same_columns(self, other: SeriesTable) -> None:
        """Raise where another table (given at predict) differs from this one (given at fit).

        Args:
            other: the table to check.

        Raises:
            DataError: columns that are missing or too many, another frequency or another kind of time.

        Example:
            >>> table = SeriesTable.from_frame(pl.DataFrame({"ds": [1, 2], "y": [1, 2]}))
            >>> table.check_same_columns(table)
        """
        mine, theirs = self.columns.all, other.columns.all
        missing = [name for name in mine if name not in theirs]
        extra = [name for name in theirs if name not in mine]
        if missing or extra:
            parts = [f"missing: {', '.join(missing)}"] * bool(missing) + [
                f"too many: {', '.join(extra)}"
            ] * bool(extra)
            raise DataError(
                "its columns are not those of the fit; " + "; ".join(parts),
                where=other.source,
                expected=f"the columns {', '.join(mine)}",
                hint="name the columns as in fit",
            )
        if self.columns != other.columns:
            raise DataError(
                "its columns play other roles than in the fit",
                where=other.source,
                expected=f"{self.columns}",
                hint="name target, past, future and static columns as in fit, in the same order",
            )
        if (self.time_kind.kind == "integer") != (other.time_kind.kind == "integer"):
            raise DataError(
                f"its times are of kind {other.time_kind.kind}",
                where=other.source,
                expected=self.time_kind.kind,
            )
        if self.frequency.with_zone(None) != other.frequency.with_zone(None):
            raise DataError(
                f"its frequency is {other.frequency.label}",
                where=other.source,
                expected=f"{self.frequency.label}, as in the fit",
                hint="fit a model for this frequency, or bring the data to the other",
            )


def _refuse_unobserved(
    observed: npt.NDArray[np.bool_] | None, grid: SeriesGrid, keys: tuple[str, ...], target: str, where: str
) -> None:
    if observed is None:
        return
    seen = np.add.reduceat(observed[:, 0], grid.offsets[:-1], dtype=np.int64)
    empty = np.flatnonzero(seen == 0)
    if empty.size:
        named = ", ".join(quote_value(keys[series]) for series in empty[:3])
        raise DataError(
            f"the target {quote_value(target)} has no value at all in {empty.size:,} series: {named}",
            where=where,
            expected="at least one value in each series",
            hint="remove these series",
        )
