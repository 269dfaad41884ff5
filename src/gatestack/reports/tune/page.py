"""The page of a search: the answer, the trials, what mattered, how to repeat the winner."""

from __future__ import annotations

from matplotlib.figure import Figure

from gatestack.reports.svg import ACCENT, MODEL, MUTED, Picture, inline_svg, new_axes, report_style
from gatestack.reports.template import fill_template
from gatestack.study import TuneStudy
from gatestack.study.space import shown

__all__ = ["HEADS", "render_tune_page", "table_rows"]

HEADS = ("trial", "score", "folds", "seconds", "settings")
"""Headings of the table of trials."""


def render_tune_page(study: TuneStudy, *, title: str, command: str, python: str) -> str:
    """Make the page of a search.

    Args:
        study: what was found.
        title: of the page.
        command: that fits with what was found.
        python: lines that do.

    Returns:
        HTML that loads nothing from anywhere.
    """
    with report_style():
        pictures = [
            Picture(
                inline_svg(draw_trials(study), name="trials", label=study.sentence),
                f"{study.measure.label} of each trial over the folds of the search. The line is the best so "
                "far; open points were left early and are means over fewer folds.",
            )
        ]
        if study.importance:
            pictures.append(
                Picture(
                    inline_svg(draw_importance(study), name="importance", label="importance of the settings"),
                    "The share of each setting in what the trials differ by (fANOVA): a guide where to look, "
                    "not a proof.",
                )
            )
    return fill_template(
        "tune/template.html.jinja",
        None,
        title=title,
        verdict={
            "kind": "none" if not study.best else "wins" if study.holds else "open",
            "mark": "Better settings" if study.best and study.holds else "Keep the settings as given",
            "text": study.sentence,
        },
        baselines={},
        settings={name.replace("_", " "): limits for name, limits in study.space.items()},
        command=command,
        python=python,
        heads=HEADS,
        rows=[(cells, cells[0] == _name(study.winner.number)) for cells in table_rows(study)],
        pictures=pictures,
        measure=study.measure,
    )


def table_rows(study: TuneStudy) -> list[list[str]]:
    """Give the rows of the table as texts: as given, the baselines, then the trials, best first."""
    measure = study.measure
    plain = [
        ["–", measure.text(score), str(study.folds), "", name.replace("_", " ")]
        for name, score in sorted(study.baselines.items(), key=lambda pair: measure.loss(pair[1]))[:1]
    ]
    order = sorted(
        study.rows,
        key=lambda row: (row.state != "complete", measure.loss(row.score) if row.score is not None else 0.0),
    )
    return [
        *plain,
        *(
            [
                _name(row.number),
                "–" if row.score is None else measure.text(row.score),
                f"{len(row.scores)}{'' if row.state == 'complete' else ' ' + row.state}",
                f"{row.seconds:.3g}",
                shown(row.settings),
            ]
            for row in (study.given, *order)
        ),
    ]


def draw_trials(study: TuneStudy) -> Figure:
    """Draw the score of each trial, the best so far, the settings as given and the best baseline.

    Args:
        study: what was found.
    """
    figure, (axis,) = new_axes(height=3.2, width=6.4)
    scale = 100 if study.measure.percent else 1
    whole = [row for row in study.rows if row.state == "complete" and row.score is not None]
    early = [row for row in study.rows if row.state == "pruned" and row.score is not None]
    for rows, face, label in ((whole, MODEL, "trial"), (early, "none", "left early")):
        if rows:
            axis.plot(
                [float(row.number or 0) for row in rows],
                [scale * (row.score or 0.0) for row in rows],
                "o",
                markersize=4,
                color=MODEL,
                markerfacecolor=face,
                label=label,
            )
    best: list[float] = []
    for row in whole:
        score = row.score or 0.0
        better = not best or study.measure.loss(score) < study.measure.loss(best[-1])
        best.append(score if better else best[-1])
    if whole:
        numbers = [float(row.number or 0) for row in whole]
        axis.step(numbers, [scale * score for score in best], where="post", color=MODEL, label="best so far")
    axis.axhline(scale * (study.given.score or 0.0), color=ACCENT, linestyle="--", label="as given")
    name = min(study.baselines, key=lambda key: study.measure.loss(study.baselines[key]))
    plain = scale * study.baselines[name]
    axis.axhline(plain, color=MUTED, linestyle=":", label=name.replace("_", " "))
    axis.set_xlabel("trial")
    axis.set_ylabel(f"{study.measure.label}{', %' if study.measure.percent else ''}")
    axis.legend(loc="best")
    return figure


def draw_importance(study: TuneStudy) -> Figure:
    """Draw the share of each setting in what the trials differ by.

    Args:
        study: what was found.
    """
    figure, (axis,) = new_axes(height=0.5 + 0.3 * len(study.importance), width=6.4)
    names = list(study.importance)[::-1]
    shares = [100 * study.importance[name] for name in names]
    axis.barh([name.replace("_", " ") for name in names], shares, color=MODEL)
    axis.set_xlabel("share, %")
    return figure


def _name(number: int | None) -> str:
    return "given" if number is None else str(number)
