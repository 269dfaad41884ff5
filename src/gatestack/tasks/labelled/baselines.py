"""The plain answers that every classifier and regressor stands beside, on the same cases.

Sequences differ in length; what needs one length takes each case at as many evenly spaced points as the
longest case of the training part has steps, values between two steps on the straight line between them.
Missing values are bridged in the same way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.data.sequences import Sequences
from gatestack.tasks.labelled.minirocket import POINTS, minirocket_answers

__all__ = ["BASELINES", "baseline_answers", "nearest_neighbours", "resampled_cases", "summary_statistics"]

Floats = npt.NDArray[np.float64]
Answers = npt.NDArray[np.float64]

BASELINES: dict[str, dict[str, str]] = {
    "classify": {
        "majority": "the most frequent class of the training part",
        "1-nn": "the class of the nearest training case (Euclidean; unequal lengths resampled to one)",
        "linear": "logistic regression on summary statistics (mean, spread, quartiles, slope, …)",
        "minirocket": "MiniRocket, random convolutions and a linear model (aeon or sktime)",
    },
    "regress": {
        "mean": "the mean of the training part",
        "1-nn": "the value of the nearest training case (Euclidean; unequal lengths resampled to one)",
        "linear": "ridge regression on summary statistics (mean, spread, quartiles, slope, …)",
        "minirocket": "MiniRocket, random convolutions and a linear model (aeon or sktime)",
    },
}
"""Task → name and meaning of each baseline; `minirocket` is run on request."""


def baseline_answers(
    training: Sequences,
    truth: npt.NDArray[np.generic],
    cases: Sequences,
    *,
    classes: int | None,
    minirocket: bool = False,
) -> dict[str, Answers]:
    """Answer every case of `cases` with each baseline, fitted on the training part.

    Args:
        training: n sequences.
        truth: (n,) classes from 0 on, or numbers.
        cases: m sequences to be answered.
        classes: number of classes K; None for numbers.
        minirocket: run MiniRocket too.

    Returns:
        Name → (m, K) probabilities (the nearest neighbour is certain of its class), or (m,) numbers.

    Raises:
        ArgumentError: MiniRocket is asked for and neither aeon nor sktime is installed.

    Example:
        >>> flat, steep = Sequences.from_arrays([[0.0, 0.0], [0.0, 9.0]]), Sequences.from_arrays([[0.0, 7.0]])
        >>> baseline_answers(flat, np.array([0, 1]), steep, classes=2)["1-nn"]
        array([[0., 1.]])
    """
    length = int(training.lengths.max())
    near = nearest_neighbours(resampled_cases(training, length), resampled_cases(cases, length))
    if classes is None:
        numbers = truth.astype(np.float64)
        answers = {
            "mean": np.full(len(cases), numbers.mean()),
            "1-nn": numbers[near],
            "linear": _ridge(training, numbers, cases),
        }
    else:
        named = truth.astype(np.int64)
        prior = np.bincount(named, minlength=classes) / len(named)
        answers = {
            "majority": np.tile(prior, (len(cases), 1)),
            "1-nn": np.eye(classes)[named[near]],
            "linear": _logistic(training, named, cases, classes),
        }
    if minirocket:
        points = max(length, POINTS)
        answers["minirocket"] = minirocket_answers(
            resampled_cases(training, points), truth, resampled_cases(cases, points), classes
        )
    return answers


def resampled_cases(sequences: Sequences, length: int) -> Floats:
    """Read each sequence at `length` evenly spaced points, from its first step to its last.

    Args:
        sequences: n sequences of one step or more.
        length: of the result, 1 or more.

    Returns:
        (n, length, features); missing values lie on the line between their neighbours, a feature without any
        value is 0.

    Example:
        >>> resampled_cases(Sequences.from_arrays([[0.0, 4.0], [1.0]]), 3)[..., 0]
        array([[0., 2., 4.],
               [1., 1., 1.]])
    """
    result = np.zeros((len(sequences), length, sequences.num_features))
    for number, (begin, end) in enumerate(zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True)):
        places = np.linspace(0, end - begin - 1, length)
        for feature in range(sequences.num_features):
            values = sequences.values[begin:end, feature]
            steps = np.arange(end - begin)
            if sequences.observed is not None:
                steps = np.flatnonzero(sequences.observed[begin:end, feature])
                values = values[steps]
            if len(steps):
                result[number, :, feature] = np.interp(places, steps, values)
    return result


def nearest_neighbours(training: Floats, cases: Floats) -> npt.NDArray[np.int64]:
    """Give for each case the training case at the least Euclidean distance, over all steps and features.

    Args:
        training: (n, steps, features).
        cases: (m, steps, features).

    Returns:
        (m,) places in `training`.
    """
    from sklearn.metrics import pairwise_distances_argmin

    known, asked = training.reshape(len(training), -1), cases.reshape(len(cases), -1)
    nearest: npt.NDArray[np.int64] = pairwise_distances_argmin(asked, known)
    return nearest


def summary_statistics(sequences: Sequences) -> Floats:
    """Describe each sequence by nine numbers per feature, and its length.

    They are mean, standard deviation, least, quartiles, greatest, slope of the straight line through the
    values, and the mean absolute difference of neighbours; over the values that were observed.

    Returns:
        (n, 9 * features + 1); 0 where a feature has no value.

    Example:
        >>> summary_statistics(Sequences.from_arrays([[0.0, 1.0, 2.0]]))[0].round(2).tolist()
        [1.0, 0.82, 0.0, 0.5, 1.0, 1.5, 2.0, 1.0, 1.0, 3.0]
    """
    rows = []
    for begin, end in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True):
        row: list[float] = []
        for feature in range(sequences.num_features):
            values = sequences.values[begin:end, feature].astype(np.float64)
            steps = np.arange(end - begin)
            if sequences.observed is not None:
                steps = np.flatnonzero(sequences.observed[begin:end, feature])
                values = values[steps]
            row += _describe(steps, values)
        rows.append([*row, float(end - begin)])
    return np.array(rows)


def _describe(steps: npt.NDArray[np.int64], values: Floats) -> list[float]:
    if not len(values):
        return [0.0] * 9
    centred = steps - steps.mean()
    spread = float(centred @ centred)
    slope = float(centred @ values) / spread if spread else 0.0
    change = float(np.abs(np.diff(values)).mean()) if len(values) > 1 else 0.0
    quartiles = np.quantile(values, [0.0, 0.25, 0.5, 0.75, 1.0]).tolist()
    return [float(values.mean()), float(values.std()), *quartiles, slope, change]


def _logistic(training: Sequences, truth: npt.NDArray[np.int64], cases: Sequences, classes: int) -> Answers:
    from sklearn.linear_model import LogisticRegression

    answers = np.zeros((len(cases), classes))
    found = np.unique(truth)
    if len(found) == 1:
        answers[:, found[0]] = 1.0
        return answers
    model = _scaled(LogisticRegression(max_iter=10_000))  # type: ignore[no-untyped-call]
    model.fit(summary_statistics(training), truth)
    answers[:, found] = model.predict_proba(summary_statistics(cases))
    return answers


def _ridge(training: Sequences, truth: Floats, cases: Sequences) -> Answers:
    from sklearn.linear_model import RidgeCV

    model = _scaled(RidgeCV(alphas=np.logspace(-2, 4, 13)))  # type: ignore[no-untyped-call]
    model.fit(summary_statistics(training), truth)
    answers: Answers = model.predict(summary_statistics(cases))
    return answers


def _scaled(model: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), model)  # type: ignore[no-untyped-call]
