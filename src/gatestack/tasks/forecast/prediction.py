"""Forecasts in the user's own terms: from a frame, or from the end of the data of the fit, to a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.frames import Frame, as_polars, like_input
from gatestack.data.series_future import future_values, split_horizon
from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError, DataError
from gatestack.tasks.evaluation import MODEL
from gatestack.tasks.forecast.evaluation import interval_columns
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.intervals.adaptive import AdaptiveShares
from gatestack.tasks.forecast.intervals.corrected import corrected, shares_after
from gatestack.tasks.forecast.state import SeriesState

__all__ = ["History", "predict_frame", "read_history", "read_like_fit"]


class History(NamedTuple):
    """What lies before the steps ahead of each series, and what is known of these.

    Attributes:
        table: the series.
        state: after the last step of each.
        shares: what adaptive intervals may miss by then; None where they do not adapt.
        future: (series, horizon, future columns), in the user's unit.
    """

    table: SeriesTable
    state: SeriesState
    shares: AdaptiveShares | None
    future: npt.NDArray[np.float32]


def predict_frame(fitted: FittedForecast, frame: Frame | None, future: Frame | None) -> Any:
    """Forecast the steps after the end of each series; see `Forecaster.predict`.

    Args:
        fitted: what fitting found.
        frame: the history, or None for that of the fit.
        future: the future columns of the steps ahead, or None.
    """
    history = read_history(fitted, frame, future, where="predict")
    table = history.table
    quantiles = fitted.quantiles_ahead(history.state, table, history.future)
    scale = history.state.moments[:, 1].numpy().astype(np.float64)
    quantiles = corrected(fitted, table.sequences.keys or (), quantiles, scale, history.shares)
    levels = fitted.levels
    index = {MODEL: len(levels) // 2} | interval_columns(levels)
    result = table.forecast_frame(fitted.horizon).with_columns(
        pl.Series(name, quantiles[..., place].reshape(-1)) for name, place in index.items()
    )
    return result if frame is None else like_input(result, frame)


def read_history(fitted: FittedForecast, frame: Frame | None, future: Frame | None, *, where: str) -> History:
    """Read what a forecast is made from, and run the series to their ends.

    Args:
        fitted: what fitting found.
        frame: the history, or None for that of the fit.
        future: the future columns of the steps ahead, or None.
        where: the method that asks, for messages.
    """
    columns = fitted.tail.columns
    if future is not None and not columns.future:
        raise ArgumentError(
            "future= is given, but the model was fitted without future columns",
            where=where,
            expected="None",
            hint="name the columns that are known ahead in fit(…, future=[…])",
        )
    if frame is None:
        table, state, shares = fitted.tail, fitted.state, fitted.shares
    else:
        data = as_polars(frame)
        if columns.future and future is None:
            data, future = split_horizon(
                data,
                target=columns.target,
                time=columns.time,
                series=columns.series,
                source=str(frame) if isinstance(frame, str | Path) else None,
            )
        table = read_like_fit(fitted, data, frame)
        state = fitted.state_of(table)
        shares = fitted.shares and shares_after(fitted, table, fitted.panel(table))
    return History(table, state, shares, _needed_future(table, future, fitted.horizon, where))


def read_like_fit(fitted: FittedForecast, data: pl.DataFrame, frame: Frame) -> SeriesTable:
    """Read a table with the columns and the frequency of the fit.

    Args:
        fitted: what fitting found.
        data: the table.
        frame: what the user gave it as, for messages.

    Raises:
        DataError: other columns, another frequency or another kind of time than in the fit; or targets that
            the distribution does not know, such as fractions where it is one of counts.
    """
    tail = fitted.tail
    columns = tail.columns
    table = SeriesTable.from_frame(
        data,
        target=columns.target,
        time=columns.time,
        series=columns.series,
        past=columns.past,
        future=columns.future,
        static=columns.static,
        frequency=tail.frequency,
        categories=tail.categories,
        source=str(frame) if isinstance(frame, str | Path) else None,
    )
    tail.check_same_columns(table)
    fitted.network.distribution.check(table)
    return table


def _needed_future(
    table: SeriesTable, future: Frame | None, horizon: int, where: str
) -> npt.NDArray[np.float32]:
    names = table.columns.future
    if not names:
        return np.zeros((len(table.sequences), horizon, 0), dtype=np.float32)
    if future is None:
        raise DataError(
            f"the model needs {', '.join(names)} for the next {horizon} steps",
            where=where,
            expected="a frame of them as future=",
        )
    return future_values(table, future, horizon)
