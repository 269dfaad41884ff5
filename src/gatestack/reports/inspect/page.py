"""An inspection as a section of a report, or, for a network without a task, as a page of its own."""

from __future__ import annotations

from gatestack.inspect import Inspection
from gatestack.reports.inspect.content import section_parts
from gatestack.reports.template import fill_template, make_environment

__all__ = ["render_inspection", "render_section"]


def render_section(found: Inspection) -> str:
    """Make the section of a report.

    Returns:
        HTML to stand inside a page of `gatestack.reports`.
    """
    return make_environment().get_template("inspect/section.html.jinja").render(section_parts(found))


def render_inspection(found: Inspection) -> str:
    """Make a page of its own: what `gatestack inspect` writes for a network without a task.

    Returns:
        HTML that loads nothing from anywhere.
    """
    first, *_ = found.sentences
    return fill_template(
        "inspect/template.html.jinja",
        None,
        title=f"Inside {found.title}",
        verdict={
            "kind": "none",
            "mark": "Not a score",
            "text": f"What the network does, not how well. {first}",
        },
        baselines={},
        settings={"sequences": str(found.settings["sequences"])},
        command="gatestack inspect MODEL DATA --out FOLDER",
        python="found = gatestack.load(MODEL).inspect(inputs, target)",
        section=render_section(found),
    )
