"""Where training ends and validation or evaluation begins, in steps of each series."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gatestack.data.series_cut import ranges

__all__ = ["origins_between", "training_ends"]

IntArray = npt.NDArray[np.int64]

_VALIDATION_SHARE = 0.1


def training_ends(lengths: IntArray, *, window: int, horizon: int) -> IntArray:
    """Hold back the end of each series, which tells when to stop and how wide intervals must be.

    The last tenth, at least one horizon, is held back wherever a window and a horizon remain before it.

    Args:
        lengths: (series,) steps.
        window: steps that a training example reads.
        horizon: steps ahead.

    Returns:
        (series,) steps that training may use: all where a series is too short to hold any back.

    Example:
        >>> training_ends(np.array([1000, 40]), window=28, horizon=7)
        array([900,  40])
    """
    held = np.maximum(np.ceil(_VALIDATION_SHARE * lengths).astype(np.int64), horizon)
    return np.where(lengths - held >= window + horizon, lengths - held, lengths)


def origins_between(
    first: IntArray, lengths: IntArray, *, horizon: int, step: int, most: int | None = None
) -> tuple[IntArray, IntArray]:
    """List the steps from which whole horizons after `first` can be forecast.

    Args:
        first: (series,) the first step that may be forecast; the first origin is the step before it.
        lengths: (series,) steps.
        horizon: steps ahead.
        step: steps between two origins of a series.
        most: keep at most so many, evenly spaced in each series.

    Returns:
        rows and positions, each (origins,).

    Example:
        >>> origins_between(np.array([5]), np.array([10]), horizon=2, step=2)
        (array([0, 0]), array([4, 6]))
    """
    counts = np.maximum(lengths - horizon - first + 1, 0)
    if most is not None and counts.sum():
        step = max(step, int(np.ceil(counts.sum() / most)))
    positions = ranges(first - 1, first - 1 + counts, step)
    rows = np.repeat(np.arange(len(first)), -(-counts // step))
    # A forecast needs at least one step before it.
    return rows[positions >= 0], positions[positions >= 0]
