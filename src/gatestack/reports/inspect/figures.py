"""The figures of an inspection, from its tables alone. Lines differ by dash and mark, not by colour alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from gatestack.inspect import Inspection
from gatestack.inspect.gradient_flow import MODELS
from gatestack.reports.svg import ACCENT, INK, MODEL, MUTED, TRUTH, new_axes, plain

__all__ = [
    "draw_distributions",
    "draw_gates",
    "draw_gradients",
    "draw_inputs",
    "draw_moments",
    "draw_probes",
    "draw_time_scales",
    "draw_worth",
]

_MOST_LAYERS = 6
_MOST_FEATURES = 12

# Gate → colour and dash; a reset gate has the place that an input gate has in an LSTM.
_GATES: dict[str, tuple[str, Any]] = {
    "input": (MODEL, "-"),
    "forget": (ACCENT, "--"),
    "output": (TRUTH, ":"),
    "reset": (MODEL, "-"),
    "update": (ACCENT, "--"),
}
_WAYS = {"bypassed": (MODEL, "//"), "held": (MUTED, ""), "shuffled": (ACCENT, "xx")}
_MODELS: dict[str, tuple[str, Any, str]] = {
    "trained": (MODEL, "-", "o"),
    "initialised": (MUTED, "--", "s"),
    "plain RNN": (ACCENT, ":", "^"),
}


def _layers(table: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Give the layers and directions of a table, the lowest first, at most six."""
    both = table["direction"].n_unique() > 1
    for number, ((layer, direction), part) in enumerate(
        table.group_by("layer", "direction", maintain_order=True)
    ):
        if number < _MOST_LAYERS:
            yield f"layer {layer}" + (f", {direction}" if both else ""), part


def _plain_powers(axis: Axis) -> None:
    """Write a logarithmic axis as plain numbers: the report has no mathematical text."""
    low, high = axis.get_view_interval()
    narrow = high / low < 1000
    axis.set_major_locator(
        LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=8 if narrow else 5)
    )
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _stacked(table: pl.DataFrame, each: float) -> tuple[Figure, list[tuple[str, pl.DataFrame, Axes]]]:
    parts = list(_layers(table))
    figure, axes = new_axes(rows=len(parts), height=0.5 + each * len(parts))
    return figure, [(name, part, axis) for (name, part), axis in zip(parts, axes, strict=True)]


def draw_gates(found: Inspection) -> Figure:
    """Draw the gates of the first sequence over its steps: the median unit and the middle 80 %."""
    steps = found.tables["gates"]
    steps = steps.filter(pl.col("sequence") == steps["sequence"][0])
    figure, rows = _stacked(steps, 1.5)
    for name, part, axis in rows:
        gates = [gate for gate in _GATES if part[gate].null_count() == 0]
        for gate in gates or ["hidden"]:
            colour, dash = _GATES.get(gate, (INK, "-"))
            told = part.group_by("step", maintain_order=True).agg(
                pl.col(gate).median().alias("middle"),
                pl.col(gate).quantile(0.1).alias("low"),
                pl.col(gate).quantile(0.9).alias("high"),
            )
            label = f"{gate} gate" if gates else "state h"
            axis.plot(told["step"], told["middle"], color=colour, linestyle=dash, linewidth=1.5, label=label)
            axis.fill_between(told["step"], told["low"], told["high"], color=colour, alpha=0.12, linewidth=0)
        if gates and all(part[gate].min() >= 0 and part[gate].max() <= 1 for gate in gates):  # type: ignore[operator]
            axis.set_ylim(-0.02, 1.02)
        axis.set_ylabel(name)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    rows[0][2].legend(ncol=3, loc="lower left", bbox_to_anchor=(0, 1))
    rows[-1][2].set_xlabel(plain(f"{found.words['step']} of {steps['sequence'][0]}"))
    return figure


