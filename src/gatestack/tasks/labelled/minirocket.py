"""MiniRocket on request: the convolutions of aeon or sktime, and the linear model of its paper on them."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.errors import ArgumentError

__all__ = ["POINTS", "minirocket_answers"]

Floats = npt.NDArray[np.float64]

POINTS = 9
"""Fewest steps of a case: its kernels are nine steps long."""

# Packages that have the transformer, and where.
_HOMES = (
    ("aeon.transformations.collection.convolution_based", "MiniRocket"),
    ("sktime.transformations.panel.rocket", "MiniRocketMultivariate"),
)
_ALPHAS = np.logspace(-3, 3, 10)


def minirocket_answers(
    training: Floats, truth: npt.NDArray[np.generic], cases: Floats, classes: int | None
) -> Floats:
    """Answer cases by MiniRocket and ridge regression.

    Args:
        training: (n, steps, features), at least `POINTS` steps.
        truth: (n,) classes from 0 on, or numbers.
        cases: (m, steps, features).
        classes: number of classes K; None for numbers.

    Returns:
        (m, K), 1 for the class that is named, or (m,) numbers.

    Raises:
        ArgumentError: neither aeon nor sktime is installed.

    Source:
        Dempster, Schmidt & Webb 2021, "MiniRocket: A Very Fast (Almost) Deterministic Transform for Time
        Series Classification".
    """
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    transform = _transform()
    # Both packages have channels before time.
    known = transform.fit_transform(training.transpose(0, 2, 1).astype(np.float32))
    asked = np.asarray(transform.transform(cases.transpose(0, 2, 1).astype(np.float32)))
    linear = RidgeCV if classes is None else RidgeClassifierCV
    model: Any = make_pipeline(StandardScaler(with_mean=False), linear(alphas=_ALPHAS))  # type: ignore[no-untyped-call]
    found = model.fit(np.asarray(known), truth).predict(asked)
    answers: Floats = found if classes is None else np.eye(classes)[found.astype(np.int64)]
    return answers


def _transform() -> Any:
    for module, name in _HOMES:
        try:
            return getattr(importlib.import_module(module), name)(random_state=0)
        except ModuleNotFoundError:
            continue
    raise ArgumentError(
        "MiniRocket needs aeon or sktime, and neither is installed",
        where="minirocket=True",
        hint="pip install aeon",
    )
