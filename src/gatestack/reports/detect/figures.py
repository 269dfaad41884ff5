"""The figure of the page: what was seen, and how unusual it was."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from gatestack.reports.svg import ACCENT, INK, MODEL, MUTED, TRUTH, new_axes, plain
from gatestack.tasks.detect.alarms import CalibratedRule
from gatestack.tasks.detect.fitted import FittedDetector

__all__ = ["draw_alarms"]

_MOST_POINTS = 2000
_LINES = ((TRUTH, "-"), (MUTED, (0, (4, 2))), (INK, (0, (1, 1.5))), (MODEL, (0, (5, 1.5, 1, 1.5))))


def draw_alarms(fitted: FittedDetector, found: pl.DataFrame) -> Figure:
    """Draw values with alarms, and scores with the threshold, of the first series.

    Args:
        fitted: what fitting found.
        found: what `predict` gave.
    """
    key = fitted.columns.series
    part = found if key is None else found.filter(pl.col(key) == found[key][0])
    steps = np.arange(part.height)
    # The largest score of each stretch stays: a thinned line would lose what the figure is for.
    width = -(-part.height // _MOST_POINTS)
    figure, (top, bottom) = new_axes(rows=2, height=4.6, width=11.0)
    for name, (colour, dashes) in zip(fitted.channels, _LINES, strict=False):
        values = part[name].to_numpy()
        top.plot(
            steps[::width], values[::width], color=colour, linestyle=dashes, linewidth=0.9, label=plain(name)
        )
    raised = np.flatnonzero(part["alarm"].to_numpy())
    values = part[fitted.channels[0]].to_numpy()
    top.plot(steps[raised], values[raised], "v", color=ACCENT, markersize=7, label="alarm")
    top.legend(loc="upper left")
    score = part["score"].fill_null(0.0).to_numpy()
    padded = np.concatenate([score, np.zeros(-len(score) % width)]).reshape(-1, width).max(axis=1)
    bottom.plot(np.arange(len(padded)) * width, padded, color=MODEL, linewidth=0.9)
    if isinstance(fitted.rule, CalibratedRule):
        bottom.axhline(fitted.rule.threshold, color=ACCENT, linestyle="--", linewidth=1.0, label="threshold")
        bottom.legend(loc="upper left")
    bottom.set_ylabel("score")
    bottom.set_xlabel("steps from the start")
    return figure
