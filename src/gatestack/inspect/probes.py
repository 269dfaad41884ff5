"""Linear probes: what a linear model can read of the truth from the last state of each layer.

Ridge regression for numbers (R², share of the variance explained on cases that the probe did not see) and
logistic regression for classes (balanced accuracy), in five folds; where sequences overlap in time the folds
are blocks. Beside it the same probe on shuffled truths, which says what chance alone gives with so many
numbers to choose from, and the probe on the inputs themselves, their mean and their last step.

Source:
    Alain & Bengio 2017, "Understanding intermediate layers using linear classifier probes".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.inspect.subject import Truth

__all__ = ["FEWEST", "probe_table"]

FEWEST = 20
"""Sequences without which a probe says nothing."""

_FOLDS, _SHUFFLES = 5, 19

Floats = npt.NDArray[np.float64]


def probe_table(states: Sequence[tuple[int | None, Floats]], truth: Truth) -> pl.DataFrame | None:
    """Fit the probes.

    Args:
        states: number of a layer, or None for the inputs; and what the probe reads, (N, F).
        truth: of the N sequences.

    Returns:
        A row per layer: `score`, `shuffled` and `shuffled_deviation` over 19 shuffles, `p`, the share of
        shuffles, the true one counted, that score as high, and `metric`. None where sequences or classes are
        too few.
    """
    kept = _known(truth)
    if kept.sum() < FEWEST:
        return None
    values = truth.values[kept]
    if truth.kind == "classes" and (np.unique(values, return_counts=True)[1] < _FOLDS).any():
        return None
    if truth.kind == "numbers" and not (values.std(axis=0) > 0).any():
        return None
    rows = []
    for layer, read in states:
        random = np.random.default_rng(0)
        score = _score(read[kept], values, truth)
        shuffled = [_score(read[kept], _shuffled(values, truth, random), truth) for _ in range(_SHUFFLES)]
        rows.append(
            {
                "layer": layer,
                "score": score,
                "shuffled": float(np.mean(shuffled)),
                "shuffled_deviation": float(np.std(shuffled)),
                "p": (1 + sum(other >= score for other in shuffled)) / (1 + _SHUFFLES),
                "metric": "R²" if truth.kind == "numbers" else "balanced accuracy",
            }
        )
    return pl.DataFrame(rows, schema_overrides={"layer": pl.Int64})


def _shuffled(
    values: npt.NDArray[np.generic], truth: Truth, random: np.random.Generator
) -> npt.NDArray[np.generic]:
    """Give the truth of other sequences; where neighbours are alike they stay so, moved round together."""
    if not truth.ordered:
        return random.permutation(values)
    least = max(1, len(values) // 10)
    return np.roll(values, random.integers(least, len(values) - least + 1), axis=0)


def _known(truth: Truth) -> npt.NDArray[np.bool_]:
    count = len(truth.values)
    if truth.kind == "classes":
        return np.ones(count, dtype=bool)
    finite = np.isfinite(truth.values.astype(np.float64)).reshape(count, -1)
    return np.asarray(finite.all(axis=1))


def _score(read: Floats, values: npt.NDArray[np.generic], truth: Truth) -> float:
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.metrics import balanced_accuracy_score, r2_score
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    numbers = truth.kind == "numbers"
    # scikit-learn has no types for mypy
    made: tuple[Any, ...] = (KFold if numbers else StratifiedKFold, StandardScaler, make_pipeline)
    fold, scaler, pipeline = made
    folds = fold(_FOLDS) if truth.ordered else fold(_FOLDS, shuffle=True, random_state=0)
    linear: Any = RidgeCV if numbers else LogisticRegression
    options = {"alphas": np.logspace(-2, 4, 13)} if numbers else {"C": 0.1, "max_iter": 1000}
    found = cross_val_predict(pipeline(scaler(), linear(**options)), read, values, cv=folds)
    return float((r2_score if numbers else balanced_accuracy_score)(values, found))
