"""The interactive page of an inspection: one file to move along a sequence and see gates and states.

The numbers stand in the page as JSON, at most 300,000 of them, rounded to four digits; the script beside this
file shows them. The page loads nothing: its policy allows no connection, and no script but that one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

import polars as pl

from gatestack.inspect import Inspection
from gatestack.reports.template import make_environment

__all__ = ["render_cell_page"]

_MOST_NUMBERS = 300_000
_MOST_UNITS = 64
_MOST_FEATURES = 40
_QUANTITIES = ("input", "forget", "candidate", "output", "cell", "reset", "update", "hidden")


def render_cell_page(found: Inspection) -> str:
    """Make the page.

    Args:
        found: the inspection, whose table `gates` is shown.

    Returns:
        HTML that loads nothing from anywhere.
    """
    data, cut = _page_data(found)
    script = files("gatestack.reports.inspect").joinpath("cell_page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        make_environment()
        .get_template("inspect/cell_page.html.jinja")
        .render(
            title=found.title,
            step=found.words["step"],
            projection=bool(found.tables["layers"]["projection"].any()),
            layer_norm=bool(found.tables["layers"]["layer_norm"].any()),
            images=bool((found.tables["layers"]["positions"] > 1).any()),
            cut=cut,
            script=script,
            script_hash=f"sha256-{digest}",
            # Inside a script element only "</" and "<!--" mean anything, and neither needs a bare "<".
            data=json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        )
    )


def _page_data(found: Inspection) -> tuple[dict[str, Any], str]:
    """Give what the script reads, and what was left out, in words."""
    gates, layers = found.tables["gates"], found.tables["layers"]
    left = []
    if (layers["units"] > _MOST_UNITS).any():
        left.append(f"the first {_MOST_UNITS} units of each layer")
        gates = gates.filter(pl.col("unit") < _MOST_UNITS)
    each = sum(
        min(units, _MOST_UNITS) * (6 if cell.endswith("lstm") else 4 if "gru" in cell else 1)
        for units, cell in layers.select("units", "cell").iter_rows()
    )
    names = gates["sequence"].unique(maintain_order=True).to_list()
    steps = max(1, _MOST_NUMBERS // (each * len(names)))
    ends = gates.group_by("sequence").agg(pl.col("step").max().alias("end"))
    if int(gates["step"].to_numpy().max()) >= steps:
        left.append(f"the last {steps} {found.words['step']}s of each sequence")
        gates = gates.join(ends, on="sequence").filter(pl.col("step") > pl.col("end") - steps).drop("end")
    data = {
        "step": found.words["step"],
        "sequences": names,
        "layers": [_layer(gates, row, names) for row in layers.iter_rows(named=True)],
    }
    aligned = len({part.height for _, part in gates.group_by("layer", "direction", "unit")}) == 1
    return data | _inputs(found, gates, names, aligned), (f"Shown: {', '.join(left)}." if left else "")


def _span(own: pl.DataFrame, name: str) -> dict[str, int]:
    """Say which steps of a sequence are shown: layers may read others than those of the inputs."""
    steps = own.filter(pl.col("sequence") == name)["step"].to_numpy()
    return {"first": int(steps.min()), "steps": int(steps.max() - steps.min()) + 1}


def _layer(gates: pl.DataFrame, row: dict[str, Any], names: list[str]) -> dict[str, Any]:
    own = gates.filter(pl.col("layer") == row["layer"], pl.col("direction") == row["direction"])
    present = [name for name in _QUANTITIES if own[name].null_count() == 0]
    return {
        "name": f"layer {row['layer']}" + ("" if row["direction"] == "forward" else ", reverse"),
        "direction": row["direction"],
        "cell": row["cell"],
        "units": min(row["units"], _MOST_UNITS),
        "activation": row["activation"],
        "gate_activation": row["gate_activation"],
        "peepholes": row["peepholes"],
        "layer_norm": row["layer_norm"],
        "quantities": present,
        "spans": [_span(own, name) for name in names],
        "values": {
            quantity: [
                [_rounded(number) for number in own.filter(pl.col("sequence") == name)[quantity]]
                for name in names
            ]
            for quantity in present
        },
    }


def _inputs(found: Inspection, gates: pl.DataFrame, names: list[str], aligned: bool) -> dict[str, Any]:
    """Give the inputs of the steps that are shown, where they have the steps of the layers."""
    table = found.table("attributions")
    if table is None or not aligned:
        return {"features": [], "inputs": []}
    features = table["feature"].unique(maintain_order=True).to_list()[:_MOST_FEATURES]
    shown = gates.select("sequence", "step").unique()
    own = table.join(shown, on=("sequence", "step"), how="semi").filter(pl.col("feature").is_in(features))
    inputs = []
    for name in names:
        values = own.filter(pl.col("sequence") == name)["input"].to_list()
        inputs.append(
            [
                [_rounded(number) for number in values[begin : begin + len(features)]]
                for begin in range(0, len(values), len(features))
            ]
        )
    return {"features": features, "inputs": inputs}


def _rounded(number: float) -> float:
    """Round to four significant digits, but gates near 0 and 1 so that they stay inside."""
    short = float(f"{number:.4g}")
    return number if short in (0.0, 1.0, -1.0) else short
