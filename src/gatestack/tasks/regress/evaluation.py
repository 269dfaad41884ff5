"""Scores of a regressor beside its baselines, and what they say in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.tasks.evaluation import MODEL, Evaluation, ScoreColumn
from gatestack.tasks.labelled.extent import extent_of
from gatestack.tasks.skill import Skill, compare

__all__ = ["RegressionEvaluation", "score_numbers"]

Floats = npt.NDArray[np.float64]

COLUMNS = {
    "mae": ScoreColumn("MAE", "mean absolute error, in the unit of the target"),
    "rmse": ScoreColumn("RMSE", "root of the mean squared error, in the unit of the target"),
    "r2": ScoreColumn(
        "R²", "share of the variance that is explained; 0 for the mean, 1 at best", better="higher"
    ),
}


@dataclass(frozen=True)
class RegressionEvaluation(Evaluation):
    """How well a regressor predicts, beside its baselines, on the same cases.

    Attributes:
        scores: one row per model: `mae`, `rmse`, `r2`; the last is empty where all truths are equal.
        sentence: the result in words.
        predictions: one row per case: `case`, `truth`, `predicted`, and a column for each baseline's answer.
        skill: for each baseline, how much lower the model's mean absolute error is.
        cases: number of cases.
        folds: number of folds where the score is cross-validated; None for a test part.

    Example:
        >>> truth = np.arange(4.0)
        >>> score_numbers(truth, truth + 0.1, {"mean": np.full(4, 1.5)}).scores["mae"].round(2).to_list()
        [0.1, 1.0]
    """

    scores: pl.DataFrame
    sentence: str
    predictions: pl.DataFrame
    skill: dict[str, Skill]
    cases: int
    folds: int | None = None

    @property
    def columns(self) -> Mapping[str, ScoreColumn]:
        """Mean absolute error, root of the mean squared error, share of the variance."""
        return COLUMNS

    @property
    def extent(self) -> str:
        """Cases, and folds where there are some."""
        return extent_of(self.cases, self.folds)

    def to_dict(self) -> dict[str, Any]:
        """Give everything but the predictions as JSON values."""
        return {
            "cases": self.cases,
            "folds": self.folds,
            "scores": self.scores.to_dicts(),
            "skill": {name: found.to_dict() for name, found in self.skill.items()},
            "sentence": self.sentence,
        }


def score_numbers(
    truth: Floats, predicted: Floats, baselines: Mapping[str, Floats], *, folds: int | None = None
) -> RegressionEvaluation:
    """Score a regressor and its baselines.

    Args:
        truth: (n,) what came true.
        predicted: (n,) by the model.
        baselines: name → (n,).
        folds: of a cross-validation.
    """
    answers = {MODEL: predicted, **baselines}
    spread = float(((truth - truth.mean()) ** 2).sum())
    rows = [
        {
            "model": name,
            "mae": float(np.abs(found - truth).mean()),
            "rmse": float(np.sqrt(((found - truth) ** 2).mean())),
            "r2": 1 - float(((found - truth) ** 2).sum()) / spread if spread > 0 else None,
        }
        for name, found in answers.items()
    ]
    # Cases are independent of each other: each is its own series, drawn whole.
    skill = compare(
        {name: np.abs(found - truth)[:, None] for name, found in answers.items()},
        rows=np.arange(len(truth)),
        scale=np.ones(len(truth)),
        model=MODEL,
        block=1,
    )
    return RegressionEvaluation(
        scores=pl.DataFrame(rows, schema_overrides={"r2": pl.Float64}),
        sentence=_sentence(skill, len(truth), folds),
        predictions=pl.DataFrame(
            {"case": np.arange(len(truth)), "truth": truth, "predicted": predicted} | dict(baselines)
        ),
        skill=skill,
        cases=len(truth),
        folds=folds,
    )


def _sentence(skill: Mapping[str, Skill], count: int, folds: int | None) -> str:
    best = min(skill, key=lambda name: skill[name].value)
    found = skill[best]
    over = f"Over {count} case{'' if count == 1 else 's'}"
    over += "" if folds is None else f" in {folds}-fold cross-validation"
    if not np.isfinite(found.value):
        lost = f"{over[0].lower()}{over[1:]} the baseline {best} makes no error"
        return f"The model loses: {lost}. Use the baseline."
    way = "lower" if found.value >= 0 else "higher"
    start = (
        f"{over} the mean absolute error is {abs(100 * found.value):.1f} % {way} than that of the best "
        f"baseline, {best}"
    )
    if found.low is None or found.high is None:
        return f"{start}; there are too few cases for an interval."
    low, high = 100 * found.low, 100 * found.high
    if found.low > 0:
        return f"{start} (95 % interval: {low:.1f} to {high:.1f} % lower)."
    if found.high < 0:
        interval = f"(95 % interval: {-high:.1f} to {-low:.1f} % higher)"
        return f"The model loses: {start[0].lower()}{start[1:]} {interval}. Use the baseline."
    interval = f"(95 % interval: {-low:.1f} % higher to {high:.1f} % lower)"
    return f"{start}, but the two cannot be told apart {interval}."
