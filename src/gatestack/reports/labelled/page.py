"""The page of a classifier or regressor: scores, mistakes, cases, training."""

from __future__ import annotations

from typing import Any

from gatestack.reports.labelled import content, figures
from gatestack.reports.learning_curve import draw_learning_curve, learning_caption
from gatestack.reports.svg import Picture, inline_svg, report_style
from gatestack.reports.template import Scored, fill_template
from gatestack.tasks.classify import ClassificationEvaluation, Classifier
from gatestack.tasks.labelled.baselines import BASELINES
from gatestack.tasks.regress import RegressionEvaluation, Regressor

__all__ = ["render_page"]

_LOSSES = {"classify": "cross-entropy", "regress": "mean squared error, scaled"}


def render_page(
    model: Classifier | Regressor,
    *,
    evaluation: ClassificationEvaluation | RegressionEvaluation | None,
    data: Any,
    scored: Scored,  # noqa: ARG001  (the evaluation itself says how it was made)
) -> str:
    """Make the page as text; see `gatestack.reports.report`."""
    fitted = model.fitted_
    names = [str(name) for name in model.classes_] if isinstance(model, Classifier) else None
    source = content.source_of(data) or content.file_of(fitted)
    with report_style():
        record = fitted.members[0].record
        pictures = {
            "cases": _picture(
                figures.draw_cases(fitted, names),
                "cases",
                "Cases of the training part, chosen evenly in the order of the data; "
                + ("a row for each class, at most six;" if names else "the target above each;")
                + " at most four channels, which differ in dashes.",
            ),
            "learning": _picture(
                draw_learning_curve(record, _LOSSES[model.task]), "learning", learning_caption(record)
            )
            if any(row.train_loss is not None for row in record.history)
            else None,
            "scores": None if evaluation is None else _picture(*_score_figure(evaluation)),
            "second": None if evaluation is None else _picture(*_second_figure(evaluation)),
        }
    return fill_template(
        "labelled/template.html.jinja",
        evaluation,
        notes=content.difference_notes(evaluation),
        title=content.title_of(model),
        verdict=content.verdict_of(evaluation),
        baselines={
            name: meaning
            for name, meaning in BASELINES[model.task].items()
            if evaluation is not None and name in evaluation.scores["model"]
        },
        facts=content.list_facts(model),
        mistakes=content.list_mistakes(evaluation),
        pictures=pictures,
        settings=content.list_settings(model),
        records=[member.record for member in fitted.members],
        command=content.command_to_repeat(model, source),
        python=content.python_to_repeat(model, source),
    )


def _picture(figure: Any, name: str, caption: str) -> Picture:
    return Picture(inline_svg(figure, name=name, label=caption), caption)


def _score_figure(evaluation: ClassificationEvaluation | RegressionEvaluation) -> tuple[Any, str, str]:
    if isinstance(evaluation, ClassificationEvaluation):
        return (
            figures.draw_confusion(evaluation),
            "confusion",
            "How often each class (row) was taken for which (column); shaded by the share of the row.",
        )
    return (
        figures.draw_scatter(evaluation),
        "scatter",
        "Each case: what was predicted over what came true. On the line the two agree.",
    )


def _second_figure(evaluation: ClassificationEvaluation | RegressionEvaluation) -> tuple[Any, str, str]:
    if isinstance(evaluation, ClassificationEvaluation):
        return (
            figures.draw_reliability(evaluation),
            "reliability",
            "Of the cases named with about this probability, how many were named rightly. On the line the "
            "probabilities are honest.",
        )
    return (
        figures.draw_errors(evaluation),
        "errors",
        "Absolute errors in ascending order, of the model and of each baseline: the lower line errs less.",
    )
