"""The quantiles that a fitted forecaster gives: those of its network, with the bounds it was told to correct.

Every forecast comes through here, in a batch, at the end of a table, and in a stream; `intervals="model"`
leaves the quantiles as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from gatestack.data.series_table import SeriesTable
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.intervals.adaptive import AdaptiveShares
from gatestack.tasks.forecast.intervals.conformal import miscoverage, widened
from gatestack.tasks.forecast.panel import Panel

__all__ = ["corrected", "corrected_at", "first_new_steps", "shares_after"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Forecasts from every step are made at once for so many origins, or for one series: bounds the memory.
_ORIGINS = 20_000


def corrected(
    fitted: FittedForecast,
    keys: tuple[str, ...],
    quantiles: FloatArray,
    scale: FloatArray,
    shares: AdaptiveShares | None,
) -> FloatArray:
    """Correct the intervals of one forecast for each of some series.

    Args:
        fitted: what fitting found.
        keys: of the series.
        quantiles: (series, horizon, quantiles) of the network.
        scale: (series,) at the origin.
        shares: what adaptive intervals may miss by now; None for those of the fit.
    """
    if fitted.calibration is None:
        return quantiles
    share = miscoverage(fitted.levels) if shares is None else shares.share
    return widened(quantiles, fitted.calibration.offsets(keys, share), scale)


def corrected_at(
    fitted: FittedForecast,
    table: SeriesTable,
    panel: Panel,
    rows: IntArray,
    positions: IntArray,
    first: IntArray,
) -> FloatArray:
    """Forecast from steps inside a table, with corrected intervals.

    Adaptive intervals learn at each step from `first` on, whichever steps are asked for: so does a stream.

    Args:
        fitted: what fitting found.
        table: the series.
        panel: the same, prepared.
        rows: (R,) series.
        positions: (R,) step of each origin.
        first: (series,) the first step that the fit, or the last update, did not see.

    Returns:
        shape (R, horizon, quantiles), ascending.
    """
    calibration = fitted.calibration
    if calibration is None or fitted.shares is None:
        quantiles = fitted.quantiles_at(table, panel, rows, positions)
        if calibration is None:
            return quantiles
        keys = tuple(panel.keys[row] for row in rows)
        return corrected(fitted, keys, quantiles, _scale_at(panel, rows, positions), None)
    result = np.empty((len(rows), fitted.horizon, len(fitted.levels)))
    last = np.full(len(panel.keys), -1)
    np.maximum.at(last, rows, positions)
    for row, begin, given, _ in _learning(fitted, table, panel, first, last):
        here = np.flatnonzero(rows == row)
        result[here] = given[positions[here] - begin]
    return result


def shares_after(fitted: FittedForecast, table: SeriesTable, panel: Panel) -> AdaptiveShares | None:
    """Find what adaptive intervals may miss at the end of each series; None where they do not adapt.

    Args:
        fitted: what fitting found.
        table: the series, with what the fit saw of them or without.
        panel: the same, prepared.
    """
    if fitted.shares is None:
        return None
    last = panel.lengths - 1
    return AdaptiveShares.join(
        [after for *_, after in _learning(fitted, table, panel, first_new_steps(fitted, table), last)]
    )


def first_new_steps(fitted: FittedForecast, table: SeriesTable) -> IntArray:
    """Find the first step of each series that the fit did not see, (series,); the length where it saw all.

    A series that is new may be forecast as soon as it has a window.
    """
    tail, sequences = fitted.tail, table.sequences
    ends = dict(zip(tail.sequences.keys or (), tail.last_times, strict=True))
    first = np.empty(len(sequences), dtype=np.int64)
    for row, key in enumerate(sequences.keys or ()):
        times = table.times[sequences.offsets[row] : sequences.offsets[row + 1]]
        unseen = min(fitted.network.shape.window, len(times))
        first[row] = np.searchsorted(times, ends[key], side="right") if key in ends else unseen
    return first


def _learning(
    fitted: FittedForecast, table: SeriesTable, panel: Panel, first: IntArray, last: IntArray
) -> Iterator[tuple[int, int, FloatArray, AdaptiveShares]]:
    """Forecast from every step of each series up to `last`, learning from `first` on.

    The forecast of the step before `first` is that of the fit: it is given, but it teaches nothing, since a
    stream never makes it.

    Yields:
        The series; its first origin; what is given from there on, (origins, horizon, quantiles); and the
        shares after the last.
    """
    begin = np.maximum(np.maximum(first - 1, panel.first_observed), 0)
    counts = np.maximum(last - begin + 1, 0)
    group: list[int] = []
    for row in range(len(counts)):
        group.append(row)
        if row + 1 == len(counts) or counts[group].sum() + counts[row + 1] > _ORIGINS:
            yield from _learn_group(fitted, table, panel, np.array(group), begin, counts, first)
            group = []


def _learn_group(
    fitted: FittedForecast,
    table: SeriesTable,
    panel: Panel,
    group: IntArray,
    begin: IntArray,
    counts: IntArray,
    first: IntArray,
) -> Iterator[tuple[int, int, FloatArray, AdaptiveShares]]:
    rows = np.repeat(group, counts[group])
    positions = np.concatenate([begin[row] + np.arange(counts[row]) for row in group])
    quantiles = fitted.quantiles_at(table, panel, rows, positions)
    scale = _scale_at(panel, rows, positions)
    truth = table.target_at(panel.offsets[rows] + positions)
    for row in group:
        here = np.flatnonzero(rows == row)
        key = panel.keys[row]
        shares = _start(fitted, key, follows=bool(first[row]))
        given = np.empty_like(quantiles[here])
        for number, at in enumerate(here):
            new = positions[at] >= first[row]
            if new:
                shares = shares.after_truth(truth[at : at + 1], fitted.levels)
            given[number] = corrected(fitted, (key,), quantiles[at][None], scale[at : at + 1], shares)[0]
            if new:
                shares = shares.after_forecast(given[number][None])
        yield int(row), int(begin[row]), given, shares


def _start(fitted: FittedForecast, key: str, *, follows: bool) -> AdaptiveShares:
    """Give the shares that a series starts from; `follows` tells that the table holds what the fit saw."""
    keys = fitted.tail.sequences.keys or ()
    if fitted.shares is None or key not in keys:
        return AdaptiveShares.start(1, horizon=fitted.horizon, levels=fitted.levels)
    shares = fitted.shares.take(np.array([keys.index(key)]))
    return shares if follows else shares.without_forecasts()


def _scale_at(panel: Panel, rows: IntArray, positions: IntArray) -> FloatArray:
    scale: FloatArray = panel.moments[panel.offsets[rows] + positions, 1].numpy().astype(np.float64)
    return scale