def draw_distributions(found: Inspection) -> Figure:
    """Draw how often each gate of a layer is how far open."""
    table = found.tables["distributions"]
    gates = table.filter(pl.col("quantity").is_in(list(_GATES)))
    figure, rows = _stacked(gates if gates.height else table.filter(quantity="hidden"), 1.4)
    for name, part, axis in rows:
        for (gate,), own in part.group_by("quantity", maintain_order=True):
            colour, dash = _GATES.get(str(gate), (INK, "-"))
            edges = [*own["from"], own["to"][-1]]
            label = f"{gate} gate" if gate in _GATES else "state h"
            axis.stairs(
                100 * own["share"].to_numpy(), edges, color=colour, linestyle=dash, linewidth=1.5, label=label
            )
        axis.set_ylabel(f"{name}\n% of steps")
    rows[0][2].legend(ncol=3, loc="lower left", bbox_to_anchor=(0, 1))
    rows[-1][2].set_xlabel("0 closed … 1 open" if gates.height else "state h")
    return figure


def draw_time_scales(found: Inspection) -> Figure:
    """Draw the time-scale of every unit, a row of marks per layer and way, and their medians."""
    table = found.tables["time_scales"]
    parts = list(_layers(table))
    figure, (axis,) = new_axes(height=1.2 + 0.75 * len(parts))
    random = np.random.default_rng(0)
    named: set[str] = set()
    before = dict(_layers(found.tables["initialised_time_scales"]))
    for place, (name, part) in enumerate(parts):
        for column, shift, mark, colour, label in (
            ("change_steps", -0.17, "o", MODEL, "until a change of the input has faded to 37 %"),
            ("gate_steps", 0.17, "^", ACCENT, "by the forget (update) gate: −1 / mean ln f"),
        ):
            for table, ink, reach in ((before[name], MUTED, 0.2), (part, INK, 0.15)):
                middle = _middle(table, column)
                if np.isfinite(middle):
                    ends = [place + shift - reach, place + shift + reach]
                    axis.plot(
                        [middle] * 2, ends, color=ink, linewidth=2.2, linestyle="-" if ink == INK else ":"
                    )
            lasting = int(part["change_lasts"].sum()) if column == "change_steps" else 0
            if lasting:
                told = f"{lasting} of {part.height} last longer than was seen →"
                where = ("axes fraction", "data")
                axis.annotate(
                    told, (0.99, place + shift), xycoords=where, ha="right", va="center", fontsize=7
                )
            known = part[column].drop_nulls().to_numpy()
            if not len(known):
                continue
            axis.plot(
                known,
                place + shift + random.uniform(-0.1, 0.1, len(known)),
                mark,
                color=colour,
                markersize=3.5,
                alpha=0.55,
                linestyle="none",
                label=None if column in named else label,
            )
            named.add(column)
    axis.set_xscale("log")
    axis.autoscale_view()
    _plain_powers(axis.xaxis)
    axis.set_yticks(range(len(parts)), [name for name, _ in parts])
    axis.set_ylim(len(parts) - 0.5, -0.5)
    axis.set_xlabel(
        f"time-scale of a unit, in {found.words['step']}s (bar: median of all units, dotted: as initialised)"
    )
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def _middle(scales: pl.DataFrame, column: str) -> float:
    """Give the median of all units; those that last longer than was seen have no number, and count."""
    lasting = int(scales["change_lasts"].sum()) if column == "change_steps" else 0
    every = np.append(scales[column].drop_nulls().to_numpy(), np.full(lasting, np.inf))
    return float(np.median(every)) if len(every) else float("inf")


