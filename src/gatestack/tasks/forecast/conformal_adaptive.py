"""Intervals that learn from what came true: adaptive conformal inference, step by step.

The share of truths that an interval may miss is moved at each step t, for each step ahead k and each
interval, by whether the truth at t lay in the interval that was given for it k steps before:

    share_{t+1} = share_t + rate · (α - missed_t)                    missed_t is 1 or 0

and the bounds are those of `gatestack.tasks.forecast.conformal` for that share. After each miss an interval
is wider, after each hit a little narrower, so that in the long run it misses α of the truths whatever the
series does: Gibbs and Candès 2021, "Adaptive conformal inference under distribution shift". The error of a
forecast k steps ahead is known k steps after it was made, and moves nothing before. A missing truth moves
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatestack.tasks.forecast.conformal import bounds_of, miscoverage

__all__ = ["RATE", "AdaptiveShares"]

FloatArray = npt.NDArray[np.float64]

RATE = 0.02
"""How far a miss moves the share."""

_ARRAYS = ("share", "below", "above")


@dataclass(frozen=True)
class AdaptiveShares:
    """What the intervals of N series may miss, and what was given for truths still to come.

    Attributes:
        share: (N, horizon, intervals), narrowest first; it may leave [0, 1].
        below, above: (N, horizon, horizon, intervals), the bounds given so many steps ago (0 for the newest)
            for each step ahead; NaN where nothing was given.

    Example:
        >>> shares = AdaptiveShares.start(1, horizon=1, levels=(0.1, 0.5, 0.9))
        >>> shares = shares.after_forecast(np.array([[[1.0, 2.0, 3.0]]]))
        >>> shares.after_truth(np.array([9.0]), (0.1, 0.5, 0.9)).share.round(3)
        array([[[0.184]]])
    """

    share: FloatArray
    below: FloatArray
    above: FloatArray

    @classmethod
    def start(cls, rows: int, *, horizon: int, levels: tuple[float, ...]) -> AdaptiveShares:
        """Give what the intervals of `rows` series may miss before anything came true: what they say."""
        wanted = miscoverage(levels)
        nothing = np.full((rows, horizon, horizon, len(wanted)), np.nan)
        return cls(np.tile(wanted, (rows, horizon, 1)), nothing, nothing)

    def after_truth(self, truth: FloatArray, levels: tuple[float, ...]) -> AdaptiveShares:
        """Learn from one more step.

        Args:
            truth: (N,) at the step after the newest forecast's origin, NaN where missing.
            levels: of the quantiles.
        """
        ahead = np.arange(self.share.shape[1])
        # What was given k steps ago for k steps ahead is what has come true.
        below, above = self.below[:, ahead, ahead], self.above[:, ahead, ahead]  # (N, horizon, intervals)
        value = truth[:, None, None]
        missed = ((value < below) | (value > above)).astype(np.float64)
        known = ~(np.isnan(value) | np.isnan(below))
        moved = self.share + RATE * (miscoverage(levels) - missed)
        return AdaptiveShares(np.where(known, moved, self.share), _older(self.below), _older(self.above))

    def after_forecast(self, quantiles: FloatArray) -> AdaptiveShares:
        """Keep what is given now, (N, horizon, quantiles), until it has come true."""
        low, high = bounds_of(quantiles)
        below, above = self.below.copy(), self.above.copy()
        below[:, 0], above[:, 0] = low, high
        return AdaptiveShares(self.share, below, above)

    def without_forecasts(self) -> AdaptiveShares:
        """Forget what is still to come true: the series does not go on from there."""
        nothing = np.full_like(self.below, np.nan)
        return AdaptiveShares(self.share, nothing, nothing)

    def take(self, rows: npt.NDArray[np.integer]) -> AdaptiveShares:
        """Give a copy that holds these rows, in this order."""
        return AdaptiveShares(*(getattr(self, name)[rows] for name in _ARRAYS))

    @classmethod
    def join(cls, parts: Sequence[AdaptiveShares]) -> AdaptiveShares:
        """Put the rows of several together."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS))

    def to_arrays(self) -> dict[str, FloatArray]:
        """Give everything as arrays, for a file."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: dict[str, FloatArray]) -> AdaptiveShares:
        """Read what `to_arrays` gave."""
        return cls(*(arrays[name] for name in _ARRAYS))


def _older(given: FloatArray) -> FloatArray:
    older = np.full_like(given, np.nan)
    older[:, 1:] = given[:, :-1]
    return older
