"""The figure of the page: what was seen, and how unusual it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.figure import Figure

from gatestack.reports.svg import ACCENT, MODEL, TRUTH, new_axes, plain
from gatestack.tasks.detect.alarms import CalibratedRule
from gatestack.tasks.detect.fitted import FittedDetector
from gatestack.tasks.forecast.plot import show_dates

__all__ = ["MOST_CHANNELS", "draw_alarms", "series_shown"]

MOST_CHANNELS = 4
"""Channels that are drawn at most."""

_MOST_STRETCHES = 1000
_STYLE: dict[str, Any] = {"linewidth": 0.9}


def series_shown(fitted: FittedDetector, found: pl.DataFrame) -> pl.DataFrame:
    """Give the rows of the series with the most alarms, the first of them where several have so many.

    Args:
        fitted: what fitting found.
        found: what `predict` gave.
    """
    key = fitted.columns.series
    if key is None:
        return found
    counts = found.group_by(key, maintain_order=True).agg(pl.col("alarm").sum())
    return found.filter(pl.col(key) == counts[key][int(counts["alarm"].arg_max() or 0)])


def draw_alarms(fitted: FittedDetector, part: pl.DataFrame) -> Figure:
    """Draw the channels with their alarms, each with its own scale, and the scores with the threshold.

    Args:
        fitted: what fitting found.
        part: the rows of one series.
    """
    names = fitted.channels[:MOST_CHANNELS]
    column = part[fitted.columns.time]
    # The clock of the user, as in the list of alarms.
    stamps = column.dt.replace_time_zone(None) if isinstance(column.dtype, pl.Datetime) else column
    times = stamps.to_numpy()
    figure, axes = new_axes(rows=len(names) + 1, height=1.4 + 1.6 * len(names), width=11.0)
    learned = _learned(fitted, part, stamps)
    raised = part["alarm"].to_numpy()
    for number, (name, axis) in enumerate(zip(names, axes, strict=False)):
        values = part[name].to_numpy()
        axis.plot(*_thinned(times, values), color=TRUTH, **_STYLE)
        own = raised & (part["channel"] == name).fill_null(value=False).to_numpy()
        label = "alarm" if number == 0 else None
        axis.plot(times[own], values[own], "v", color=ACCENT, markersize=7, label=label)
        if learned is not None:
            span = "learned from" if number == 0 else None
            axis.axvspan(*learned, facecolor=MODEL, alpha=0.12, linewidth=0, label=span)
        axis.set_ylabel(plain(name))
        axis.sharex(axes[-1])
        axis.tick_params(labelbottom=False)
    axes[0].legend(loc="lower left", ncols=2, bbox_to_anchor=(0, 1.0))
    axes[-1].plot(*_thinned(times, part["score"].to_numpy()), color=MODEL, **_STYLE)
    if isinstance(fitted.rule, CalibratedRule):
        axes[-1].axhline(
            fitted.rule.threshold, color=ACCENT, linestyle="--", linewidth=1.0, label="threshold"
        )
        axes[-1].legend(loc="lower left", bbox_to_anchor=(0, 1.0))
    axes[-1].set_ylabel("score")
    axes[-1].set_xlabel(plain(fitted.columns.time))
    show_dates(axes[-1], stamps)
    return figure


def _learned(fitted: FittedDetector, part: pl.DataFrame, stamps: pl.Series) -> tuple[Any, Any] | None:
    """Give first and last time of the training part; None where the data begins after it."""
    key = fitted.columns.series
    row = 0 if key is None else fitted.series.row(str(part[key][0]), fitted.source)
    ends = fitted.time_kind.to_series(fitted.ends[[row]], fitted.columns.time)
    inside = stamps.filter(part[fitted.columns.time] <= ends[0])
    return None if inside.is_empty() else (inside.to_numpy()[0], inside.to_numpy()[-1])


def _thinned(
    times: npt.NDArray[Any], values: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Keep the least and the largest value of each stretch: a spike of one step is what the figure is for."""
    width = -(-len(values) // _MOST_STRETCHES)
    if width < 3:
        return times, values
    padded = np.concatenate([values, np.full(-len(values) % width, np.nan)]).reshape(-1, width)
    ends = np.stack([np.fmin.reduce(padded, axis=1), np.fmax.reduce(padded, axis=1)], axis=1)
    return np.repeat(times[::width], 2), ends.reshape(-1)
