"""The figures of the page. Each can be read without colour."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gatestack.reports.svg import ACCENT, GRID, INK, MODEL, MUTED, TRUTH, new_axes, plain
from gatestack.tasks.classify import ClassificationEvaluation
from gatestack.tasks.labelled.fitted import FittedLabelled
from gatestack.tasks.regress import RegressionEvaluation

__all__ = ["draw_cases", "draw_confusion", "draw_errors", "draw_reliability", "draw_scatter"]

_MOST_ROWS, _MOST_COLUMNS, _MOST_CHANNELS, _MOST_POINTS = 6, 3, 4, 500
_MOST_NAMED = 30  # classes whose names and counts fit into the matrix
_BINS = 6
_LINES = ((MUTED, (0, (4, 2))), (ACCENT, (0, (1, 1.5))), (INK, (0, (1, 1))), (ACCENT, (0, (5, 1.5, 1, 1.5))))
_CHANNEL_LINES = ((TRUTH, "-"), (ACCENT, (0, (4, 2))), (MUTED, (0, (1, 1.5))), (INK, (0, (5, 1.5, 1, 1.5))))


def draw_cases(fitted: FittedLabelled, names: list[str] | None) -> Figure:
    """Draw a few cases of the training part: a row per class, at most six, or two rows; at most 4 channels.

    Args:
        fitted: what fitting found.
        names: of the classes; None for numbers.
    """
    rows = _chosen(fitted, names)
    figure = Figure(figsize=(11.0, 0.8 + 1.35 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), _MOST_COLUMNS, squeeze=False)
    for axes, (title, cases) in zip(grid, rows, strict=True):
        for axis, case in zip(axes, [*cases, *[None] * (_MOST_COLUMNS - len(cases))], strict=True):
            if case is None:
                axis.set_axis_off()
                continue
            _draw_case(axis, fitted, case)
            text = title if names is not None else f"{float(fitted.answers[case]):.4g}"
            axis.set_title(plain(text), loc="left", fontsize=9)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    return figure


def _chosen(fitted: FittedLabelled, names: list[str] | None) -> list[tuple[str, list[int]]]:
    if names is None:
        at = np.unique(np.linspace(0, len(fitted.answers) - 1, 2 * _MOST_COLUMNS).astype(np.int64)).tolist()
        return [("", at[first : first + _MOST_COLUMNS]) for first in range(0, len(at), _MOST_COLUMNS)]
    rows = []
    for number, name in list(enumerate(names))[:_MOST_ROWS]:
        own = np.flatnonzero(fitted.answers == number)
        at = np.unique(np.linspace(0, len(own) - 1, _MOST_COLUMNS).astype(np.int64))
        rows.append((name, own[at].tolist()))
    return rows


def _draw_case(axis: Axes, fitted: FittedLabelled, case: int) -> None:
    sequences = fitted.training[case : case + 1]
    values = sequences.values.astype(np.float64)
    if sequences.observed is not None:
        values = np.where(sequences.observed, values, np.nan)
    every = max(1, len(values) // _MOST_POINTS)
    for channel, (colour, dashes) in zip(range(values.shape[1]), _CHANNEL_LINES, strict=False):
        steps = np.arange(0, len(values), every)
        axis.plot(steps, values[::every, channel], color=colour, linestyle=dashes, linewidth=1.0)


def draw_confusion(evaluation: ClassificationEvaluation) -> Figure:
    """Draw the matrix of what was taken for what."""
    names = evaluation.confusion["truth"].unique(maintain_order=True).to_list()
    count = evaluation.confusion["cases"].to_numpy().reshape(len(names), len(names))
    share = count / np.maximum(count.sum(axis=1, keepdims=True), 1)
    size = 2.2 + 0.36 * min(len(names), _MOST_NAMED)
    figure, (axis,) = new_axes(height=size, width=size + 1.0)
    shades = LinearSegmentedColormap.from_list("shades", ["#ffffff00", MODEL])
    axis.imshow(share, cmap=shades, vmin=0.0, vmax=1.6, aspect="equal")
    axis.grid(visible=False)
    if len(names) <= _MOST_NAMED:
        places, shown = range(len(names)), [plain(name)[:16] for name in names]
        axis.set_xticks(places, shown, rotation=90 if max(map(len, shown)) > 3 else 0)
        axis.set_yticks(places, shown)
        for row in places:
            for column in places:
                if count[row, column]:
                    axis.text(column, row, str(count[row, column]), ha="center", va="center", color=INK)
    axis.set_xlabel("named")
    axis.set_ylabel("truth")
    return figure


def draw_reliability(evaluation: ClassificationEvaluation) -> Figure:
    """Draw how often the model was right over how sure it was."""
    table = evaluation.predictions
    shares = table.select(pl.col("^probability-.*$")).to_numpy()
    sure = shares.max(axis=1)
    right = (table["truth"] == table["predicted"]).to_numpy()
    figure, (axis,) = new_axes()
    axis.plot([0, 1], [0, 1], color=GRID, linewidth=1.0)
    # Bins of equal numbers of cases: none is empty.
    parts = np.array_split(np.argsort(sure, kind="stable"), min(_BINS, max(1, len(sure) // 5)))
    sizes = sorted({len(part) for part in parts})
    points = [(float(sure[part].mean()), float(right[part].mean())) for part in parts]
    axis.plot(
        *zip(*points, strict=True),
        "o",
        color=MODEL,
        markersize=6,
        alpha=0.7,  # sure models put them on top of each other
        label=f"{' or '.join(map(str, sizes))} cases each",
    )
    axis.legend(loc="lower right")
    axis.set_xlabel("probability of the class that was named")
    axis.set_ylabel("share named rightly")
    axis.set_xlim(min(1 / shares.shape[1], float(sure.min())) - 0.02, 1.03)
    axis.set_ylim(-0.03, 1.05)
    return figure


def draw_scatter(evaluation: RegressionEvaluation) -> Figure:
    """Draw predictions over truths."""
    truth = evaluation.predictions["truth"].to_numpy()
    found = evaluation.predictions["predicted"].to_numpy()
    figure, (axis,) = new_axes(height=4.0, width=4.6)
    low, high = float(min(truth.min(), found.min())), float(max(truth.max(), found.max()))
    axis.plot([low, high], [low, high], color=GRID, linewidth=1.0)
    axis.plot(truth, found, "o", color=MODEL, markersize=4, alpha=0.6)
    axis.set_xlabel("truth")
    axis.set_ylabel("predicted")
    return figure


def draw_errors(evaluation: RegressionEvaluation) -> Figure:
    """Draw the sorted absolute errors of every model."""
    table = evaluation.predictions
    truth = table["truth"].to_numpy()
    figure, (axis,) = new_axes(height=4.0)
    share = (np.arange(len(truth)) + 1) / len(truth)
    others = [name for name in table.columns if name not in ("case", "truth", "predicted")]
    for name, (colour, dashes) in zip(others, _LINES, strict=False):
        errors = np.sort(np.abs(table[name].to_numpy() - truth))
        axis.plot(share, errors, color=colour, linestyle=dashes, linewidth=1.2, label=name)
    own = np.sort(np.abs(table["predicted"].to_numpy() - truth))
    axis.plot(share, own, color=MODEL, linewidth=2.0, label="gatestack")
    axis.set_xlabel("share of the cases")
    axis.set_ylabel("absolute error")
    axis.set_ylim(bottom=0)
    axis.legend()
    return figure
