"""What the pages of all tasks share: the frame, the table of scores, the versions."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from gatestack.tasks.evaluation import MODEL, Evaluation, ScoreColumn

__all__ = ["NO_SCORES", "Scored", "fill_template", "list_scores", "make_environment"]

Scored = Literal["backtest", "after the fit"]

NO_SCORES = {
    "kind": "none",
    "mark": "No scores",
    "text": "The model was not evaluated: nothing here says that it is any good.",
}
"""The verdict on a model that was not evaluated."""


def fill_template(
    name: str, evaluation: Evaluation | None, *, notes: Mapping[str, str] | None = None, **parts: Any
) -> str:
    """Fill the template of a task, which extends `base.html.jinja`.

    Args:
        name: of the template, below this folder.
        evaluation: the scores to show, or None.
        notes: model → text for the last column of the scores; None leaves the column out.
        parts: what the templates name: `title`; `verdict` with its `kind` (`none`, `wins`, `loses` or
            `open`), `mark` and `text`; `baselines`, name → meaning; `settings`; `command` or None; `python`;
            and what the template of the task asks for.

    Returns:
        HTML that loads nothing from anywhere.
    """
    columns = _shown(evaluation)
    ends = {column.better for column in columns.values()}
    return (
        make_environment()
        .get_template(name)
        .render(
            evaluation=evaluation,
            columns=list(columns.values()),
            scores=list_scores(evaluation, notes),
            same_end=ends.pop() if len(ends) == 1 else None,
            versions=_versions(),
            **parts,
        )
    )


def make_environment() -> Environment:
    """Make what fills the templates of this folder: texts are escaped, a missing name is an error."""
    return Environment(
        loader=PackageLoader("gatestack.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def list_scores(evaluation: Evaluation | None, notes: Mapping[str, str] | None) -> list[dict[str, Any]]:
    """Give the rows of the table of scores; each cell is a text and whether it is the best of its column."""
    if evaluation is None:
        return []
    scores = evaluation.scores
    shown = _shown(evaluation)
    best = {name: column.best_of(scores[name]) for name, column in shown.items()}
    return [
        {
            "model": row["model"],
            "ours": row["model"] == MODEL,
            "note": None if notes is None else notes.get(row["model"], ""),
            "cells": [
                (column.text(row[name]), row[name] is not None and row[name] == best[name])
                for name, column in shown.items()
            ],
        }
        for row in scores.iter_rows(named=True)
    ]


def _shown(evaluation: Evaluation | None) -> dict[str, ScoreColumn]:
    """Give the columns of the table; a number of which neither end is good needs a picture instead."""
    if evaluation is None:
        return {}
    names = evaluation.scores.columns
    return {name: column for name, column in evaluation.columns.items() if name in names and column.better}


def _versions() -> dict[str, str]:
    """Give the versions that the numbers depend on."""
    packages = ("gatestack", "torch", "numpy", "polars", "utilsforecast")
    return {name: version(name) for name in packages} | {
        "Python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
