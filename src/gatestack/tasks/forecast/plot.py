"""Pictures of forecasts."""

from __future__ import annotations

import matplotlib.dates as mdates
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError, check_whole, nearest_name, quote_value
from gatestack.tasks.evaluation import MODEL

__all__ = ["draw_bands", "plot_forecast", "show_dates"]

# Readable without colour: the history is dark and solid, the forecast has round marks.
HISTORY_COLOUR = "#30343f"
MODEL_COLOUR = "#0b6e99"


def plot_forecast(
    forecast: pl.DataFrame, tail: SeriesTable, *, series: str | None, steps: int | None
) -> Figure:
    """Draw the end of one series and its forecast.

    Args:
        forecast: as `Forecaster.predict` gives it.
        tail: the last steps of every series.
        series: its key; None takes the first.
        steps: of the history; None takes all that are kept.
    """
    keys = tail.sequences.keys or ()
    if series is not None and series not in keys:
        raise ArgumentError(
            f"there is no series {quote_value(series)}", where="plot", hint=nearest_name(series, keys)
        )
    if steps is not None:
        check_whole("steps", steps, owner="plot")
    row = 0 if series is None else keys.index(series)
    begin, end = tail.sequences.offsets[row], tail.sequences.offsets[row + 1]
    first = begin if steps is None else max(begin, end - steps)
    horizon = forecast.height // len(keys)
    part = forecast.slice(row * horizon, horizon)
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(
        tail.time_kind.to_series(tail.times[first:end], "time").to_numpy(),
        tail.target_at(slice(first, end)),
        color=HISTORY_COLOUR,
        linewidth=1.2,
        label=tail.columns.target,
    )
    draw_bands(axes, part, tail.columns.time)
    axes.set_ylabel(tail.columns.target)
    axes.set_title(
        f"{keys[row]}: next {horizon} steps" if len(keys) > 1 else f"Next {horizon} steps", loc="left"
    )
    axes.legend(loc="upper left", frameon=False, ncols=4)
    return figure


def draw_bands(axes: Axes, part: pl.DataFrame, time: str) -> None:
    """Draw the median and the central intervals of one forecast.

    Args:
        axes: to draw on.
        part: rows of one series and one origin.
        time: name of the time column.
    """
    times = part[time].to_numpy()
    percents = sorted(
        {name.rsplit("-", 1)[1] for name in part.columns if name.startswith(f"{MODEL}-lo-")}, key=float
    )
    for number, percent in enumerate(reversed(percents)):
        low, high = part[f"{MODEL}-lo-{percent}"].to_numpy(), part[f"{MODEL}-hi-{percent}"].to_numpy()
        alpha = 0.12 + 0.12 * number
        axes.fill_between(
            times, low, high, color=MODEL_COLOUR, alpha=alpha, linewidth=0, label=f"{percent} %"
        )
    axes.plot(
        times,
        part[MODEL].to_numpy(),
        color=MODEL_COLOUR,
        marker="o",
        markersize=2.5,
        linewidth=1.4,
        label="median",
    )
    show_dates(axes, part[time])


def show_dates(axes: Axes, times: pl.Series) -> None:
    """Let the axis of times be short of words where these are dates; whole numbers stay as they are."""
    if times.dtype.is_temporal():
        locator = mdates.AutoDateLocator()  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