def draw_gradients(found: Inspection) -> Figure:
    """Draw the norm of the gradient over the lag for the three models."""
    table = found.tables["gradient_flow"]
    table = table.filter(pl.col("sequences") >= pl.col("sequences").max() / 2)
    figure, rows = _stacked(table, 1.7)
    for name, part, axis in rows:
        for model in MODELS:
            own = part.filter(pl.col("model") == model, pl.col("norm") > 0)
            colour, dash, mark = _MODELS[model]
            every = max(1, own.height // 8)
            axis.plot(
                own["lag"],
                own["norm"],
                color=colour,
                linestyle=dash,
                marker=mark,
                markevery=every,
                markersize=4,
                linewidth=1.4,
                label=model,
            )
        axis.set_yscale("log")
        _plain_powers(axis.yaxis)
        axis.set_ylabel(f"{name}\nnorm")
    rows[0][2].legend(ncol=3, loc="lower left", bbox_to_anchor=(0, 1))
    rows[-1][2].set_xlabel(f"lag k: {found.words['step']}s before the last one")
    return figure


def draw_worth(found: Inspection) -> Figure:
    """Draw by how much the loss changes without each layer, with two standard errors."""
    table = found.tables["layer_worth"].filter(pl.col("layer").is_not_null() & pl.col("change").is_not_null())
    layers = table["layer"].unique(maintain_order=True).to_list()
    figure, (axis,) = new_axes(height=1.1 + 0.75 * len(layers))
    for place, (way, (colour, hatch)) in enumerate(_WAYS.items()):
        own = table.filter(way=way)
        rows = [layers.index(layer) + 0.26 * (place - 1) for layer in own["layer"]]
        axis.barh(
            rows,
            own["change"],
            height=0.24,
            xerr=2 * own["standard_error"].fill_null(0).to_numpy(),
            color=colour,
            alpha=0.75,
            hatch=hatch,
            edgecolor=INK,
            linewidth=0.6,
            ecolor=INK,
            label=way,
        )
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.set_yticks(range(len(layers)), [f"layer {layer}" for layer in layers])
    axis.invert_yaxis()
    axis.set_xlabel("change of the loss (bars: ± 2 standard errors)")
    axis.legend(ncol=3, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def draw_probes(found: Inspection) -> Figure:
    """Draw what a linear model reads from each layer, beside shuffled truths."""
    table = found.tables["probes"]
    names = ["inputs" if layer is None else f"layer {layer}" for layer in table["layer"]]
    figure, (axis,) = new_axes(height=1.1 + 0.45 * len(names))
    places = np.arange(len(names))
    axis.errorbar(
        table["shuffled"],
        places,
        xerr=2 * table["shuffled_deviation"].to_numpy(),
        fmt="x",
        color=MUTED,
        capsize=3,
        label="shuffled truth (± 2 deviations)",
    )
    axis.plot(table["score"], places, "o", color=MODEL, markersize=7, label="truth")
    axis.set_yticks(places, names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlabel(f"{table['metric'][0]} on cases that the probe did not see")
    axis.legend(ncol=2, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def draw_inputs(found: Inspection) -> Figure:
    """Draw what each feature is worth: by occlusion, and by integrated gradients."""
    occlusion = found.tables["occlusion"].filter(pl.col("feature").is_not_null() & pl.col("first").is_null())
    gradients = (
        found.tables["attributions"]
        .group_by("sequence", "feature", maintain_order=True)
        .agg(pl.col("attribution").sum())
        .group_by("feature", maintain_order=True)
        .agg(pl.col("attribution").abs().mean())
    )
    table = occlusion.join(gradients, on="feature", how="left", maintain_order="left")
    table = table.sort(pl.col("change").abs(), descending=True).head(_MOST_FEATURES)
    figure, (upper, lower) = new_axes(rows=2, height=1.8 + 0.42 * table.height)
    names = [plain(name) for name in table["feature"]]
    for axis, column, colour, hatch, label in (
        (
            upper,
            "change",
            MODEL,
            "//",
            f"{_changed(table)} without the feature",
        ),
        (
            lower,
            "attribution",
            ACCENT,
            "xx",
            "mean size of its integrated gradients",
        ),
    ):
        axis.barh(
            range(len(names)),
            table[column],
            xerr=2 * table["standard_error"].fill_null(0).to_numpy() if column == "change" else None,
            ecolor=INK,
            color=colour,
            alpha=0.75,
            hatch=hatch,
            edgecolor=INK,
            linewidth=0.6,
        )
        axis.axvline(0, color=INK, linewidth=0.8)
        axis.set_yticks(range(len(names)), names)
        axis.invert_yaxis()
        axis.set_xlabel(label)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5))
    return figure


def draw_moments(found: Inspection) -> Figure:
    """Draw what each stretch of steps before the end is worth."""
    table = found.tables["occlusion"].filter(pl.col("feature").is_null() & pl.col("first").is_not_null())
    figure, (axis,) = new_axes(height=2.4)
    edges = [*table["first"], table["last"][-1] + 1]
    axis.stairs(table["change"].to_numpy(), edges, color=MODEL, linewidth=1.6, fill=False, baseline=0)
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.set_xlim(edges[-1], edges[0])
    axis.set_xlabel(f"{found.words['step']}s before the last one")
    axis.set_ylabel(_changed(table))
    return figure


def _changed(occlusion: pl.DataFrame) -> str:
    """Name what occlusion changes."""
    return "change of the loss" if occlusion["of"][0] == "loss" else "change of the answer"
