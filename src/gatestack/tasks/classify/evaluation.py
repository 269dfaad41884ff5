"""Scores of a classifier beside its baselines, and what they say in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn import metrics

from gatestack.tasks.evaluation import MODEL, Evaluation, ScoreColumn
from gatestack.tasks.labelled.difference import Difference, paired_difference, share_interval
from gatestack.tasks.labelled.extent import extent_of

__all__ = ["ClassificationEvaluation", "score_classes"]

Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

COLUMNS = {
    "accuracy": ScoreColumn("accuracy", "share of cases named rightly", better="higher", percent=True),
    "balanced_accuracy": ScoreColumn(
        "balanced", "mean over the classes of the share named rightly", better="higher", percent=True
    ),
    "macro_f1": ScoreColumn(
        "macro F1",
        "mean over the classes of the harmonic mean of precision and recall, 0 to 1",
        better="higher",
    ),
    "log_loss": ScoreColumn("log loss", "mean of minus the logarithm of the probability given to the truth"),
}


@dataclass(frozen=True)
class ClassificationEvaluation(Evaluation):
    """How well a classifier names cases, beside its baselines, on the same cases.

    Attributes:
        scores: one row per model: `accuracy`, `balanced_accuracy`, `macro_f1`, `log_loss`; the last is empty
            for a model that gives no probabilities.
        sentence: the result in words.
        predictions: one row per case: `case`, `truth`, `predicted`, `probability-<class>`, and a column for
            each baseline's answer.
        confusion: `truth`, `predicted`, `cases`: how often each class was taken for which.
        difference: for each baseline by how much the model's accuracy is higher.
        cases: number of cases.
        folds: number of folds where the score is cross-validated; None for a test part.

    Example:
        >>> shares = np.array([[0.9, 0.1], [0.2, 0.8]])
        >>> result = score_classes(np.array([0, 1]), shares, {"majority": np.full((2, 2), 0.5)}, ["a", "b"])
        >>> result.scores["accuracy"].to_list()
        [1.0, 0.5]
    """

    scores: pl.DataFrame
    sentence: str
    predictions: pl.DataFrame
    confusion: pl.DataFrame
    difference: dict[str, Difference]
    cases: int
    folds: int | None = None

    @property
    def columns(self) -> Mapping[str, ScoreColumn]:
        """Accuracy, balanced accuracy, macro F1 and log loss."""
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
            "confusion": self.confusion.to_dicts(),
            "difference": {name: found.to_dict() for name, found in self.difference.items()},
            "sentence": self.sentence,
        }


def score_classes(
    truth: IntArray,
    probabilities: Floats,
    baselines: Mapping[str, Floats],
    classes: list[Any],
    *,
    folds: int | None = None,
) -> ClassificationEvaluation:
    """Score a classifier and its baselines.

    Args:
        truth: (n,) place of each case's class in `classes`.
        probabilities: (n, K) of the model.
        baselines: name → (n, K).
        classes: K names.
        folds: of a cross-validation.
    """
    answers = {MODEL: probabilities, **baselines}
    named = {name: shares.argmax(axis=1) for name, shares in answers.items()}
    rows = [{"model": name} | _scores(truth, named[name], shares) for name, shares in answers.items()]
    difference = {name: paired_difference(named[MODEL] == truth, named[name] == truth) for name in baselines}
    names = [str(name) for name in classes]
    count = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(count, (truth, named[MODEL]), 1)
    return ClassificationEvaluation(
        scores=pl.DataFrame(rows, schema_overrides={"log_loss": pl.Float64}),
        sentence=_sentence(int((named[MODEL] == truth).sum()), len(truth), difference, folds),
        predictions=pl.DataFrame(
            {"case": np.arange(len(truth)), "truth": [names[at] for at in truth]}
            | {"predicted": [names[at] for at in named[MODEL]]}
            | {f"probability-{name}": probabilities[:, at] for at, name in enumerate(names)}
            | {name: [names[at] for at in found] for name, found in named.items() if name != MODEL}
        ),
        confusion=pl.DataFrame(
            {
                "truth": np.repeat(names, len(names)).tolist(),
                "predicted": names * len(names),
                "cases": count.reshape(-1),
            }
        ),
        difference=difference,
        cases=len(truth),
        folds=folds,
    )


def _scores(truth: IntArray, named: IntArray, shares: Floats) -> dict[str, float | None]:
    present = np.unique(truth)
    seen = np.unique(np.concatenate([truth, named]))
    # Who is certain of every answer gives names, not probabilities: one error would be infinitely bad.
    certain = bool(np.isin(shares, (0.0, 1.0)).all())
    return {
        "accuracy": float(metrics.accuracy_score(truth, named)),
        "balanced_accuracy": float(
            metrics.recall_score(truth, named, labels=present, average="macro", zero_division=0)
        ),
        "macro_f1": float(metrics.f1_score(truth, named, labels=seen, average="macro", zero_division=0)),
        "log_loss": None
        if certain
        else float(metrics.log_loss(truth, shares, labels=np.arange(shares.shape[1]))),
    }


def _sentence(right: int, count: int, difference: Mapping[str, Difference], folds: int | None) -> str:
    low, high = share_interval(right, count)
    part = "" if folds is None else f" in {folds}-fold cross-validation"
    start = (
        f"{right} of {count} cases are named rightly{part} ({100 * right / count:.1f} %; 95 % interval "
        f"{100 * low:.1f} to {100 * high:.1f} %)"
    )
    best = min(difference, key=lambda name: difference[name].value)
    found = difference[best]
    interval = f"(95 % interval of the difference: {100 * found.low:+.1f} to {100 * found.high:+.1f} points)"
    if found.value == 0:
        return f"{start}, as many as by the best baseline, {best} {interval}."
    way = "more" if found.value > 0 else "fewer"
    text = f"{abs(100 * found.value):.1f} points {way} than by the best baseline, {best}"
    if found.low > 0:
        return f"{start}, {text} {interval}."
    if found.high < 0:
        return f"The model loses: {start}, {text} {interval}. Use the baseline."
    return f"{start}, {text}, but the two cannot be told apart {interval}."
