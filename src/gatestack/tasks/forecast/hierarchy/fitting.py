"""What a coherent forecaster is fitted on: the table of all nodes, and the errors of their forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gatestack.data.frames import Frame, as_polars
from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError, DataError, quote_value
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.hierarchy.nodes import Hierarchy
from gatestack.tasks.forecast.hierarchy.projection import Method, Projection, fit_projection

__all__ = ["MOST_ORIGINS", "project", "read_nodes"]

MOST_ORIGINS = 200
"""Forecasts of the past that the projection is fitted on, at most."""


def read_nodes(
    frame: Frame, sums: Sequence[str], columns: Mapping[str, Any]
) -> tuple[Hierarchy, SeriesTable]:
    """Read the hierarchy of a table, and the table of all its nodes.

    Args:
        frame: path, or frame, with a row per series and time.
        sums: columns that name the hierarchy, coarse to fine.
        columns: the columns by role and the step, as `SeriesTable.from_frame` takes them.

    Raises:
        ArgumentError: a column does not exist, or there is none of keys.
        DataError: the data cannot be used, or the series do not end at the same time.
    """
    data = as_polars(frame)
    # The user's own table is read first, so that messages name its rows.
    own = SeriesTable.from_frame(
        data, **columns, source=str(frame) if isinstance(frame, str | Path) else None
    )
    if own.columns.series is None:
        raise ArgumentError(
            "the table has no column of keys",
            where=own.source,
            expected="several series, and series='<column>'",
            hint="one series alone has nothing to add up",
        )
    _check_ends(own)
    hierarchy = Hierarchy.from_frame(data, own.columns.series, sums)
    totals = hierarchy.add_totals(data, own.columns, own.source)
    table = SeriesTable.from_frame(totals, **{**columns, "frequency": own.frequency})
    return hierarchy, replace(table, source=own.source)


def project(method: Method, hierarchy: Hierarchy, fitted: FittedForecast, table: SeriesTable) -> Projection:
    """Forecast the end of the data of the fit one step ahead, and fit the projection on the errors.

    Args:
        method: how forecasts are made to add up.
        hierarchy: the nodes, in the order of the table.
        fitted: the model of all nodes.
        table: that it was fitted on.
    """
    panel = fitted.panel(table)
    most = min(MOST_ORIGINS, int(panel.lengths.min()) - 1)
    rows = np.arange(len(panel.lengths)).repeat(most)
    positions = panel.lengths[rows] - 1 - np.tile(np.arange(most, 0, -1), len(panel.lengths))
    truth = table.target_at(panel.offsets[rows] + positions + 1)
    begun = positions >= np.maximum(panel.first_observed[rows], fitted.network.shape.window - 1)
    middle = len(fitted.levels) // 2
    forecast = np.full(len(rows), np.nan)
    forecast[begun] = fitted.quantiles_at(table, panel, rows[begun], positions[begun])[:, 0, middle]
    nodes = len(hierarchy.nodes)
    return fit_projection(method, hierarchy.summing, truth.reshape(nodes, -1), forecast.reshape(nodes, -1))


def _check_ends(table: SeriesTable) -> None:
    """Refuse series that end at different times: their sum at the next step would be one of old values."""
    last = table.last_times
    late = np.flatnonzero(last != last.max())
    if len(late):
        key = (table.sequences.keys or ())[int(late[0])]
        ends = table.time_kind.to_series(np.array([last[late[0]], last.max()]), "end")
        raise DataError(
            f"series {quote_value(key)} ends at {ends[0]}, others at {ends[1]}",
            where=table.source,
            expected="series that end at the same time, to be summed",
            hint="leave the series out, or add rows with an empty target up to the end",
        )
