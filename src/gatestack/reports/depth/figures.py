"""The figures of a study of depth: scores, what each layer costs, what each way to regularise gains."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gatestack.reports.svg import ACCENT, MODEL, MUTED, TRUTH, new_axes
from gatestack.study import DepthStudy
from gatestack.study.variants import layers_text

__all__ = ["draw_costs", "draw_depths", "draw_ways"]


def draw_depths(study: DepthStudy) -> Figure:
    """Draw the score over the depth: every fit, the means, the scores in training, the depth that was chosen.

    Args:
        study: what was found.
    """
    figure, (axis,) = new_axes(height=3.2, width=6.4)
    scale = 100 if study.measure.percent else 1
    depths = np.array([row.layers for row in study.rows])
    means = scale * np.array([row.score for row in study.rows])
    random = np.random.default_rng(0)
    for number, row in enumerate(study.rows):
        places = row.layers + random.uniform(-0.12, 0.12, len(row.scores))
        label = "one fit" if number == 0 else None
        axis.plot(places, scale * np.array(row.scores), ".", color=MUTED, markersize=5, label=label)
    axis.plot(depths, means, "-o", color=MODEL, linewidth=1.6, label="mean, held out")
    trained = [(row.layers, scale * row.training) for row in study.rows if row.training is not None]
    if trained:
        axis.plot(*zip(*trained, strict=True), "--s", color=TRUTH, markersize=4, label="mean, in training")
    chosen = study.row(study.chosen)
    axis.plot(
        chosen.layers,
        scale * chosen.score,
        "o",
        markersize=15,
        markerfacecolor="none",
        markeredgecolor=ACCENT,
        markeredgewidth=2,
        label=f"chosen: {chosen.layers}",
    )
    axis.set_ylabel(f"{study.measure.label}{', %' if study.measure.percent else ''}")
    if study.measure.percent:
        low, high = axis.get_ylim()
        axis.set_ylim(low, min(high, 100.5))  # the margin of a full 100 % reads as more than that
    _label_depths(axis, study)
    # Above the axes, where it hides no fit.
    axis.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, columnspacing=1.2)
    return figure


def draw_costs(study: DepthStudy) -> Figure:
    """Draw what the networks cost: parameters, seconds of training, milliseconds per step.

    Args:
        study: what was found.
    """
    figure, axes = new_axes(rows=3, height=4.6, width=6.4)
    rows = [row for row in study.rows if row.layers > 0]
    depths = [row.layers for row in rows]
    for axis, name, values in (
        (axes[0], "parameters", [row.parameters or 0 for row in rows]),
        (axes[1], "training, s", [row.seconds for row in rows]),
        (axes[2], "one step, ms", [row.step_ms or 0.0 for row in rows]),
    ):
        axis.bar(depths, values, width=0.5, color=MODEL)
        axis.set_ylabel(name)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[-1].set_xlabel("layers")
    return figure


def draw_ways(study: DepthStudy) -> Figure:
    """Draw the gain of each way to regularise with its interval; a filled mark is worth it.

    Args:
        study: what was found, with one way or more.
    """
    ways = sorted(study.regularisation, key=lambda row: row.gain.mean)
    figure, (axis,) = new_axes(height=1.2 + 0.35 * len(ways), width=6.4)
    scale = 100 if study.measure.percent else 1
    axis.axvline(0.0, color=MUTED, linewidth=1.0)
    for place, row in enumerate(ways):
        axis.errorbar(
            scale * row.gain.mean,
            place,
            xerr=scale * row.gain.half_width,
            fmt="o",
            color=MODEL,
            markerfacecolor=MODEL if row.worth else "white",
            capsize=3,
        )
    axis.set_yticks(range(len(ways)))
    axis.set_yticklabels([f"{row.name}, {layers_text(row.layers)}" for row in ways])
    axis.set_ylim(-0.6, len(ways) - 0.4)
    unit = ", points" if study.measure.percent else ""
    axis.set_xlabel(f"gain in {study.measure.label}{unit} (filled: worth it)")
    return figure


def _label_depths(axis: Axes, study: DepthStudy) -> None:
    axis.set_xticks([row.layers for row in study.rows])
    names = [
        f"0: {row.model.replace('_', ' ')}" if row.layers == 0 else str(row.layers) for row in study.rows
    ]
    axis.set_xticklabels(names)
    axis.set_xlabel("layers")
