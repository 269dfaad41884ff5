"""The page of `time_scales.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from protocol.machine import machine_words
from protocol.tables import markdown_table

__all__ = ["ratios", "time_scales_page"]

Rows = list[dict[str, Any]]
STATES = {"trained": "trained", "drawn": "before training"}
WAYS = {"gates": "by the gates", "change": "by a change"}


def middle(units: list[float | None]) -> float:
    """The median unit of a layer; None stands for longer than was seen."""
    return float(np.median([np.inf if unit is None else unit for unit in units]))


def told(values: list[float]) -> str:
    """Median over the seeds, with the lowest and the highest."""
    if not values:
        return "–"
    return f"{np.median(values):.3g} ({min(values):.3g}–{max(values):.3g})"


def ratios(rows: Rows, state: str, way: str) -> list[float]:
    """The time-scale of the highest layer over that of the lowest, in each model."""
    return [middle(row[state][way][-1]) / middle(row[state][way][0]) for row in rows]


def summary(rows: Rows) -> str:
    """One line for each way and state: how often, and by how much, the highest layer is slower."""
    lines = []
    for way, words in WAYS.items():
        for state, when in STATES.items():
            found = ratios(rows, state, way)
            low, half, high = np.quantile(found, [0.25, 0.5, 0.75], method="nearest")
            slower = sum(ratio > 1 for ratio in found)
            lines.append([words, when, f"{slower} of {len(found)}", f"{half:.2f} [{low:.2f}–{high:.2f}]"])
    head = ["time-scale", "model", "highest layer slower than the lowest", "ratio, median [quartiles]"]
    return markdown_table(head, lines)


def table(rows: Rows, way: str) -> str:
    """The median unit of each layer, trained and before training, over the seeds."""
    layers = max(row["layers"] for row in rows)
    lines = []
    for problem in dict.fromkeys(row["problem"] for row in rows):
        for depth in sorted({row["layers"] for row in rows}):
            own = [row for row in rows if row["problem"] == problem and row["layers"] == depth]
            for state, when in STATES.items():
                medians = [
                    told([middle(row[state][way][layer]) for row in own]) if layer < depth else ""
                    for layer in range(layers)
                ]
                lines.append([problem, str(depth), when, *medians])
    return markdown_table(["data", "layers", "model", *(f"layer {n + 1}" for n in range(layers))], lines)


def losses(rows: Rows) -> str:
    """The loss of each data set on the sequences that were looked at, over depths and seeds."""
    lines = []
    for problem in dict.fromkeys(row["problem"] for row in rows):
        own = [row for row in rows if row["problem"] == problem]
        steps = {row["trained"]["steps"][1] for row in own}
        lines.append(
            [problem, str(max(steps)), *(told([row[state]["loss"] for row in own]) for state in STATES)]
        )
    return markdown_table(["data", "steps", "loss, trained", "loss, layers drawn anew"], lines)


def time_scales_page(page: dict[str, Any]) -> str:
    """The whole page, Markdown."""
    rows, settings = page["rows"], page["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in page["versions"].items())
    wanted = {(row["problem"], row["layers"], row["seed"]) for row in rows}
    return f"""# Do higher layers work at longer time-scales?

{machine_words(page["machine"])}; {versions}. LSTM layers of {settings["width"]} units, {settings["updates"]}
updates, {settings["seeds"]} seeds; {len(wanted)} models. Each is looked into on {settings["sequences"]}
sequences that its fit did not see, and once more with its recurrent layers drawn anew, from its seed: what
models of two and of three layers have in common begins alike.

{summary(rows)}

A time-scale is the median over the units of a layer, in steps. By the gates: −1 / mean ln f. By a change:
steps until the change that a small change of the input makes in the cell state has faded to 37 % of its
largest.

A change of the input reaches a higher layer through the layers below, which go on speaking of it while they
forget it. So the second measure is longer in higher layers before anything is learned, and only what training
adds to that says something about the data.

## By the gates, in steps

Median over the seeds, with the lowest and the highest.

{table(rows, "gates")}

## By a change, in steps

{table(rows, "change")}

## What was learned

The loss on the sequences that were looked at, median over depths and seeds. A forecaster starts from the last
value, so that layers that say nothing cost little where tomorrow is like today.

{losses(rows)}
"""
