"""The figures of the report. Each can be read without colour: lines differ in dashes and marks too."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from gatestack.reports.forecast.material import FloatArray, Material, SeriesView, evenly
from gatestack.reports.svg import ACCENT, INK, MODEL, MUTED, TRUTH, new_axes, plain
from gatestack.tasks.forecast import ForecastEvaluation
from gatestack.tasks.forecast.plot import draw_bands, show_dates

__all__ = [
    "draw_copying",
    "draw_coverage",
    "draw_data",
    "draw_error_by_step",
    "draw_forecast",
    "draw_skill",
    "forecast_history",
]

_OURS = "gatestack"
_MOST_SERIES = 4
_MOST_POINTS = 2000
_LINES = (
    (MUTED, "s", (0, (4, 2))),
    (ACCENT, "^", (0, (1, 1.5))),
    (MUTED, "D", (0, (1, 1))),
    (ACCENT, "v", (0, (5, 1.5, 1, 1.5))),
    (MODEL, "x", (0, (3, 1.5))),
)


def draw_data(material: Material) -> Figure:
    """Draw at most four series with their split: training, validation, test."""
    rows = evenly(len(material.keys), _MOST_SERIES)
    figure, axes = new_axes(rows=len(rows), height=1.5 + 1.3 * len(rows), width=11.0)
    for number, (row, axis) in enumerate(zip(rows, axes, strict=True)):
        view = material.view(row)
        _draw_series(axis, view)
        if len(material.keys) > 1:
            axis.set_title(plain(view.key), loc="left", fontsize=9)
        if not number:
            axis.legend(loc="lower left", ncols=4, bbox_to_anchor=(0, 1.08 if len(rows) > 1 else 1.0))
    figure.supylabel(plain(material.table.columns.target), fontsize=9)
    return figure


def _draw_series(axis: Axes, view: SeriesView) -> None:
    times = view.times.to_numpy()
    steps = len(times)
    _draw_thinned(axis, times, view.values)
    for first, last, colour, name in (
        (view.validation, view.test, ACCENT, "validation"),
        (view.test, steps, MODEL, "test"),
    ):
        if first < last:
            begin, end = times[max(first - 1, 0)], times[last - 1]
            axis.axvspan(begin, end, facecolor=colour, alpha=0.12, linewidth=0, label=name)
            axis.axvline(begin, color=colour, linewidth=0.8)
    missing = np.flatnonzero(np.isnan(view.values))
    if len(missing):
        at = missing[evenly(len(missing), _MOST_POINTS)]
        floor = np.nanmin(view.values)
        axis.plot(
            times[at],
            np.full(len(at), floor),
            "|",
            color=ACCENT,
            markersize=6,
            label=f"missing ({len(missing):,})",
        )
    show_dates(axis, view.times)


def _draw_thinned(
    axis: Axes, times: np.ndarray[tuple[int], np.dtype[np.generic]], values: FloatArray
) -> None:
    """Draw a line, or the range of each bin where there are more steps than a picture has pixels."""
    if len(values) <= _MOST_POINTS:
        axis.plot(times, values, color=TRUTH, linewidth=1.0, label="observed")
        return
    edges = np.linspace(0, len(values), _MOST_POINTS // 2 + 1).astype(np.int64)[:-1]
    some = np.add.reduceat(np.isfinite(values), edges) > 0
    low = np.where(some, np.fmin.reduceat(values, edges), np.nan)
    high = np.where(some, np.fmax.reduceat(values, edges), np.nan)
    axis.fill_between(
        times[edges], low, high, color=TRUTH, linewidth=0.6, label="observed (lowest to highest)", step="post"
    )


def draw_error_by_step(evaluation: ForecastEvaluation) -> Figure:
    """Draw the mean absolute error at each step ahead, of the model and of each baseline."""
    figure, (axis,) = new_axes()
    table = evaluation.by_step
    steps = table["step"].to_numpy()
    every = max(1, len(steps) // 12)
    others = [name for name in table.columns if name not in ("step", _OURS)]
    for name, (colour, mark, dashes) in zip(others, _LINES, strict=False):
        axis.plot(
            steps,
            table[name].to_numpy(),
            color=colour,
            marker=mark,
            markersize=3.5,
            markevery=every,
            linestyle=dashes,
            linewidth=1.2,
            label=name.replace("_", " "),
        )
    axis.plot(
        steps,
        table[_OURS].to_numpy(),
        color=MODEL,
        marker="o",
        markersize=4,
        markevery=every,
        linewidth=2.0,
        label=_OURS,
    )
    axis.set_xlabel("steps ahead")
    axis.set_ylabel("mean absolute error")
    axis.set_ylim(bottom=0)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axis.legend(ncols=2)
    return figure


def draw_skill(evaluation: ForecastEvaluation) -> Figure:
    """Draw how much lower the model's error is than that of each baseline, with the interval."""
    names = list(evaluation.skill)[::-1]
    figure, (axis,) = new_axes(height=1.2 + 0.38 * len(names))
    for place, name in enumerate(names):
        skill = evaluation.skill[name]
        if skill.low is not None and skill.high is not None:
            axis.plot(
                [skill.low, skill.high], [place, place], color=MODEL, linewidth=2.4, solid_capstyle="butt"
            )
            axis.plot([skill.low, skill.high], [place, place], "|", color=MODEL, markersize=9)
        axis.plot(skill.value, place, "o", color=MODEL, markersize=6)
    axis.axvline(0, color=INK, linewidth=1.0)
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axis.set_xlabel("error lower than the baseline's by (right of 0: the model is better)")
    return figure


