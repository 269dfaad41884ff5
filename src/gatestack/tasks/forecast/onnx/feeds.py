"""The inputs of an exported forecaster made of a table, and its states made of those of a stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.convert.onnx.layer_vectors import state_name
from gatestack.data.series_table import SeriesTable
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.onnx.graph import state_tensors
from gatestack.tasks.forecast.panel import static_columns
from gatestack.tasks.forecast.state import SeriesState

__all__ = ["Feeds", "feeds_of_steps", "first_state", "future_of", "graph_state", "named"]

Feeds = dict[str, npt.NDArray[Any]]
IntArray = npt.NDArray[np.int64]


def feeds_of_steps(
    fitted: FittedForecast, table: SeriesTable, rows: IntArray, begins: IntArray, ends: IntArray
) -> Feeds:
    """Make the inputs of a call, but for the state: steps `begins` … `ends` - 1 of some series of a table.

    Args:
        fitted: what fitting found.
        table: the series; future columns must reach a horizon past each end.
        rows: (N,) which series.
        begins: (N,) the first step of each, counted from its start.
        ends: (N,) the step after the last, at least 1; where it equals `begins`, no step is fed.
    """
    sequences, columns = table.sequences, table.columns
    steps = max(int((ends - begins).max()), 1)
    inside = np.arange(steps) < (ends - begins)[:, None]
    at = np.where(inside, sequences.offsets[rows][:, None] + begins[:, None] + np.arange(steps), 0)
    values = sequences.values[at].astype(np.float32)
    real = np.ones_like(values, dtype=bool) if sequences.observed is None else sequences.observed[at]
    values[~(real & inside[..., None])] = np.nan
    past = 1 + len(columns.past)
    feeds: Feeds = {"target": values[..., 0], "lengths": ends - begins}
    if columns.past:
        feeds["past"] = values[..., 1:past]
    if columns.future:
        feeds["future"] = values[..., past:]
        feeds["future_ahead"] = future_of(fitted, table, rows, ends)
    if fitted.calendar:
        last = table.times[sequences.offsets[rows] + ends - 1]
        ahead = table.frequency.advance(last[:, None], np.arange(1, fitted.horizon + 1))
        feeds["times"] = _microseconds(table, table.times[at])
        feeds["times_ahead"] = _microseconds(table, ahead)
    if columns.static:
        feeds["static"] = static_columns(table)[rows]
    if fitted.series_scale is not None:
        numbers = {key: row for row, key in enumerate(fitted.tail.sequences.keys or ())}
        feeds["series"] = np.array([numbers[(sequences.keys or ())[row]] for row in rows])
    return {name: np.ascontiguousarray(array) for name, array in feeds.items()}


def future_of(
    fitted: FittedForecast, table: SeriesTable, rows: IntArray, ends: IntArray
) -> npt.NDArray[np.float32]:
    """Give the future columns of the steps after `ends`, (N, horizon, columns)."""
    first = table.sequences.offsets[rows] + ends
    ahead = first[:, None] + np.arange(fitted.horizon)
    ahead = np.minimum(ahead, len(table.sequences.values) - 1)  # without future columns nothing is read
    values: npt.NDArray[np.float32] = table.sequences.values[ahead].astype(np.float32)
    return values[..., 1 + len(table.columns.past) :]


def first_state(fitted: FittedForecast, rows: int) -> Feeds:
    """Give the state before the first step of `rows` series, as the graph takes it: zeros."""
    return {
        part.name: np.zeros([rows if size == "batch" else int(size) for size in part.shape], part.dtype)
        for part in state_tensors(fitted)
    }


def graph_state(fitted: FittedForecast, state: SeriesState, steps: IntArray) -> Feeds:
    """Give the state of a stream as the graph takes and gives it, see `named`."""
    arrays = state.to_arrays()
    found: Feeds = {
        "steps": steps,
        "begun": arrays["begun"],
        "values": arrays["target"],
        "hidden": arrays["hidden"],
    }
    if fitted.series_scale is None:
        found |= {
            "seen": arrays["scaling.recent_seen"],
            "origin": arrays["scaling.origin"],
            "sums": arrays["scaling.sums"].T,
        }
    layers = [array for name, array in arrays.items() if name.startswith("layer_")]
    names = [part.name for part in state_tensors(fitted)]
    found |= dict(zip(names[len(found) :], layers, strict=True))
    return {name: np.ascontiguousarray(found[name]) for name in names}


def named(state: Feeds, way: str) -> Feeds:
    """Name the parts of a state as inputs ("in") or outputs ("out") of the graph."""
    return {state_name(name, way): array for name, array in state.items()}


def _microseconds(table: SeriesTable, times: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return table.to_wall(times).astype("datetime64[us]").astype(np.int64)
