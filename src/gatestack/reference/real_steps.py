"""Which steps are real: one meaning for lengths and masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def real_steps(
    rows: int,
    steps: int,
    lengths: Sequence[int] | NDArray[np.integer] | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Turn lengths or a mask into one mask, True where a step is real.

    A length n means that the first n steps are real. Without both, every step is.

    Args:
        rows: N.
        steps: T.
        lengths: (N,) whole numbers in [0, T], or None.
        mask: (N, T) of bool, or None. Real steps may stand anywhere.

    Returns:
        A mask (N, T) of bool.

    Raises:
        ValueError: both are given; a shape or a type is wrong; a length lies outside [0, T].

    Example:
        >>> real_steps(2, 3, lengths=[3, 1])
        array([[ True,  True,  True],
               [ True, False, False]])
    """
    if lengths is not None and mask is not None:
        raise ValueError("real_steps: lengths and mask are both given — expected one of them")
    if mask is not None:
        if mask.dtype != np.bool_ or mask.shape != (rows, steps):
            raise ValueError(
                f"real_steps: mask is {mask.dtype} of shape {mask.shape} "
                f"— expected bool of shape ({rows}, {steps})"
            )
        return mask
    if lengths is None:
        return np.ones((rows, steps), dtype=np.bool_)
    counts = np.asarray(lengths)
    if counts.shape != (rows,) or not (np.issubdtype(counts.dtype, np.integer) or rows == 0):
        raise ValueError(
            f"real_steps: lengths is {counts.dtype} of shape {counts.shape} "
            f"— expected whole numbers of shape ({rows},)"
        )
    outside = counts[(counts < 0) | (counts > steps)]
    if outside.size:
        raise ValueError(f"real_steps: a length is {outside[0]} — expected 0 to {steps}, the number of steps")
    real: NDArray[np.bool_] = np.arange(steps) < counts[:, None]
    return real
