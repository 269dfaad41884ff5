"""The page of a study of depth: the answer, the table, the figures, what it was asked."""

from __future__ import annotations

from typing import Any

from gatestack.reports.depth.figures import draw_costs, draw_depths, draw_ways
from gatestack.reports.svg import Picture, inline_svg, report_style
from gatestack.reports.template import fill_template, make_environment
from gatestack.study import DepthRow, DepthStudy, VariantRow

__all__ = ["HEADS", "render_depth_page", "render_depth_section", "table_cells"]

HEADS = ("layers", "width", "held out", "in training", "gain over the row above", "parameters", "training")
"""Headings of the table of a study."""


def render_depth_page(
    study: DepthStudy, *, title: str, settings: dict[str, str], command: str | None, python: str | None
) -> str:
    """Make the page of a study.

    Args:
        study: what was found.
        title: of the page.
        settings: of the estimator, for people.
        command: that made the page; None where there was none.
        python: lines that make the same study; None to leave them out.

    Returns:
        HTML that loads nothing from anywhere.
    """
    return fill_template(
        "depth/template.html.jinja",
        None,
        title=title,
        verdict={
            "kind": "none" if study.chosen == 0 else "wins",
            "mark": _mark(study),
            "text": study.sentence,
        },
        baselines={},
        settings=_questions(study) | settings,
        command=command,
        python=python,
        **_section_parts(study),
    )


def render_depth_section(study: DepthStudy) -> str:
    """Make the section of a report on a model whose depth a study chose.

    Args:
        study: what was found.

    Returns:
        HTML to stand inside a page of `gatestack.reports`.
    """
    template = make_environment().get_template("depth/section.html.jinja")
    return template.render(sentence=study.sentence, **_section_parts(study))


def _section_parts(study: DepthStudy) -> dict[str, Any]:
    return {
        "pictures": _pictures(study),
        "heads": [*HEADS, "one step", "memory"],
        "rows": [(table_cells(row, study), row.layers == study.chosen) for row in study.rows],
        "warnings": study.warnings,
        "ways": [_way_cells(row, study) for row in study.regularisation],
        "measure": study.measure,
    }


def _pictures(study: DepthStudy) -> list[Picture]:
    with report_style():
        pictures = [
            Picture(
                inline_svg(draw_depths(study), name="depths", label=study.sentence),
                f"{study.measure.label} over the depth. Each point is a fit scored on a part that it did not "
                "see; the dashed line is the score on the part it was trained on. Where the two lines part, "
                "more layers learn the training part by heart.",
            )
        ]
        if any(row.layers for row in study.rows):
            svg = inline_svg(draw_costs(study), name="costs", label="cost by depth")
            pictures.append(Picture(svg, "What each depth costs, on the machines of this study."))
        if study.regularisation:
            svg = inline_svg(draw_ways(study), name="ways", label="gain of each way to regularise")
            pictures.append(
                Picture(
                    svg,
                    "What each way to regularise gains over the depth chosen without it: right of the line "
                    "is better. The bars hold all true gains together in 95 of 100 studies.",
                )
            )
    return pictures


def table_cells(row: DepthRow, study: DepthStudy) -> list[str]:
    """Give a row of the table as texts: `HEADS`, milliseconds of a step, memory that it reads."""
    measure = study.measure
    return [
        str(row.layers) if row.layers else f"0: {row.model.replace('_', ' ')}",
        str(row.widths[0]) if row.widths else "–",
        f"{measure.text(row.score)} ± {measure.text(row.spread)}",
        "–" if row.training is None else measure.text(row.training),
        _gain(row, study),
        "–" if row.parameters is None else f"{row.parameters:,}",
        f"{row.seconds:.3g} s",
        "–" if row.step_ms is None else f"{row.step_ms:.3g} ms",
        "–" if row.step_bytes is None else f"{row.step_bytes / 1024:,.0f} KiB",
    ]


def _way_cells(row: VariantRow, study: DepthStudy) -> tuple[list[str], bool]:
    measure = study.measure
    return [
        row.name,
        str(row.layers),
        measure.text(row.score),
        "–" if row.training is None else measure.text(row.training),
        _gain(row, study),
        "yes" if row.worth else "no",
    ], row.worth


def _gain(row: DepthRow | VariantRow, study: DepthStudy) -> str:
    if row.gain is None:
        return "–"
    scale = 100 if study.measure.percent else 1
    digits = ".1f" if study.measure.percent else ".3g"
    unit = " points" if study.measure.percent else ""
    return f"{scale * row.gain.mean:{digits}} ± {scale * row.gain.half_width:{digits}}{unit}"


def _mark(study: DepthStudy) -> str:
    if study.chosen == 0:
        return "No recurrent layer is worth it"
    return "Take one layer" if study.chosen == 1 else f"Take {study.chosen} layers"


def _questions(study: DepthStudy) -> dict[str, Any]:
    found = {
        "compared": study.measure.label,
        "budget": study.budget,
        "folds": str(study.folds),
        "seeds": str(study.seeds),
    }
    return found | ({"minimum gain": f"{study.min_gain:g}"} if study.min_gain else {})
