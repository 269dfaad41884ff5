"""`--group`: the cases of one person or machine stay in one fold of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatestack.errors import ArgumentError, DataError, nearest_name, quote_value

if TYPE_CHECKING:
    import polars as pl

    from gatestack.data.collections.labelled import LabelColumns, LabelledSequences, TargetKind

__all__ = ["GroupColumn", "read_with_groups"]

GroupColumn = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column that names the person or machine of a case, whose cases all stay in one fold.  "
        "[default: none]",
        rich_help_panel="Data",
    ),
]


def read_with_groups(
    file: Path, columns: LabelColumns, *, kind: TargetKind, group: str | None
) -> tuple[LabelledSequences, dict[str, Any]]:
    """Read labelled sequences, and of a table the group of each.

    Args:
        file: of the sequences.
        columns: the columns of a table by role.
        kind: what the labels are read as.
        group: column of groups, which is no column of values; None where there are none.

    Returns:
        The cases, and the options of a study that say their groups.

    Raises:
        ArgumentError: no such column, or a file without columns.
        DataError: a group is missing, or differs inside a case; what `read_labelled` raises.
    """
    from gatestack.data.collections import read_labelled
    from gatestack.data.collections.tables import from_table
    from gatestack.data.frames import as_polars

    if group is None:
        read = read_labelled(file, kind=kind, label=columns.label, case=columns.case, time=columns.time)
        return read, {}
    if file.suffix.lower() in (".ts", ".arff"):
        raise ArgumentError(
            f"the file has no columns, so --group {group} names nothing", where=str(file), expected="a table"
        )
    frame = as_polars(file)
    if group not in frame.columns:
        raise ArgumentError(
            f"there is no column {quote_value(group)}",
            where=str(file),
            hint=nearest_name(group, frame.columns),
        )
    cases = from_table(frame.drop(group), columns=columns, kind=kind, source=str(file))
    return cases, {"groups": _group_of_each(frame, cases, group)}


def _group_of_each(frame: pl.DataFrame, cases: LabelledSequences, group: str) -> list[Any]:
    import polars as pl

    from gatestack.data.places import row_place

    if frame[group].null_count():
        row = int(frame[group].is_null().arg_true()[0])
        raise DataError("the group is missing", where=row_place(cases.source, row, group)[0])
    case = None if cases.columns is None else cases.columns.case
    if case is None:
        return frame[group].to_list()
    found = frame.group_by(case, maintain_order=True).agg(
        pl.col(group).first(), pl.col(group).n_unique().alias("count")
    )
    mixed = found.filter(pl.col("count") > 1)
    if mixed.height:
        raise DataError(
            f"the case {quote_value(mixed[case][0])} is in {mixed['count'][0]} groups",
            where=f"{cases.source}, column {quote_value(group)}",
            expected="one group for all rows of a case",
        )
    return found[group].to_list()
