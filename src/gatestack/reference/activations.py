"""The two functions that NumPy lacks."""

from __future__ import annotations

import numpy as np

from gatestack.reference.cell import Array


def sigmoid(a: Array) -> Array:
    """Logistic function, 1 / (1 + exp(-a)), for every finite `a` without overflow.

    Computed as exp(min(a, 0)) / (1 + exp(-|a|)): both exponents are at most zero.
    Its derivative, written with the value s itself, is s (1 - s).

    Args:
        a: any shape.

    Returns:
        Values in [0, 1], of the shape of `a`.

    Example:
        >>> import numpy as np
        >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
        array([0. , 0.5, 1. ])
    """
    value: Array = np.exp(np.minimum(a, 0.0)) / (1.0 + np.exp(-np.abs(a)))
    return value


def relu(a: Array) -> Array:
    """Positive part, max(a, 0). Its derivative is 1 where a > 0 and 0 elsewhere.

    Args:
        a: any shape.

    Returns:
        Values in [0, inf), of the shape of `a`.

    Example:
        >>> import numpy as np
        >>> relu(np.array([-2.0, 0.0, 3.0]))
        array([0., 0., 3.])
    """
    value: Array = np.maximum(a, 0.0)
    return value
