"""Ridge regression over groups of features, its penalty chosen by leaving out one case at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["RidgeSolution", "class_codes", "fit_ridge", "sharpness"]

Floats = npt.NDArray[np.float64]
Score = Callable[[Floats], float]

# Penalties tried, per case, and how much the second group of features counts beside the first. They span what
# was chosen for the training parts of ten archive problems, with room on both sides.
_PENALTIES = np.logspace(-5, 2, 22) / 50
_SHARES = (0.0, 0.1, 1.0)
_SHARPNESSES = np.logspace(-0.7, 1.7, 49)


@dataclass(frozen=True)
class RidgeSolution:
    """What `fit_ridge` found.

    Attributes:
        weights: (F_g, K) for each group of features.
        bias: (K,).
        left_out: (n, K) prediction for each case from all other cases.
        score: of `left_out`, the lowest found.
    """

    weights: tuple[Floats, ...]
    bias: Floats
    left_out: Floats
    score: float


def fit_ridge(groups: Sequence[Floats], targets: Floats, score: Score) -> RidgeSolution:
    r"""Find weights and bias, with the penalty and the share of each group that predict left out cases best.

    With Z_g (n, F_g) the centred features of group g and v_g its share:

        minimise  Σ_i |y_i − b − Σ_g z_{g,i} W_g|²  +  λ Σ_g |W_g|² / v_g

    solved in the n × n kernel K = Σ_g v_g Z_g Z_gᵀ = U diag(e) Uᵀ. With h_ii the diagonal of
    H = U diag(e / (e + λ)) Uᵀ + 1/n, the prediction for a case that was left out is

        ŷ_i = y_i − (y_i − ŷ_i(all)) / (1 − h_ii)

    Args:
        groups: each (n, F_g), of mean 0. The first has share 1, each other one 0, 0.1 or 1.
        targets: (n, K).
        score: of predictions (n, K) for left out cases, lower is better.

    Example:
        >>> x = np.linspace(-1, 1, 9)[:, None]
        >>> found = fit_ridge([x], 2 * x + 5, lambda left_out: float(((left_out - 2 * x - 5) ** 2).mean()))
        >>> found.weights[0].round(3), found.bias
        (array([[2.]]), array([5.]))

    Source:
        Leaving one out in closed form: Rifkin & Lippert 2007, "Notes on Regularized Least Squares".
    """
    cases = len(targets)
    bias = targets.mean(axis=0)
    centred = targets - bias
    kernels = [group @ group.T for group in groups]
    best: tuple[float, tuple[float, ...], Floats, Floats] | None = None
    for others in itertools.product(_SHARES, repeat=len(groups) - 1):
        shares = (1.0, *others)
        kernel = sum(share * part for share, part in zip(shares, kernels, strict=True))
        values, vectors = np.linalg.eigh(kernel)
        values = np.maximum(values, 0.0)  # rounding may leave some a little below 0
        turned = vectors.T @ centred
        for penalty in _PENALTIES * cases:
            kept = values / (values + penalty)
            fitted = vectors @ (kept[:, None] * turned) + bias
            leverage = np.square(vectors) @ kept + 1 / cases
            # a single case leaves nothing to predict it from: its leverage is 1
            left_out = targets - (targets - fitted) / np.maximum(1 - leverage, 1e-8)[:, None]
            value = score(left_out)
            if best is None or value < best[0]:
                dual = vectors @ (turned / (values + penalty)[:, None])
                best = (value, shares, dual, left_out)
    assert best is not None  # noqa: S101 # there are penalties to try
    value, shares, dual, left_out = best
    weights = tuple(share * (group.T @ dual) for share, group in zip(shares, groups, strict=True))
    return RidgeSolution(weights, bias, left_out, value)


def class_codes(classes: npt.NDArray[np.int64], count: int) -> Floats:
    """Give 1 for the class of a case and -1 for the others -> (n, K).

    Example:
        >>> class_codes(np.array([1, 0]), 3)
        array([[-1.,  1., -1.],
               [ 1., -1., -1.]])
    """
    return 2 * np.eye(count)[classes] - 1


def sharpness(left_out: Floats, classes: npt.NDArray[np.int64]) -> tuple[float, float]:
    r"""Find the factor s that makes softmax(s · left_out) the best probabilities, and their log loss.

    The classes are softened: with n cases each counts as its class with probability 1 − ε + ε/K and as any
    other with ε/K, ε = K / (n + K), as if one more case of every class had been seen. Otherwise cases that
    are all on their side would ask for an infinite factor.

    Args:
        left_out: (n, K).
        classes: (n,).

    Returns:
        s, and the mean log loss of the softened classes.

    Example:
        >>> codes = class_codes(np.array([0, 1, 0, 1]), 2)
        >>> factor, loss = sharpness(codes, np.array([0, 1, 0, 1]))
        >>> round(float(1 / (1 + np.exp(-2 * factor))), 2)
        0.83

    Source:
        The softening follows Platt 1999, "Probabilistic Outputs for Support Vector Machines".
    """
    cases, count = left_out.shape
    soft = count / (cases + count)
    weight = np.full((cases, count), soft / count)
    weight[np.arange(cases), classes] += 1 - soft
    best = (float("inf"), 1.0)
    for factor in _SHARPNESSES:
        logits = factor * (left_out - left_out.max(axis=1, keepdims=True))
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        best = min(best, (float(-(weight * logs).sum(axis=1).mean()), float(factor)))
    return best[1], best[0]
