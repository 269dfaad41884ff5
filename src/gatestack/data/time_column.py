"""Read a time column, whatever it is written as, and write times back in the user's own type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias

import numpy as np
import polars as pl

from gatestack.data.frequency import TimeArray
from gatestack.data.places import row_place, rows_place
from gatestack.errors import DataError, quote_value

__all__ = ["TimeKind", "TimeUnit", "looks_like_time", "read_time"]

TimeUnit: TypeAlias = Literal["us", "ns", "ms"]

_FORMS = "2024-01-31, 2024-01-31 06:00:00, 2024-01-31T06:00Z, 2024-01 or 31.01.2024"
_YEAR_FIRST = r"(?P<y>\d{4})(?P<s>[-/.])\d{1,2}(?P=s)\d{1,2}"
_DAY_OR_MONTH_FIRST = r"\d{1,2}(?P<s2>[-/.])\d{1,2}(?P=s2)\d{4}"
_COMPACT = r"(?P<compact>(?:1[6-9]|2[0-2])\d{2}[01]\d[0-3]\d)"
_CLOCK = (
    r"(?P<t>[T ]\s*)\d{1,2}:\d{2}(?P<sec>:\d{2}(?:\.\d+)?)?(?P<ampm>\s?[AaPp][Mm])?"
    r"\s?(?P<zone>Z|[+-]\d{2}(?::?\d{2})?)?"
)
_STAMP = re.compile(rf"(?:{_YEAR_FIRST}|{_DAY_OR_MONTH_FIRST}|{_COMPACT})(?:{_CLOCK})?")
_MONTH = re.compile(r"\d{4}-\d{2}")
_QUARTER = re.compile(r"\d{4}-?[Qq][1-4]")
_SHORT_YEAR = re.compile(r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2}(?:[T ].*)?")


@dataclass(frozen=True)
class TimeKind:
    """How the user writes time, so that forecasts come back in the same type. Plain data: goes into JSON.

    Args:
        kind: `date`, `datetime` or `integer`.
        unit: of a datetime.
        zone: IANA zone of a datetime; None for a datetime without zone.
        integer: name of the Polars integer type.

    Example:
        >>> TimeKind("date").to_series(np.array(["2024-01-31"], dtype="datetime64[us]"), "day").to_list()
        [datetime.date(2024, 1, 31)]
    """

    kind: Literal["date", "datetime", "integer"]
    unit: TimeUnit = "us"
    zone: str | None = None
    integer: str = "Int64"

    def to_series(self, times: TimeArray, name: str) -> pl.Series:
        """Write times as a Polars column of the user's type.

        Args:
            times: datetime64[us] (UTC where there is a zone) or int64, shape (steps,).
            name: of the column.

        Returns:
            A Series of shape (steps,).
        """
        if self.kind == "integer":
            return pl.Series(name, times, dtype=getattr(pl, self.integer))
        stamps = pl.Series(name, np.asarray(times, dtype="datetime64[us]"))
        if self.kind == "date":
            return stamps.cast(pl.Date)
        if self.zone is not None:
            stamps = stamps.dt.replace_time_zone("UTC").dt.convert_time_zone(self.zone)
        return stamps.cast(pl.Datetime(self.unit, self.zone))


def looks_like_time(column: pl.Series) -> bool:
    """True when a column is temporal, or is text whose first value is written like a date.

    Example:
        >>> looks_like_time(pl.Series(["2024-01-31"])), looks_like_time(pl.Series(["sun"]))
        (True, False)
    """
    if column.dtype in (pl.Date, pl.Datetime):
        return True
    if column.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return False
    first = column.cast(pl.String).drop_nulls().head(1)
    return bool(len(first)) and _known_form(first[0].strip())


def read_time(column: pl.Series, *, source: str | None = None) -> tuple[TimeArray, TimeKind]:
    """Read a time column.

    Args:
        column: Date, Datetime, integer, or text in ISO 8601 or a form that can be read in one way only.
        source: file or name for messages.

    Returns:
        datetime64[us] (in UTC where the column has a zone) or int64, shape (rows,); and its TimeKind.

    Raises:
        DataError: a missing or unreadable time (row and value), years of two digits, day and month that
            cannot be told apart, mixed zones, finer than a microsecond.

    Example:
        >>> times, kind = read_time(pl.Series("day", ["2024-01-30", "2024-01-31"]))
        >>> times.astype("datetime64[D]"), kind.kind
        (array(['2024-01-30', '2024-01-31'], dtype='datetime64[D]'), 'date')
    """
    dtype = column.dtype
    if column.null_count():
        rows = column.is_null().arg_true().head(3).to_list()
        raise DataError(
            f"the time is missing in {column.null_count():,} row{'s' * (column.null_count() > 1)}",
            where=rows_place(source, rows, column.name),
            expected="a time in every row",
            hint="fill the time in, or remove the rows",
        )
    if dtype.is_integer():
        _refuse_dates_as_numbers(column, source)
        kind = TimeKind("integer", integer=str(dtype))
        return column.cast(pl.Int64).to_numpy(), kind
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us")).to_numpy(), TimeKind("date")
    if isinstance(dtype, pl.Datetime):
        return _from_datetime(column, dtype, source)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return _from_text(column.cast(pl.String), source)
    raise DataError(
        f"the time column is of type {dtype}",
        where=row_place(source, 0, column.name)[0],
        expected="dates, date times, whole numbers, or text such as 2024-01-31",
        hint="convert the column to dates first",
    )


def _refuse_dates_as_numbers(column: pl.Series, source: str | None) -> None:
    """Refuse 20240131: counted as whole numbers, 20240201 would come 70 steps later."""
    if not len(column) or not 19000101 <= int(column[0]) <= 21001231:
        return
    dates = column.cast(pl.String).str.to_date("%Y%m%d", strict=False)
    if dates.null_count():
        return
    raise DataError(
        f"the whole numbers of the time column are dates: {column[0]}",
        where=row_place(source, 0, column.name)[0],
        expected="dates, or whole numbers that count steps",
        hint="turn them into dates: frame.with_columns(polars.col(name).cast(str).str.to_date('%Y%m%d')) in "
        "Polars, pandas.to_datetime(frame[name], format='%Y%m%d') in pandas",
    )


def _from_datetime(column: pl.Series, dtype: pl.Datetime, source: str | None) -> tuple[TimeArray, TimeKind]:
    if dtype.time_unit == "ns":
        fine = (column.to_physical() % 1000 != 0).arg_true()
        if len(fine):
            place, value = row_place(source, int(fine[0]), column.name, value=column[int(fine[0])])
            raise DataError(
                f"the time {value} is finer than a microsecond", where=place, expected="microseconds"
            )
    zone = dtype.time_zone
    stamps = column.cast(pl.Datetime("us", zone))
    if zone is not None:
        stamps = stamps.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return stamps.to_numpy(), TimeKind("datetime", unit=dtype.time_unit, zone=zone)


def _known_form(text: str) -> bool:
    forms = (_STAMP, _MONTH, _QUARTER, _SHORT_YEAR)
    return any(form.fullmatch(text) for form in forms)


def _from_text(column: pl.Series, source: str | None) -> tuple[TimeArray, TimeKind]:
    text = column.str.strip_chars()
    first = text[0] if len(text) else ""
    if _SHORT_YEAR.fullmatch(first):
        place, value = row_place(source, 0, column.name, value=first)
        raise DataError(
            f"the time {value} has a year of two digits",
            where=place,
            expected=f"a year of four digits, such as {_FORMS}",
            hint="write the year in full; 24-01-31 may mean 2024 or 1924, or the 24th of a month",
        )
    if _MONTH.fullmatch(first):
        return _parsed(text, text + "-01", "%Y-%m-%d", "date", "2024-01", source)
    if _QUARTER.fullmatch(first):
        shape = text.str.extract_groups(r"^(?<year>\d{4})-?[Qq](?<quarter>[1-4])$").struct.unnest()
        month = (shape["quarter"].cast(pl.Int32) * 3 - 2).cast(pl.String).str.zfill(2)
        return _parsed(text, shape["year"] + "-" + month + "-01", "%Y-%m-%d", "date", "2024Q1", source)
    match = _STAMP.fullmatch(first)
    if match is None:
        _refuse(text, column.name, 0, f"dates such as {_FORMS}, or whole numbers", source)
    part = match.groupdict()
    if part["y"]:
        day = f"%Y{part['s']}%m{part['s']}%d"
    elif part["compact"]:
        day = "%Y%m%d"
    else:
        day = _day_or_month_first(text, part["s2"], column.name, source)
    if part["t"] is None:
        return _parsed(text, text, day, "date", first, source)
    hour = "%I" if part["ampm"] else "%H"
    clock = f"{part['t']}{hour}:%M" + (":%S%.f" if part["sec"] else "")
    if part["ampm"]:
        clock += (" " if part["ampm"][0] == " " else "") + "%p"
    if part["zone"]:
        _refuse_mixed_zones(text, column.name, source)
        text_utc = text.str.replace(r"\s?(Z|[+-]\d{2})$", "${1}00").str.replace(r"Z00$", "+0000")
        return _parsed(text, text_utc, day + clock + "%z", "datetime", first, source, zone="UTC")
    return _parsed(text, text, day + clock, "datetime", first, source)


def _day_or_month_first(text: pl.Series, sign: str, name: str, source: str | None) -> str:
    """Find out whether 01/02/2024 is in January or February: from the column, or not at all."""
    day_first, month_first = f"%d{sign}%m{sign}%Y", f"%m{sign}%d{sign}%Y"
    if sign == ".":  # written with points the day always comes first
        return day_first
    first = text.str.extract(r"^(\d{1,2})", 1).cast(pl.Int32)
    second = text.str.extract(r"^\d{1,2}[-/](\d{1,2})", 1).cast(pl.Int32)
    if bool((first > 12).any()):
        return day_first
    if bool((second > 12).any()):
        return month_first
    place, value = row_place(source, 0, name, value=text[0])
    raise DataError(
        f"in {value} the day and the month cannot be told apart, nor in any other row",
        where=place,
        expected=f"a form that can be read in one way only, such as {_FORMS}",
        hint="write times as year-month-day, for instance with pandas.to_datetime(…, dayfirst=True)",
    )


def _refuse_mixed_zones(text: pl.Series, name: str, source: str | None) -> None:
    zones = text.str.extract(r"(Z|[+-]\d{2}:?\d{0,2})$", 1)
    if zones.n_unique() > 1:
        other = (zones.fill_null("none") != (zones[0] or "none")).arg_true()
        rows = [int(row) for row in other.head(3)]
        raise DataError(
            f"the time zones are mixed: {quote_value(text[0])} and {quote_value(text[rows[0]])}",
            where=rows_place(source, rows, name),
            expected="one offset from UTC in all rows",
            hint="write all times in UTC, for instance with pandas.to_datetime(…, utc=True)",
        )


def _parsed(
    shown: pl.Series,
    text: pl.Series,
    form: str,
    kind: Literal["date", "datetime"],
    example: str,
    source: str | None,
    zone: str | None = None,
) -> tuple[TimeArray, TimeKind]:
    if kind == "date":
        stamps = text.str.to_date(form, strict=False).cast(pl.Datetime("us"))
    else:
        stamps = text.str.to_datetime(form, strict=False, time_unit="us")
        if zone is not None:
            stamps = stamps.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if stamps.null_count():
        bad = int(stamps.is_null().arg_true()[0])
        rule = f"a time written like the first one, {quote_value(example)}" if bad else "a time that exists"
        _refuse(shown, shown.name, bad, rule, source)
    return stamps.to_numpy(), TimeKind(kind, zone=zone)


def _refuse(text: pl.Series, name: str, row: int, expected: str, source: str | None) -> NoReturn:
    place, value = row_place(source, row, name, value=text[row])
    raise DataError(
        f"{value} is not a time that can be read",
        where=place,
        expected=expected,
        hint="correct the value; or convert the column to dates first and pass the frame",
    )
