"""Layer normalisation: a row minus its mean, over its standard deviation."""

from __future__ import annotations

import numpy as np

from gatestack.reference.cell import Array

EPSILON = 1e-5
"""Added to the variance, so that a row of equal numbers becomes zeros; the value of torch and Keras."""


def normalise(a: Array) -> tuple[Array, Array]:
    """Take the mean from each row and divide by its standard deviation.

        μ = mean of a        σ² = mean of (a - μ)²        LN(a) = (a - μ) / sqrt(σ² + ε)

    The variance is the biased one, the mean of the squares, and ε is 1e-5.

    Args:
        a: (N, R); mean and variance go over the R entries.

    Returns:
        LN(a), (N, R), and 1 / sqrt(σ² + ε), (N, 1), which `normalise_backward` takes.

    Example:
        >>> import numpy as np
        >>> normalise(np.array([[1.0, 2.0, 3.0]]))[0].round(3)
        array([[-1.225,  0.   ,  1.225]])

    Source:
        Ba, Kiros & Hinton 2016, "Layer Normalization", arXiv 1607.06450, equations 3 and 4. The paper has
        no ε.
    """
    deviation = a - a.mean(axis=1, keepdims=True)
    scale: Array = 1.0 / np.sqrt((deviation**2).mean(axis=1, keepdims=True) + EPSILON)
    return deviation * scale, scale


def normalise_backward(normal: Array, scale: Array, d_normal: Array) -> Array:
    """The gradient of `normalise`; d_n is that of n = LN(a), `scale` is 1 / sqrt(σ² + ε).

        d_a = scale * (d_n - mean of d_n - n * mean of (d_n * n))

    Both means go over the R entries. The first is the path through μ, the second the one through σ².

    Args:
        normal: n, (N, R), what `normalise` returned.
        scale: (N, 1), what `normalise` returned.
        d_normal: d_n, (N, R).

    Returns:
        d_a, (N, R).

    Example:
        >>> import numpy as np
        >>> n, scale = normalise(np.array([[1.0, 2.0, 3.0]]))
        >>> bool(abs(normalise_backward(n, scale, np.ones((1, 3)))).max() < 1e-15)  # LN ignores a shift
        True

    Source:
        The chain rule applied to the equations of `normalise`; derived in docs/derivations/kernels.md.
    """
    mean = d_normal.mean(axis=1, keepdims=True)
    along = (d_normal * normal).mean(axis=1, keepdims=True)
    d_a: Array = scale * (d_normal - mean - normal * along)
    return d_a
