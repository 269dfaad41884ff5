"""Probabilities of classes from logits, and the temperature that makes them honest.

    p(class | case) = mean over the members of softmax(logits / temperature)

The temperature is the one that gives the truth the highest probability on cases that the networks did not
see: the training part is cut into folds, and each is answered by networks that were trained on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["class_shares", "find_temperature", "folds_of", "held_out"]

Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Far beyond these all classes are equally likely, or one is certain.
_LOWEST, _HIGHEST = 0.05, 20.0
_LEAST_SHARE = 1e-12
_ROUNDS, _POINTS = 3, 21  # to a thousandth of the temperature


def class_shares(logits: Floats, temperature: float) -> Floats:
    """Turn logits into probabilities.

    Args:
        logits: (members, n, K).
        temperature: above 0.

    Returns:
        (n, K), each row sums to 1.

    Example:
        >>> class_shares(np.zeros((2, 1, 4)), 1.0)
        array([[0.25, 0.25, 0.25, 0.25]])
    """
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    shares: Floats = (powers / powers.sum(axis=-1, keepdims=True)).mean(axis=0)
    return shares


def find_temperature(logits: Floats, truth: IntArray) -> float:
    """Find the temperature at which the truth is most probable.

    The truth is softened as in `sharpness`: with n cases and K classes each counts as its class with
    probability 1 - e + e/K and as any other with e/K, e = K / (n + K). Where all cases are right, no
    temperature would be low enough for the truth as it is, and the first error would be infinitely bad.

    Args:
        logits: (members, n, K) of cases that the members did not see.
        truth: (n,) classes from 0 on.

    Returns:
        Between 0.05 and 20.

    Example:
        >>> certain_and_half_right = np.array([[[9.0, 0.0], [9.0, 0.0], [9.0, 0.0], [9.0, 0.0]]])
        >>> find_temperature(certain_and_half_right, np.array([0, 1, 0, 1])) > 10
        True

    Source:
        Guo, Pleiss, Sun & Weinberger 2017, "On Calibration of Modern Neural Networks"; the softening is ours,
        after Platt 1999, "Probabilistic Outputs for Support Vector Machines".
    """
    cases, count = logits.shape[1:]
    soft = count / (cases + count)
    weight = np.full((cases, count), soft / count)
    weight[np.arange(cases), truth] += 1 - soft

    def loss(temperature: float) -> float:
        logs = np.log(np.maximum(class_shares(logits, temperature), _LEAST_SHARE))
        return -float((weight * logs).sum(axis=1).mean())

    # A grid, then a finer one around its best: the loss of a mean of softmaxes may have more than one valley.
    lowest, highest, best = _LOWEST, _HIGHEST, 1.0
    for _ in range(_ROUNDS):
        grid = np.geomspace(lowest, highest, _POINTS)
        at = int(np.argmin([loss(float(temperature)) for temperature in grid]))
        best, lowest, highest = float(grid[at]), grid[max(at - 1, 0)], grid[min(at + 1, _POINTS - 1)]
    return best


def folds_of(answers: npt.NDArray[np.generic], folds: int, *, classes: bool, seed: int) -> IntArray:
    """Deal the cases to folds, each class (or range of numbers) evenly.

    Args:
        answers: (n,) classes from 0 on, or numbers.
        folds: 2 or more.
        classes: whether the answers are classes.
        seed: of the shuffle.

    Returns:
        (n,) fold of each case.

    Example:
        >>> folds = folds_of(np.array([0, 0, 0, 0, 1, 1]), 2, classes=True, seed=0)
        >>> sorted(folds[:4].tolist()), sorted(folds[4:].tolist())
        ([0, 0, 1, 1], [0, 1])
    """
    shuffled = np.random.default_rng(seed).permutation(len(answers))
    order = shuffled[np.argsort(answers[shuffled], kind="stable")]
    dealt = np.empty(len(answers), np.int64)
    if classes:
        dealt[order] = np.arange(len(answers)) % folds
        return dealt
    # Numbers: neighbours in size go to different folds, in an order drawn anew for each handful.
    random = np.random.default_rng(seed)
    for first in range(0, len(order), folds):
        handful = order[first : first + folds]
        dealt[handful] = random.permutation(folds)[: len(handful)]
    return dealt


def held_out(
    folds: IntArray, answer: Callable[[IntArray, IntArray], Floats]
) -> Iterator[tuple[IntArray, Floats]]:
    """Answer each fold by what is fitted on the others.

    Args:
        folds: (n,) fold of each case.
        answer: gets the cases to fit on and those to answer.

    Yields:
        The cases of a fold, and their answers.
    """
    for fold in np.unique(folds):
        inside = np.flatnonzero(folds == fold)
        yield inside, answer(np.flatnonzero(folds != fold), inside)
