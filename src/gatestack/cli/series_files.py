"""Files of series in the layouts that the commands take: one row per step, or one series a row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatestack.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Wide", "read_series", "series_followed_by"]

Wide = Annotated[
    bool,
    typer.Option(
        "--wide",
        help="The file holds, below a line of headers, one series a row: its name, then its values.",
        rich_help_panel="Data",
    ),
]


def read_series(file: Path, *, wide: bool) -> Path | pl.DataFrame:
    """Give what an estimator takes: the file itself, or the frame that a wide one holds."""
    if not wide:
        return file
    from gatestack.data.wide_series import read_wide

    return read_wide(file)


def series_followed_by(history: Path, after: Path, *, wide: bool) -> pl.DataFrame:
    """Put the steps that came after series behind them.

    Args:
        history: file of the series.
        after: file of what came after them, in the same layout.
        wide: one series a row.

    Raises:
        DataError: a file cannot be read, or `after` lacks a column or holds an unknown series.
    """
    import polars as pl

    from gatestack.data.frames import as_polars
    from gatestack.data.wide_series import continue_series, read_wide

    if wide:
        return continue_series(read_wide(history), read_wide(after), source=str(after))
    before, later = as_polars(history), as_polars(after)
    absent = [name for name in before.columns if name not in later.columns]
    if absent:
        raise DataError(
            f"it lacks the column{'s' * (len(absent) > 1)} {', '.join(absent)}",
            where=str(after),
            expected=f"the columns of {history}",
        )
    try:
        return pl.concat([before, later.select(before.columns)], how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"its columns are not of the same kinds as those of {history} ({str(error).splitlines()[0]})",
            where=str(after),
        ) from error
