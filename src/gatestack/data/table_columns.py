"""Which column of a table plays which role: named by the user, or recognised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from gatestack.data.time_column import looks_like_time
from gatestack.errors import ArgumentError, nearest_name, quote_value

__all__ = ["Columns", "resolve_columns"]

# Names under which a time column is recognised when none is given, compared in lower case.
TIME_NAMES = ("ds", "date", "time", "timestamp", "datetime", "date_time", "utc")


@dataclass(frozen=True)
class Columns:
    """The names of the columns by role. Plain data: goes into JSON.

    Args:
        time: time index.
        series: key of the series; None when the table holds one series.
        target: what is forecast.
        past: inputs known up to now only.
        future: inputs known for the horizon too.
        static: one value per series.

    Example:
        >>> Columns(time="ds", series=None, target="y", past=("rain",), future=("holiday",)).features
        ('y', 'rain', 'holiday')
    """

    time: str
    series: str | None
    target: str
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the input features in their order: target, past, future."""
        return (self.target, *self.past, *self.future)

    @property
    def all(self) -> tuple[str, ...]:
        """Names of all columns that are read."""
        keys = (self.time,) if self.series is None else (self.series, self.time)
        return (*keys, *self.features, *self.static)


def resolve_columns(
    frame: pl.DataFrame,
    *,
    target: str | None,
    time: str | None = None,
    series: str | None = None,
    past: Sequence[str] = (),
    future: Sequence[str] = (),
    static: Sequence[str] = (),
    where: str = "frame",
) -> Columns:
    """Find the role of each column.

    What is not named is recognised: `unique_id`, `ds` and `y` by name (Nixtla's layout); else the only
    temporal column; else the only one with a name of time or with text that reads as time.

    Args:
        frame: the table.
        target: name of the target; None takes `y`.
        time: name of the time column; None looks for it.
        series: name of the key; None takes `unique_id` if there is one.
        past: names of inputs known up to now.
        future: names of inputs known for the horizon.
        static: names of inputs constant in each series.
        where: what messages call the table.

    Returns:
        Columns.

    Raises:
        ArgumentError: a name that does not exist (with the nearest that does), stands in two roles, or a time
            column that cannot be told.

    Example:
        >>> resolve_columns(pl.DataFrame({"date": ["2024-01-01"], "rain": [1.5]}), target="rain").time
        'date'
    """
    names = frame.columns
    if target is None:
        if "y" not in names:
            raise ArgumentError(
                "no target column is named, and there is no column 'y'",
                where=where,
                expected="target='<column>'",
                hint=nearest_name("y", names),
            )
        target = "y"
    if series is None and "unique_id" in names:
        series = "unique_id"
    lists = {
        role: _names(role, group) for role, group in (("past", past), ("future", future), ("static", static))
    }
    single = {"target": target} | ({"time": time} if time else {}) | ({"series": series} if series else {})
    wanted = [(role, name) for role, name in single.items()]
    wanted += [(role, name) for role, group in lists.items() for name in group]
    _refuse_absent(wanted, names, where)
    _refuse_twice(wanted, where)
    if time is None:
        time = _find_time(frame, {name for _, name in wanted}, where)
    return Columns(time, series, target, lists["past"], lists["future"], lists["static"])


def _names(role: str, group: Sequence[str]) -> tuple[str, ...]:
    if isinstance(group, str):
        return (group,)
    try:
        return tuple(group)
    except TypeError:
        raise ArgumentError(f"{role}= is {quote_value(group)}", expected="a list of column names") from None


def _refuse_absent(wanted: list[tuple[str, str]], names: list[str], where: str) -> None:
    absent = [(role, name) for role, name in wanted if name not in names]
    if not absent:
        return
    role, name = absent[0]
    more = (
        f"; {len(absent) - 1} more absent: {', '.join(other for _, other in absent[1:9])}"
        if absent[1:]
        else ""
    )
    hint = nearest_name(name, names)
    if role == "time":
        hint += "; the index of a pandas frame is not read: frame.reset_index() makes it a column"
    raise ArgumentError(f"there is no column {quote_value(name)} for {role}=" + more, where=where, hint=hint)


def _refuse_twice(wanted: list[tuple[str, str]], where: str) -> None:
    seen: dict[str, str] = {}
    for role, name in wanted:
        if name in seen:
            both = f"{seen[name]}= and {role}=" if seen[name] != role else f"{role}= twice"
            raise ArgumentError(
                f"the column {quote_value(name)} is named in {both}",
                where=where,
                expected="each column in one role",
                hint="past values of the target are always an input; name it as target only",
            )
        seen[name] = role


def _find_time(frame: pl.DataFrame, taken: set[str], where: str) -> str:
    free = [name for name in frame.columns if name not in taken]
    if "ds" in free:
        return "ds"
    temporal = [name for name in free if frame[name].dtype in (pl.Date, pl.Datetime)]
    if len(temporal) == 1:
        return temporal[0]
    named = [name for name in free if name.strip().lower() in TIME_NAMES]
    found = (
        temporal
        or [name for name in named if looks_like_time(frame[name]) or frame[name].dtype.is_integer()]
        or [name for name in free if looks_like_time(frame[name])]
    )
    if len(found) == 1:
        return found[0]
    if found:
        raise ArgumentError(
            f"{len(found)} columns may be the time: {', '.join(found)}",
            where=where,
            hint=f"name one, for instance time={found[0]!r}",
        )
    raise ArgumentError(
        "no time column was found",
        where=where,
        expected=f"a column of dates, or one named {', '.join(TIME_NAMES)}",
        hint="name it with time='<column>'. Whole numbers will do: frame.with_row_index('time') in Polars, "
        "frame.reset_index() in pandas",
    )
