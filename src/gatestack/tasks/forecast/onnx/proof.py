"""What proves an exported forecaster: its own answers, on the data that it keeps and on drawn data.

The answers are those of `predict`, from whole histories. A vector that starts in the middle of a series takes
the state from a pass over the steps before it, so that streaming in ONNX is held against the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gatestack.convert.onnx.parts import RunGraph
from gatestack.convert.proof import ProofVector
from gatestack.data.series_cut import cut_table
from gatestack.data.series_table import SeriesTable
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.onnx.feeds import (
    Feeds,
    feeds_of_steps,
    first_state,
    future_of,
    graph_state,
    named,
)

__all__ = ["TOLERANCE", "call_vector", "proof_vectors", "score_of_graph"]

IntArray = npt.NDArray[np.int64]

TOLERANCE = 2e-5
"""Of a number of size 1: what is drawn has scale 1, so that it is also a share of the scale."""

# Rows of a vector, and series of the score; fewer where each takes 200 sampled paths.
_ROWS, _ROWS_OF_PATHS = 4, 2
_SCORED, _SCORED_OF_PATHS = 64, 4


def proof_vectors(fitted: FittedForecast) -> list[ProofVector]:
    """Give inputs and answers: whole histories of one and of several series, single steps, chunks."""
    found = []
    for table, real in ((fitted.tail, True), (_drawn(fitted), False)):
        for rows, begins, ends in _calls(fitted, table):
            found.append(call_vector(fitted, table, rows, begins, ends, real=real))
    return found


def call_vector(
    fitted: FittedForecast,
    table: SeriesTable,
    rows: IntArray,
    begins: IntArray,
    ends: IntArray,
    *,
    real: bool = False,
) -> ProofVector:
    """Give the inputs of one call and what it must answer.

    Args:
        fitted: what fitting found.
        table: the series; future columns must reach a horizon past each end.
        rows: (N,) which series.
        begins: (N,) the first step that is fed; the state comes from those before it.
        ends: (N,) the step after the last, at least 1.
        real: the table is data.
    """
    inputs = feeds_of_steps(fitted, table, rows, begins, ends)
    part = cut_table(table, rows, ends)
    after = fitted.state_after(fitted.panel(part))
    outputs: Feeds = {
        "quantiles": fitted.quantiles_ahead(after, part, future_of(fitted, table, rows, ends)).astype(
            np.float32
        )
    }
    if fitted.mode != "windows":
        before = _state_before(fitted, table, rows, begins)
        inputs |= named(before, "in")
        outputs |= named(graph_state(fitted, after, ends), "out")
    return ProofVector(inputs, outputs, real=real)


def score_of_graph(fitted: FittedForecast, run: RunGraph) -> dict[str, float]:
    """Score a graph on the last steps of the fit's data: how far rounding moves it, not how good it is.

    The model has seen these steps. Each series is forecast from one and from one and a half horizons before
    its end, from a state that has not begun at the steps that the model keeps.

    Args:
        fitted: what fitting found.
        run: runs the graph.

    Returns:
        `absolute error` of the median and `quantile loss` (its mean over the quantiles), both divided by the
        scale of each series at its end; nothing where no step has a value.
    """
    table, horizon = fitted.tail, fitted.horizon
    count = _SCORED_OF_PATHS if fitted.mode == "recursive" else _SCORED
    scored = _with_room(fitted)[:count]
    lengths = np.diff(table.sequences.offsets)[scored]
    ends = np.maximum(np.concatenate([lengths - horizon, lengths - horizon - horizon // 2]), 1)
    rows = np.tile(scored, 2)
    inputs = feeds_of_steps(fitted, table, rows, np.zeros_like(ends), ends)
    if fitted.mode != "windows":
        inputs |= named(first_state(fitted, len(rows)), "in")
    quantiles = run(inputs)["quantiles"].astype(np.float64)
    ahead = table.sequences.offsets[rows][:, None] + ends[:, None] + np.arange(horizon)
    truth = table.target_at(ahead)
    known = np.isfinite(truth)
    if not known.any():
        return {}
    scale = fitted.state.moments.numpy()[rows, 1].astype(np.float64)[:, None, None]
    error = np.where(known, truth, 0.0)[..., None] - quantiles
    levels = np.array(fitted.levels)
    loss = np.maximum(levels * error, (levels - 1) * error) / scale
    median = np.abs(error[..., len(levels) // 2]) / scale[..., 0]
    return {"absolute error": float(median[known].mean()), "quantile loss": float(loss[known].mean())}


def _calls(fitted: FittedForecast, table: SeriesTable) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
    """Say which steps of which series are fed in each call: rows, begins, ends."""
    whole = np.diff(table.sequences.offsets) - fitted.horizon
    room = _with_room(fitted)
    one = room[:1]
    yield one, np.array([0]), whole[one]
    # Rows of many lengths, one step among them.
    count = _ROWS_OF_PATHS if fitted.mode == "recursive" else _ROWS
    rows = room[np.arange(count) % len(room)]
    ends = np.maximum(whole[rows] - np.arange(count) * 2, 1)
    ends[-1] = 1
    yield rows, np.zeros_like(rows), ends
    if fitted.mode == "windows":
        yield one, np.array([0]), np.array([1])
        return
    # A step of a stream, a row without one beside it, and a chunk. The steps that a fit needs leave two.
    rows, ends = rows[:2], whole[rows[:2]]
    begins = np.maximum(ends - 3, 1)
    yield one, begins[:1], begins[:1] + 1
    yield rows, begins, begins + np.array([1, 0])
    yield rows, begins, ends


def _with_room(fitted: FittedForecast) -> IntArray:
    """Find the series with two steps before a horizon; a fit needs one, and others may be shorter."""
    return np.flatnonzero(np.diff(fitted.tail.sequences.offsets) >= fitted.horizon + 2)


def _state_before(fitted: FittedForecast, table: SeriesTable, rows: IntArray, begins: IntArray) -> Feeds:
    if not begins.any():
        return first_state(fitted, len(rows))
    part = cut_table(table, rows, begins)
    return graph_state(fitted, fitted.state_after(fitted.panel(part)), begins)


def _drawn(fitted: FittedForecast) -> SeriesTable:
    """Give a table like the end of the fit's, with drawn numbers: walks of scale 1 with missing values.

    Where each series has a scale of its own, its walk goes in units of that.
    """
    table, shape = fitted.tail, fitted.network.shape
    sequences = table.sequences
    random = np.random.default_rng(0)
    values = random.normal(size=sequences.values.shape)
    steps = np.repeat(np.arange(len(sequences)), np.diff(sequences.offsets))
    walk = 0.7 * values[:, 0] + 0.2 * np.cumsum(values[:, 0])
    own = fitted.series_scale
    values[:, 0] = walk if own is None else own.level[steps] + own.scale[steps] * walk
    columns = slice(0, values.shape[1] - 1)
    mean, scale = (
        part.numpy()[columns] for part in (fitted.network.covariate_mean, fitted.network.covariate_scale)
    )
    values[:, 1:] = mean + scale * values[:, 1:]
    past, known, of_series = shape.of_columns()
    _draw_codes(values[:, 1:], past + known, random)
    observed = np.ones(values.shape, dtype=bool)
    missing = 1 + shape.past  # future columns are always known
    observed[:, :missing] = random.random((len(values), missing)) > 0.2
    values[~observed] = 0.0
    static = sequences.static
    if static is not None:
        drawn = random.normal(size=static.shape)
        static = fitted.network.static_mean.numpy() + fitted.network.static_scale.numpy() * drawn
        _draw_codes(static, of_series, random)
    drawn_sequences = replace(sequences, values=values.astype(np.float32), observed=observed, static=static)
    return replace(table, sequences=drawn_sequences)


def _draw_codes(
    values: npt.NDArray[np.floating], categories: tuple[int, ...], random: np.random.Generator
) -> None:
    """Write drawn codes over the columns of categories, the unknown one among them."""
    for column, count in enumerate(categories):
        if count:
            values[:, column] = random.integers(0, count + 1, len(values))