def draw_copying(evaluation: ForecastEvaluation) -> Figure:
    """Draw what the first step of the forecast adds to the last value, against what then happened."""
    first = evaluation.forecasts.group_by("unique_id", "cutoff", maintain_order=True).first()
    first = first.select(
        "unique_id", added=pl.col(_OURS) - pl.col("last_value"), moved=pl.col("y") - pl.col("last_value")
    )
    size = pl.col("moved").abs().mean().over("unique_id")
    scaled = first.filter(size > 0).select(pl.col("added", "moved") / size)
    shown = scaled.gather(evenly(scaled.height, _MOST_POINTS)) if scaled.height else scaled
    figure, (axis,) = new_axes(height=3.4)
    axis.axline((0, 0), slope=1, color=INK, linewidth=1.0, label="comes true")
    axis.axvline(0, color=ACCENT, linewidth=1.2, linestyle="--", label="a copy of the last value")
    axis.plot(shown["added"].to_numpy(), shown["moved"].to_numpy(), ".", color=MODEL, markersize=4, alpha=0.6)
    # A copy is recognised where both axes have the same scale.
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_xlabel("what the forecast adds to the last value")
    axis.set_ylabel("what then happened")
    axis.legend(loc="lower left", ncols=2, bbox_to_anchor=(0, 1.0))
    return figure


def draw_coverage(evaluation: ForecastEvaluation) -> Figure:
    """Draw how often the truth lay inside each interval, beside how often it should."""
    rows = evaluation.intervals.reverse().to_dicts()
    ahead = evaluation.horizon
    marks = [("coverage", "o", MODEL, "all steps" if ahead > 1 else "found", 6)]
    if ahead > 1:
        marks += [
            ("coverage_first", "^", MUTED, "step 1", 5),
            ("coverage_last", "s", ACCENT, f"step {ahead}", 5),
        ]
    figure, (axis,) = new_axes(height=1.4 + 0.38 * len(rows))
    for place, row in enumerate(rows):
        wanted, first = row["level"] / 100, place == 0
        axis.plot(
            wanted, place, "|", color=INK, markersize=16, markeredgewidth=2, label="wanted" if first else None
        )
        if row["coverage"] is not None:
            axis.plot([wanted, row["coverage"]], [place, place], color=MODEL, linewidth=2)
        for name, mark, colour, label, size in marks:
            if row[name] is not None:
                axis.plot(
                    row[name], place, mark, color=colour, markersize=size, label=label if first else None
                )
    axis.set_yticks(range(len(rows)), [f"{row['level']:g} %" for row in rows])
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.set_xlabel("truth inside the interval")
    axis.legend(loc="lower left", ncols=4, bbox_to_anchor=(0, 1.0))
    return figure


def draw_forecast(
    part: pl.DataFrame, history: tuple[pl.Series, FloatArray], *, best: str | None, target: str
) -> Figure:
    """Draw the forecast from one origin, what was known, and what came true.

    Args:
        part: rows of one origin.
        history: times and values up to the origin.
        best: the baseline to draw beside it.
        target: name of the column.
    """
    figure, (axis,) = new_axes(height=2.7)
    axis.plot(history[0].to_numpy(), history[1], color=TRUTH, linewidth=1.2, label="known")
    draw_bands(axis, part, "ds")
    if best is not None:
        axis.plot(
            part["ds"].to_numpy(),
            part[best].to_numpy(),
            color=ACCENT,
            linestyle="--",
            linewidth=1.2,
            label=best.replace("_", " "),
        )
    axis.plot(part["ds"].to_numpy(), part["y"].to_numpy(), "x", color=TRUTH, markersize=5, label="came true")
    axis.axvline(part["cutoff"].to_numpy()[0], color=MUTED, linewidth=0.8, linestyle=":")
    axis.set_ylabel(plain(target))
    axis.legend(
        loc="lower left", ncols=4, bbox_to_anchor=(0, 1.0), fontsize=7.5, columnspacing=1.0, handlelength=1.6
    )
    return figure


def forecast_history(material: Material, part: pl.DataFrame) -> tuple[pl.Series, FloatArray]:
    """Find what was known before the origin of a forecast, three horizons of it."""
    key, cutoff = part["unique_id"][0], part["cutoff"][0]
    if key not in material.keys:
        return part["ds"][:0], np.zeros(0)
    return material.view(material.keys.index(key)).before(cutoff, max(3 * material.horizon, 20))
