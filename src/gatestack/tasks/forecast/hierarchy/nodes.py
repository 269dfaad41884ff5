"""Series that add up: which totals there are, and how a table gets them.

With S of shape (nodes, series), 1 where a series is part of a node, the values of all nodes are S times those
of the series. Totals come first, coarse to fine, the series themselves last:

    sums ["sector", "industry"]  →  total; each sector; each sector/industry; each series

A part that has one series, or those of a part above it, is that series or that part, and no node of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.table_columns import Columns
from gatestack.errors import ArgumentError, DataError, nearest_name, quote_value

__all__ = ["TOTAL", "Hierarchy"]

FloatArray = npt.NDArray[np.float64]

TOTAL = "total"
"""The node, and the level, that is the sum of all series."""


@dataclass(frozen=True)
class Hierarchy:
    """Nodes and which series each is the sum of.

    Attributes:
        nodes: names, totals first, coarse to fine, the series last.
        levels: (nodes,) the level of each: `"total"`, `"sector"`, `"sector/industry"`, …, the column of keys.
        summing: (nodes, series) of 0 and 1.

    Example:
        >>> frame = pl.DataFrame({"unique_id": ["a", "b", "c"], "sector": ["x", "x", "y"]})
        >>> found = Hierarchy.from_frame(frame, "unique_id", ["sector"])
        >>> found.nodes
        ('total', 'x', 'a', 'b', 'c')
        >>> found.summing[1].tolist()
        [1.0, 1.0, 0.0]
    """

    nodes: tuple[str, ...]
    levels: tuple[str, ...]
    summing: FloatArray

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, series: str, sums: Sequence[str]) -> Hierarchy:
        """Read the hierarchy from columns that name it.

        Args:
            frame: a row per series and time.
            series: column of keys.
            sums: columns from coarse to fine, one value per series; none for one total of all series.

        Raises:
            ArgumentError: a column does not exist or is named twice.
            DataError: a value is missing or differs inside a series; two nodes have the same name.
        """
        _check_columns(frame, series, sums)
        text = frame.select(pl.col(series, *sums).cast(pl.String)).with_row_index("row")
        missing = text.filter(pl.any_horizontal(pl.col(*sums).is_null())) if sums else text.head(0)
        if missing.height:
            raise DataError(
                f"a name of the hierarchy is missing in row {missing['row'][0] + 1}",
                where=f"columns {', '.join(sums)}",
                expected="a value in each row",
            )
        table = text.drop("row").unique(maintain_order=True)
        double = table.filter(pl.col(series).is_duplicated())
        if double.height:
            raise DataError(
                f"series {quote_value(double[series][0])} stands in two places of the hierarchy",
                where=f"columns {', '.join(sums)}",
                expected="one value per series",
            )
        nodes, levels, rows = [TOTAL], [TOTAL], [np.ones(table.height)]
        for depth in range(1, len(sums) + 1):
            path = table.select(pl.concat_str(sums[:depth], separator="/").alias("node"))["node"]
            for node in path.unique(maintain_order=True):
                members = (path == node).to_numpy().astype(np.float64)
                if members.sum() > 1 and not any((members == row).all() for row in rows):
                    nodes.append(node)
                    levels.append("/".join(sums[:depth]))
                    rows.append(members)
        nodes += table[series].to_list()
        levels += [series] * table.height
        twice = sorted({name for name in nodes if nodes.count(name) > 1})
        if twice:
            raise DataError(
                f"two parts of the hierarchy are called {quote_value(twice[0])}",
                where=f"columns {', '.join([series, *sums])}",
                expected=f"names that differ, other than {TOTAL!r}",
                hint="rename the series or the column's value",
            )
        return cls(tuple(nodes), tuple(levels), np.vstack([*rows, np.eye(table.height)]))

    @property
    def series(self) -> tuple[str, ...]:
        """Names of the series themselves."""
        return self.nodes[len(self.nodes) - self.summing.shape[1] :]

    def add_totals(self, frame: pl.DataFrame, columns: Columns, where: str) -> pl.DataFrame:
        """Give the rows of every node at every time.

        The target of a total is the sum of its series, missing where one of them is missing; other columns of
        numbers are their mean.

        Args:
            frame: a row per series and time, with the columns of `columns` that it has; others are dropped.
            columns: the roles of the columns.
            where: what messages call the frame.

        Raises:
            DataError: other series than those of the hierarchy; a column of a total that is not a number.
        """
        key, time = columns.series or "", columns.time
        values = [name for name in columns.features if name in frame.columns]
        frame = frame.select(pl.col(key).cast(pl.String), time, *values)
        self._check_series(frame[key], where)
        for name in values:
            if not frame.schema[name].is_numeric() and frame.schema[name] != pl.Null:
                raise DataError(
                    f"the column {quote_value(name)} holds {frame.schema[name]}",
                    where=where,
                    expected="numbers, which can be summed or averaged",
                )
        parts = []
        for node, row in zip(self.nodes, self.summing, strict=True):
            members = [name for name, inside in zip(self.series, row, strict=True) if inside]
            if members == [node]:
                parts.append(frame.filter(pl.col(key) == node))
                continue
            whole = pl.len() == len(members)
            of_node = [
                pl.when(
                    whole & (pl.col(name).is_not_null() & ~pl.col(name).cast(pl.Float64).is_nan()).all()
                ).then(pl.col(name).sum() if name == columns.target else pl.col(name).mean())
                for name in values
            ]
            total = (
                frame.filter(pl.col(key).is_in(members))
                .group_by(time, maintain_order=True)
                .agg(value.alias(name) for value, name in zip(of_node, values, strict=True))
                .sort(time)
            )
            parts.append(total.select(pl.lit(node).alias(key), time, *values))
        return pl.concat(parts, how="vertical_relaxed")

    def _check_series(self, keys: pl.Series, where: str) -> None:
        found = set(keys.unique().to_list())
        missing = [name for name in self.series if name not in found]
        new = sorted(str(name) for name in found - set(self.series))
        if missing or new:
            text = "; ".join(
                f"{word}: {', '.join(quote_value(name) for name in names[:3])}"
                for word, names in (("missing", missing), ("not known", new))
                if names
            )
            raise DataError(
                f"its series are not those of the hierarchy; {text}",
                where=where,
                expected=f"the {len(self.series)} series of the fit",
                hint="a sum needs all of its parts; fit again where the hierarchy has changed",
            )


def _check_columns(frame: pl.DataFrame, series: str, sums: Sequence[str]) -> None:
    for name in sums:
        if name not in frame.columns:
            raise ArgumentError(
                f"there is no column {quote_value(name)}",
                where="sums",
                hint=nearest_name(name, frame.columns),
            )
        if name == series or list(sums).count(name) > 1:
            raise ArgumentError(
                f"the column {quote_value(name)} is named twice", where="sums", expected="each column once"
            )
