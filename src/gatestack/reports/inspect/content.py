"""What the section of a report says about an inspection: sentences, pictures with captions, units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from gatestack.inspect import Inspection
from gatestack.reports.inspect import figures
from gatestack.reports.svg import Picture, image_of, inline_svg, report_style

__all__ = ["figure_files", "section_parts"]

_MOST_UNITS = 20

# Name of a figure → what draws it, the table it needs, its caption.
_FIGURES: dict[str, tuple[Callable[[Inspection], Figure], str, str]] = {
    "gates": (
        figures.draw_gates,
        "gates",
        "The gates while {sequence} is read: the median unit of each layer (line) and the middle 80 % of the "
        "units (band). 1 is open: the forget or update gate keeps the old state, the input gate lets the new "
        "in, the output gate shows it.",
    ),
    "distributions": (
        figures.draw_distributions,
        "distributions",
        "How far open the gates are, over all units, {step}s and sequences. A heap at 0 or 1 is a gate that "
        "works as a switch; a heap in the middle is one that mixes.",
    ),
    "time_scales": (
        figures.draw_time_scales,
        "time_scales",
        "How long each unit remembers, measured in two independent ways. A unit whose change does not fade "
        "within the sequences has no circle, and counts in the median. The dotted bars are the same network "
        "before training: what they show already was not learned.",
    ),
    "gradients": (
        figures.draw_gradients,
        "gradient_flow",
        "How much of the gradient reaches back in time: the norm of the derivative of the loss by the state "
        "of each layer, k {step}s before the last. Where the curve falls, what happened so long ago is hard "
        "to learn. The plain RNN has as many units, and both it and the initialised model have the trained "
        "model's head.",
    ),
    "worth": (
        figures.draw_worth,
        "layer_worth",
        "What each layer is worth: the change of the loss ({loss}) when its output is its input (bypassed; "
        "where widths allow it), its own mean (held), or each unit's course in another sequence "
        "(shuffled).",
    ),
    "probes": (
        figures.draw_probes,
        "probes",
        "What a linear model reads of the truth from the last state of each layer, and from the inputs "
        "(mean and last {step}). Where the circle lies among the crosses, the layer holds nothing that a "
        "linear model can read.",
    ),
    "inputs": (
        figures.draw_inputs,
        "occlusion",
        "What each input is worth: the change of the {of} when it is replaced by its average, and the part "
        "of the answer ({answer}) that integrated gradients give to it. Lines: ± 2 standard errors. They ask "
        "different questions and need not agree.",
    ),
    "moments": (
        figures.draw_moments,
        "occlusion",
        "What each stretch of {step}s is worth: the change of the {of} when all inputs in it are replaced by "
        "their average. The newest {step}s are on the right.",
    ),
}


def section_parts(found: Inspection) -> dict[str, Any]:
    """Give what the template of the section names.

    Args:
        found: the inspection.
    """
    idle = found.tables["units"].filter(
        pl.col("dead") | pl.col("saturated").fill_null(False) | (pl.col("never_opens") != "")
    )
    return {
        "inspection": found,
        "pictures": _pictures(found),
        "idle": idle.head(_MOST_UNITS).rows(named=True),
        "more_idle": max(0, idle.height - _MOST_UNITS),
        "limits": {
            "sequences": f"{found.settings['sequences']}",
            "a gate is closed": f"below {found.settings['closed below']}",
            "open": f"above {found.settings['open above']}",
            "saturated": f"state {found.settings['saturated']}",
            "dead": f"state with a {found.settings['dead']}",
        },
    }


def figure_files(found: Inspection) -> dict[str, bytes]:
    """Draw every figure as an SVG file of its own, by its name."""
    files = {}
    for name, (draw, _, _) in _drawable(found).items():
        with report_style():
            files[f"{name}.svg"] = image_of(draw(found), "svg")
    return files


def _pictures(found: Inspection) -> list[Picture]:
    occlusion = found.table("occlusion")
    of = "loss" if occlusion is None else occlusion["of"][0]
    words = {"sequence": found.settings["shown"][0], "of": of, **found.words}
    pictures = []
    for name, (draw, _, caption) in _drawable(found).items():
        text = caption.format(**words)
        with report_style():
            pictures.append(Picture(inline_svg(draw(found), name=f"inspect-{name}", label=text), text))
    return pictures


def _drawable(
    found: Inspection,
) -> dict[str, tuple[Callable[[Inspection], Figure], str, str]]:
    """Give the figures whose tables there are; stretches of steps need more than one."""
    kept = {name: parts for name, parts in _FIGURES.items() if parts[1] in found.tables}
    occlusion = found.table("occlusion")
    if occlusion is not None and occlusion["first"].null_count() == occlusion.height:
        kept.pop("moments")
    return kept
