"""The figures of a study of depth: scores with their intervals, and what each layer costs."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gatestack.reports.svg import ACCENT, MODEL, MUTED, TRUTH, new_axes
from gatestack.study import DepthStudy

__all__ = ["draw_costs", "draw_depths"]


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
        axis.plot(places, scale * np.array(row.scores), ".", color=MUTED, markersize=4, label=label)
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
    _label_depths(axis, study)
    axis.legend(loc="best")
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


def _label_depths(axis: Axes, study: DepthStudy) -> None:
    axis.set_xticks([row.layers for row in study.rows])
    names = [
        f"0: {row.model.replace('_', ' ')}" if row.layers == 0 else str(row.layers) for row in study.rows
    ]
    axis.set_xticklabels(names)
    axis.set_xlabel("layers")
