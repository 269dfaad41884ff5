"""Writing the files that a command was asked for."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from gatestack.cli.options import is_plain_file, refuse_existing
from gatestack.errors import ArgumentError, nearest_name

if TYPE_CHECKING:
    import polars as pl

__all__ = ["check_table_path", "write_output", "write_table"]

_TABLES = (".csv", ".parquet")


def check_table_path(path: Path, overwrite: bool) -> None:
    """Raise before any work is done where a table cannot be written to a path.

    Raises:
        ArgumentError: its ending is neither `.csv` nor `.parquet`, or it exists and may not be replaced.
    """
    if path.suffix.lower() not in _TABLES:
        raise ArgumentError(
            f"the ending is {path.suffix!r}",
            where=str(path),
            expected=" or ".join(_TABLES),
            hint=nearest_name(path.suffix, _TABLES),
        )
    refuse_existing(path, overwrite, replaceable=is_plain_file)


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Write a table as CSV or Parquet, by the ending of the path.

    Raises:
        StorageError: disk full, no permission.
    """
    content = io.BytesIO()
    if path.suffix.lower() == ".csv":
        table.write_csv(content)
    else:
        table.write_parquet(content)
    write_output(path, content.getvalue())


def write_output(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent, with the folders above it.

    Raises:
        StorageError: disk full, no permission.
    """
    from gatestack.runtime.durable import storage_error, write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path, "write") from error
    write_atomically(path, content)
