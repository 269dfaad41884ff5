"""Conformal intervals: how much wider or narrower than the model says they must be, from errors it made.

On a part of the series that trained nothing the model forecasts from many origins. With the bounds q_lo, q_hi
that it gives k steps ahead for an interval that should miss the truth in a share α, and the scale s of the
series at the origin, each forecast that came true has the score

    E = max(q_lo - y, y - q_hi) / s                                  below 0 where y lay inside
    Q(1 - α) = the ⌈(n + 1)(1 - α)⌉-th smallest of n scores          of the same k and the same interval
    interval = [q_lo - s Q(1 - α), q_hi + s Q(1 - α)]

which is Romano, Patterson and Candès 2019, "Conformalized quantile regression", in units of s. Where the
scores of the calibration and of the future are exchangeable, such intervals hold the truth in a share 1 - α
or more. Series in time are not: what the coverage is then, the backtest reports.

The largest rank is n. What (n + 1)(1 - α) asks for beyond it is taken from a straight line through the
largest score, with the range of all scores as its slope, so that no interval is infinite; `Calibration.exact`
says whether this was needed. Afterwards no bound may stand on the other side of the median, nor inside a
narrower interval: where it would, it takes that one's place. This only widens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["ROUNDING", "Calibration", "bounds_of", "conformity", "miscoverage", "widened"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ROUNDING = 1e-9
"""Up to which (n + 1)(1 - α) counts as a whole number, as it is where α is 0.1 and n is 99."""


@dataclass(frozen=True)
class Calibration:
    """Scores of forecasts that came true, by series, step ahead and interval.

    Attributes:
        keys: series with scores of their own; all others read those of all series together.
        scores: (len(keys) + 1, horizon, intervals, n), ascending, infinity where there are fewer; the last
            row is of all series together, narrowest interval first.
        origins: forecasts made for it, over all series.
        pooled_steps: steps ahead whose scores stand together; 1 where each step has its own.

    Example:
        >>> scores = np.arange(9.0).reshape(1, 1, 1, 9)
        >>> calibration = Calibration((), scores, origins=9, pooled_steps=1)
        >>> calibration.offsets(("a",), np.array([[[0.5]]]))
        array([[[4.]]])
    """

    keys: tuple[str, ...]
    scores: FloatArray
    origins: int
    pooled_steps: int

    @property
    def counts(self) -> IntArray:
        """Number of scores, (len(keys) + 1, horizon, intervals)."""
        counts: IntArray = np.isfinite(self.scores).sum(axis=-1)
        return counts

    def exact(self, levels: tuple[float, ...]) -> bool:
        """Tell whether there are scores enough for every interval, without going beyond the largest."""
        ranks = (self.counts + 1) * (1 - miscoverage(levels))
        return bool((ranks <= self.counts + ROUNDING).all())

    def rows_of(self, keys: tuple[str, ...]) -> IntArray:
        """Find the row of scores that each series reads, (series,)."""
        place = {key: row for row, key in enumerate(self.keys)}
        return np.array([place.get(key, len(self.keys)) for key in keys], dtype=np.int64)

    def offsets(self, keys: tuple[str, ...], share: FloatArray) -> FloatArray:
        """Give what each bound moves outwards, in units of the scale.

        Args:
            keys: of the series.
            share: (series, horizon, intervals), or what can be broadcast to it: the share of truths that may
                lie outside. It may leave [0, 1]: the straight lines at both ends go on.

        Returns:
            shape (series, horizon, intervals).
        """
        rows = self.rows_of(keys)
        scores, counts = self.scores[rows], self.counts[rows]
        wanted = (counts + 1) * (1 - np.broadcast_to(share, counts.shape))
        rank = np.clip(np.ceil(wanted - ROUNDING), 1, counts).astype(np.int64)
        found = np.take_along_axis(scores, rank[..., None] - 1, axis=-1)[..., 0]
        last = np.take_along_axis(scores, counts[..., None] - 1, axis=-1)[..., 0]
        beyond = np.maximum(wanted - counts, 0) - np.maximum(1 - wanted, 0)
        moved: FloatArray = found + beyond / (counts + 1) * (last - scores[..., 0])
        return moved


def miscoverage(levels: tuple[float, ...]) -> FloatArray:
    """Give the share that each central interval should miss, narrowest first.

    Example:
        >>> miscoverage((0.1, 0.25, 0.5, 0.75, 0.9)).round(9)
        array([0.5, 0.2])
    """
    half = len(levels) // 2
    return np.array([1 - (levels[-1 - low] - levels[low]) for low in reversed(range(half))])


def bounds_of(quantiles: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Give the lower and the upper bounds of (…, quantiles), each (…, intervals), narrowest first."""
    half = quantiles.shape[-1] // 2
    return quantiles[..., :half][..., ::-1], quantiles[..., half + 1 :]


def conformity(quantiles: FloatArray, truth: FloatArray, scale: FloatArray) -> FloatArray:
    """Score forecasts that came true.

    Args:
        quantiles: (R, horizon, quantiles).
        truth: (R, horizon), NaN where missing.
        scale: (R,) of the series at each origin.

    Returns:
        shape (R, horizon, intervals), narrowest first; NaN where the truth is missing.

    Example:
        >>> conformity(np.array([[[1.0, 2.0, 4.0]]]), np.array([[7.0]]), np.array([2.0]))
        array([[[1.5]]])
    """
    low, high = bounds_of(quantiles)
    score: FloatArray = np.maximum(low - truth[..., None], truth[..., None] - high) / scale[:, None, None]
    return score


def widened(quantiles: FloatArray, offsets: FloatArray, scale: FloatArray) -> FloatArray:
    """Move the bounds of intervals outwards, or inwards where the offset is negative; never to cross.

    Args:
        quantiles: (R, horizon, quantiles), ascending.
        offsets: (R, horizon, intervals), in units of the scale.
        scale: (R,).

    Returns:
        Quantiles of the same shape; the median is the same number.

    Example:
        >>> widened(np.array([[[1.0, 2.0, 4.0]]]), np.array([[[1.5]]]), np.array([2.0]))
        array([[[-2.,  2.,  7.]]])
    """
    half = quantiles.shape[-1] // 2
    by = offsets * scale[:, None, None]
    median = quantiles[..., half : half + 1]
    low, high = bounds_of(quantiles)
    below = np.minimum.accumulate(np.concatenate([median, low - by], axis=-1), axis=-1)
    above = np.maximum.accumulate(np.concatenate([median, high + by], axis=-1), axis=-1)
    return np.concatenate([below[..., :0:-1], above], axis=-1)
