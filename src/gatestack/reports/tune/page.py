"""The page of a search: the answer, the check, the trials, what mattered, how to repeat the winner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gatestack.reports.svg import ACCENT, MODEL, MUTED, Picture, inline_svg, new_axes, report_style
from gatestack.reports.template import fill_template
from gatestack.reports.tune.table import trial_table
from gatestack.study import TrialRow, TuneStudy

__all__ = ["draw_check", "draw_importance", "draw_trials", "render_tune_page"]


_MARKS = {
    "wins": "Better settings",
    "open": "Keep the settings as given",
    "none": "Keep the settings as given",
    "loses": "No network beats the baseline",
}


def render_tune_page(
    study: TuneStudy, *, title: str, command: str, python: str, search: str | None = None
) -> str:
    """Make the page of a search.

    Args:
        study: what was found.
        title: of the page.
        command: that fits with what was found.
        python: lines that do.
        search: command that searched.

    Returns:
        HTML that loads nothing from anywhere.
    """
    table = trial_table(study)
    searched = {name.replace("_", " "): f"searched in {limits}" for name, limits in study.space.items()}
    return fill_template(
        "tune/template.html.jinja",
        None,
        title=title,
        verdict={
            "kind": _kind(study),
            "mark": _MARKS[_kind(study)],
            "text": study.sentence,
        },
        baselines={},
        settings={"trials": str(len(study.rows)), "folds": f"{study.folds}, and one held back"} | searched,
        command=command,
        python=python,
        table=table,
        failures=study.failures,
        search=search,
        check=_check_rows(study),
        pictures=_pictures(study),
        measure=study.measure,
    )


def _kind(study: TuneStudy) -> str:
    if not study.beats_baseline:
        return "loses"
    if not study.best:
        return "none"
    return "wins" if study.holds else "open"


def _pictures(study: TuneStudy) -> list[Picture]:
    label = study.measure.label
    with report_style():
        pictures = [
            Picture(
                inline_svg(draw_trials(study), name="trials", label=study.sentence),
                f"{label} of each trial over the folds of the search, in the order of their beginning. The "
                "line is the best so far; open points were left early and are means over fewer folds.",
            ),
            Picture(
                inline_svg(draw_check(study), name="check", label=f"{label} on the part held back"),
                f"{label} on the part held back: a point for each fresh seed, a line at their mean. "
                "Where the points of both lie among each other, neither is shown to be better.",
            ),
        ]
        if study.importance:
            pictures.append(
                Picture(
                    inline_svg(draw_importance(study), name="importance", label="importance of the settings"),
                    "The share of each setting in what the trials differ by (fANOVA): a guide where to look, "
                    "not a proof.",
                )
            )
    return pictures


def _check_rows(study: TuneStudy) -> list[list[str]]:
    """Give model, mean and the score of each seed on the part held back."""
    held, text = study.held_back, study.measure.text
    rows = [("winner", held.best)] if study.best else []
    return [
        *([name, text(float(np.mean(scores))), ", ".join(map(text, scores))] for name, scores in rows),
        ["as given", text(float(np.mean(held.given))), ", ".join(map(text, held.given))],
        [f"baseline: {held.baseline.replace('_', ' ')}", text(held.baseline_score), "–"],
    ]


def draw_trials(study: TuneStudy) -> Figure:
    """Draw the score of each trial, the best so far, the settings as given and the best baseline.

    Args:
        study: what was found.
    """
    figure, (axis,) = new_axes(height=3.2, width=6.4)
    scale = _scale(study)
    whole = [point for row in study.rows if row.state == "complete" for point in _point(row)]
    early = [point for row in study.rows if row.state == "pruned" for point in _point(row)]
    for points, face, label in ((whole, MODEL, "trial"), (early, "none", "left early")):
        if points:
            numbers, scores = zip(*points, strict=True)
            own = scale * np.array(scores)
            axis.plot(numbers, own, "o", markersize=4, color=MODEL, markerfacecolor=face, label=label)
    if whole:
        numbers, scores = zip(*whole, strict=True)
        losses = [study.measure.loss(score) for score in scores]
        best = [scores[int(np.argmin(losses[: place + 1]))] for place in range(len(scores))]
        axis.step(numbers, scale * np.array(best), where="post", color=MODEL, label="best so far")
    if study.given.score is not None:
        axis.axhline(scale * study.given.score, color=ACCENT, linestyle="--", label="as given")
    plain = study.best_baseline
    axis.axhline(scale * study.baselines[plain], color=MUTED, linestyle=":", label=plain.replace("_", " "))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("trial")
    _name_scores(axis, study)
    axis.legend(loc="best")
    return figure


def draw_check(study: TuneStudy) -> Figure:
    """Draw the scores on the part held back: one point for each seed.

    Args:
        study: what was found.
    """
    held, scale = study.held_back, _scale(study)
    parts: list[tuple[str, Sequence[float], str, str]] = [("as given", held.given, ACCENT, "s")]
    if study.best:
        parts.insert(0, ("winner", held.best, MODEL, "o"))
    figure, (axis,) = new_axes(height=3.2, width=6.4)
    for place, (_, scores, colour, mark) in enumerate(parts):
        own = scale * np.array(scores)
        axis.plot(np.full(len(own), place), own, mark, color=colour, markersize=5)
        axis.hlines(float(own.mean()), place - 0.2, place + 0.2, color=colour)
    label = held.baseline.replace("_", " ")
    axis.axhline(scale * held.baseline_score, color=MUTED, linestyle=":", label=label)
    axis.set_xticks(range(len(parts)), [name for name, *_ in parts])
    axis.set_xlim(-0.6, len(parts) - 0.4)
    _name_scores(axis, study)
    axis.legend(loc="best")
    return figure


def draw_importance(study: TuneStudy) -> Figure:
    """Draw the share of each setting in what the trials differ by.

    Args:
        study: what was found.
    """
    figure, (axis,) = new_axes(height=0.8 + 0.3 * len(study.importance), width=6.4)
    names = list(study.importance)[::-1]
    shares = [100 * study.importance[name] for name in names]
    axis.barh([name.replace("_", " ") for name in names], shares, color=MODEL)
    axis.set_xlabel("share, %")
    return figure


def _point(row: TrialRow) -> list[tuple[int, float]]:
    return [] if row.number is None or row.score is None else [(row.number, row.score)]


def _scale(study: TuneStudy) -> float:
    return 100.0 if study.measure.percent else 1.0


def _name_scores(axis: Axes, study: TuneStudy) -> None:
    axis.set_ylabel(f"{study.measure.label}{', %' if study.measure.percent else ''}")
