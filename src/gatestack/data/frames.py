"""Frames of every kind come in as Polars and go out as what they were."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import narwhals as nw
import narwhals.exceptions
import polars as pl

from gatestack.data.read import read_table
from gatestack.errors import ArgumentError, DataError

__all__ = ["Frame", "as_polars", "like_input"]

# A path, or a pandas, Polars or Arrow frame: narwhals looks at the object itself, so no type says more.
Frame: TypeAlias = object


def as_polars(frame: Frame, name: str = "frame") -> pl.DataFrame:
    """Turn what the user has into a Polars DataFrame, without copying columns where the memory layouts agree.

    The index of a pandas frame is not read: `frame.reset_index()` makes it a column.

    Args:
        frame: path of a file, or a pandas, Polars (also lazy), PyArrow or other frame that narwhals knows.
        name: what messages call it.

    Returns:
        A Polars DataFrame with the same rows and columns.

    Raises:
        DataError: a file that cannot be read, a frame with two columns of one name or with mixed types in
            one.
        ArgumentError: something else than a frame.

    Example:
        >>> import pandas as pd
        >>> as_polars(pd.DataFrame({"y": [1.0, None]})).rows()
        [(1.0,), (None,)]
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, str | Path):
        return read_table(frame)
    if isinstance(frame, pl.LazyFrame):
        try:
            return frame.collect()
        except pl.exceptions.PolarsError as error:
            raise DataError(f"the lazy frame fails ({_first_line(error)})", where=name) from error
    try:
        known = nw.from_native(frame)  # type: ignore[call-overload]
    except narwhals.exceptions.DuplicateError as error:
        raise DataError(
            f"two columns have the same name ({_first_line(error)})", where=name, hint="rename one of them"
        ) from error
    except TypeError as error:
        raise ArgumentError(
            f"it is of type {type(frame).__name__}",
            where=name,
            expected="a path, or a pandas, Polars or PyArrow frame",
            hint="for arrays, build a frame with a time and a target column: polars.DataFrame({'ds': …, "
            "'y': …})",
        ) from error
    wrong = [column for column in known.columns if not isinstance(column, str)]
    if wrong:
        raise DataError(
            f"the column name {wrong[0]!r} is not text",
            where=name,
            expected="names that are text",
            hint="frame.columns = [str(name) for name in frame.columns]",
        )
    eager = known.collect() if isinstance(known, nw.LazyFrame) else known
    try:
        return eager.to_polars()
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"the frame cannot be read ({_first_line(error)})",
            where=name,
            expected="one type in each column",
            hint="convert the column, for instance with pandas.to_numeric(…) or frame[column].astype(str)",
        ) from error


def like_input(result: pl.DataFrame, original: Frame) -> object:
    """Give a result back as the kind of frame that came in.

    Args:
        result: a Polars DataFrame.
        original: the user's frame or path.

    Returns:
        A pandas frame for a pandas frame, an Arrow table for an Arrow table, otherwise Polars.

    Example:
        >>> import pandas as pd
        >>> type(like_input(pl.DataFrame({"y": [1.0]}), pd.DataFrame())).__module__.split(".")[0]
        'pandas'
    """
    if isinstance(original, str | Path | pl.DataFrame | pl.LazyFrame):
        return result
    implementation = nw.from_native(original, pass_through=False).implementation  # type: ignore[call-overload]
    if implementation.is_pandas():
        return result.to_pandas()
    if implementation.is_pyarrow():
        return result.to_arrow()
    return result


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
