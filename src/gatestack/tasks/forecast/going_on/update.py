"""New observations move the state of each series on, without training: forecasts go on from there at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatestack.data.calendar_encoding import calendar_features
from gatestack.data.frames import Frame, as_polars
from gatestack.data.series_cut import cut_table
from gatestack.data.series_future import future_values, split_horizon
from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError, DataError
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.going_on.extend import NewSteps, extended, join_tables, new_steps
from gatestack.tasks.forecast.going_on.step import forecast_and_learn, go_on
from gatestack.tasks.forecast.intervals.adaptive import AdaptiveShares
from gatestack.tasks.forecast.intervals.corrected import shares_after
from gatestack.tasks.forecast.panel import static_columns
from gatestack.tasks.forecast.prediction import read_like_fit
from gatestack.tasks.forecast.state import SeriesState

__all__ = ["updated"]

IntArray = npt.NDArray[np.int64]


def updated(fitted: FittedForecast, frame: Frame, future: Frame | None) -> FittedForecast:
    """Make the forecaster that knows these observations too; see `Forecaster.update`.

    Args:
        fitted: what fitting, or the last update, found; it stays as it is.
        frame: rows after the last known time of each series, earlier ones as they were, and new series.
        future: the future columns of the steps ahead, where adaptive intervals need them.
    """
    if fitted.mode == "windows":
        raise ArgumentError(
            "mode is 'windows', which starts every window from a zero state",
            where="update",
            expected="mode 'direct' or 'recursive'",
            hint="use predict with the history",
        )
    tail, columns = fitted.tail, fitted.tail.columns
    data = as_polars(frame)
    if columns.future:
        # As in predict, rows at the end without a target are not observed yet.
        source = str(frame) if isinstance(frame, str | Path) else None
        data, ahead = split_horizon(
            data, target=columns.target, time=columns.time, series=columns.series, source=source
        )
        future = ahead if future is None and ahead.height else future
    table = read_like_fit(fitted, data, frame)
    if table.time_kind.zone != tail.time_kind.zone:
        raise DataError(
            f"its times are {_zone(table)}",
            where=table.source,
            expected=f"times {_zone(tail)}, as in the fit",
        )
    parts = new_steps(tail, table)
    known = set(tail.sequences.keys or ())
    new = np.array([row for row, key in enumerate(table.sequences.keys or ()) if key not in known], dtype=int)
    kept = max(fitted.network.shape.window, 3 * fitted.horizon)
    longer = extended(tail, parts, kept)
    state, shares = _moved(fitted, longer, parts, _known_ahead(fitted, longer, future))
    if len(new):
        lengths = np.diff(table.sequences.offsets)
        first = cut_table(table, new, lengths[new])
        state = SeriesState.join([state, fitted.state_of(first)])
        begun = fitted.shares and shares_after(fitted, first, fitted.panel(first))
        shares = None if shares is None or begun is None else AdaptiveShares.join([shares, begun])
        longer = join_tables(longer, first, kept)
    return replace(fitted, tail=longer, state=state, shares=shares)


def _zone(table: SeriesTable) -> str:
    return f"in {table.time_kind.zone}" if table.time_kind.zone else "without a zone"


def _known_ahead(
    fitted: FittedForecast, longer: SeriesTable, future: Frame | None
) -> npt.NDArray[np.float32] | None:
    """Read the future columns after the new end, (series, horizon, columns); None where none is needed."""
    names = longer.columns.future
    if not names or fitted.shares is None:
        return None
    if future is None:
        raise DataError(
            f"adaptive intervals need {', '.join(names)} for the next {fitted.horizon} steps",
            where="update",
            expected="a frame of them as future=",
        )
    return future_values(longer, future, fitted.horizon)


def _moved(
    fitted: FittedForecast,
    longer: SeriesTable,
    parts: Sequence[NewSteps],
    known: npt.NDArray[np.float32] | None,
) -> tuple[SeriesState, AdaptiveShares | None]:
    """Run the new steps of each known series; series with equally many side by side."""
    rows: list[int] = []
    states, learned = [], []
    for _, group in groupby(sorted(parts, key=_steps), key=_steps):
        together = list(group)
        here = np.array([part.row for part in together])
        values = np.stack([part.values for part in together])
        future = np.zeros((len(here), fitted.horizon, 0), np.float32) if known is None else known[here]
        state, shares = _run(fitted, longer, here, values, future)
        rows += here.tolist()
        states.append(state)
        learned += [] if shares is None else [shares]
    still = np.setdiff1d(np.arange(len(fitted.tail.sequences)), rows)
    order = np.argsort(np.concatenate([np.array(rows, dtype=np.int64), still]))
    state = SeriesState.join([*states, fitted.state.take(still)] if len(still) else states).take(order)
    if fitted.shares is None:
        return state, None
    return state, AdaptiveShares.join([*learned, fitted.shares.take(still)]).take(order)


def _steps(part: NewSteps) -> int:
    return len(part.values)


def _run(
    fitted: FittedForecast,
    longer: SeriesTable,
    rows: IntArray,
    values: npt.NDArray[np.float32],
    future: npt.NDArray[np.float32],
) -> tuple[SeriesState, AdaptiveShares | None]:
    """Go on by (rows, steps, features); `future`, (rows, horizon, columns), is what is known after them."""
    steps, horizon = values.shape[1], fitted.horizon
    state = fitted.state.take(rows)
    shares = None if fitted.shares is None else fitted.shares.take(rows)
    static = static_columns(longer)[rows]
    keys = tuple((longer.sequences.keys or ())[row] for row in rows)
    calendar = _calendar(fitted, rows, steps + horizon)
    past = len(longer.columns.past) + 1
    known = np.concatenate([values[..., past:], future], axis=1) if future.shape[2] else None
    for step in range(steps):
        state = go_on(fitted, state, np.concatenate([values[:, step], calendar[:, step]], axis=1), static)
        if shares is None:
            continue
        coming = slice(step + 1, step + 1 + horizon)
        ahead = calendar[:, coming]
        if known is not None:
            ahead = np.concatenate([known[:, coming], ahead], axis=2)
        _, shares = forecast_and_learn(fitted, keys, state, shares, values[:, step, 0], ahead, static)
    return state, shares


def _calendar(fitted: FittedForecast, rows: IntArray, steps: int) -> npt.NDArray[np.float32]:
    """Give the calendar features of the steps after the last known one, (rows, steps, features)."""
    if not fitted.calendar:
        return np.zeros((len(rows), steps, 0), dtype=np.float32)
    tail = fitted.tail
    times = tail.frequency.advance(tail.last_times[rows][:, None], np.arange(1, steps + 1))
    features = calendar_features(tail.to_wall(times).reshape(-1), fitted.calendar)[0]
    return features.reshape(len(rows), steps, -1)
