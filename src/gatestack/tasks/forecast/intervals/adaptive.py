"""Intervals that learn from what came true: adaptive conformal inference, step by step.

The share of truths that an interval may miss is moved at each step t, for each step ahead k and each
interval, by whether the truth at t lay in the interval that was given for it k steps before:

    share_{t+1} = share_t + rate / k · (α - missed_t)                missed_t is 1 or 0

and the bounds are those of `gatestack.tasks.forecast.intervals.conformal` for that share. After each miss an
interval is wider, after each hit a little narrower, so that in the long run it misses α of the truths
whatever the series does: Gibbs and Candès 2021, "Adaptive conformal inference under distribution shift". The
error of a forecast k steps ahead is known k steps after it was made, and moves nothing before. A missing
truth moves nothing.

The paper has one rate. Here it is divided by k: forecasts k steps ahead from k neighbouring origins see much
the same surprises, so that misses come in runs of about k. Undivided, such a run threw the share far off: on
the training part of an hourly series, a day ahead, intervals were a third wider for the same coverage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatestack.tasks.forecast.intervals.conformal import bounds_of, miscoverage

__all__ = ["RATE", "AdaptiveShares"]

FloatArray = npt.NDArray[np.float64]

RATE = 0.02
"""How far a miss one step ahead moves the share; chosen on training parts among 0.002 to 0.05."""


@dataclass(frozen=True)
class AdaptiveShares:
    """What the intervals of N series may miss, and what was given for truths still to come.

    Attributes:
        share: (N, horizon, intervals), narrowest first; it may leave [0, 1].
        given: the quantiles given at the last steps, newest first, each (N, horizon, quantiles); at most as
            many as the horizon, NaN where a series was given none.

    Example:
        >>> shares = AdaptiveShares.start(1, horizon=1, levels=(0.1, 0.5, 0.9))
        >>> shares = shares.after_forecast(np.array([[[1.0, 2.0, 3.0]]]))
        >>> shares.after_truth(np.array([9.0]), (0.1, 0.5, 0.9)).share.round(3)
        array([[[0.184]]])
    """

    share: FloatArray
    given: tuple[FloatArray, ...] = ()

    @classmethod
    def start(cls, rows: int, *, horizon: int, levels: tuple[float, ...]) -> AdaptiveShares:
        """Give what the intervals of `rows` series may miss before anything came true: what they say."""
        return cls(np.tile(miscoverage(levels), (rows, horizon, 1)))

    def after_truth(self, truth: FloatArray, levels: tuple[float, ...]) -> AdaptiveShares:
        """Learn from one more step.

        Args:
            truth: (N,) at the step after the newest forecast's origin, NaN where missing.
            levels: of the quantiles.
        """
        if not self.given:
            return self
        # What was given k steps ago for k steps ahead is what has come true.
        quantiles = np.stack([given[:, ago] for ago, given in enumerate(self.given)], axis=1)
        low, high = bounds_of(quantiles)  # (N, steps, intervals)
        value = truth[:, None, None]
        missed = ((value < low) | (value > high)).astype(np.float64)
        known = ~(np.isnan(value) | np.isnan(low))
        share = self.share.copy()
        rate = RATE / np.arange(1, len(self.given) + 1)[:, None]
        share[:, : len(self.given)] += np.where(known, rate * (miscoverage(levels) - missed), 0.0)
        return AdaptiveShares(share, self.given)

    def after_forecast(self, quantiles: FloatArray) -> AdaptiveShares:
        """Keep what is given now, (N, horizon, quantiles), until it has come true."""
        return AdaptiveShares(self.share, (quantiles, *self.given)[: self.share.shape[1]])

    def without_forecasts(self) -> AdaptiveShares:
        """Forget what is still to come true: the series does not go on from there."""
        return AdaptiveShares(self.share)

    def take(self, rows: npt.NDArray[np.integer]) -> AdaptiveShares:
        """Give a copy that holds these rows, in this order."""
        return AdaptiveShares(self.share[rows], tuple(given[rows] for given in self.given))

    @classmethod
    def join(cls, parts: Sequence[AdaptiveShares]) -> AdaptiveShares:
        """Put the rows of several together."""
        most = max(len(part.given) for part in parts)
        shapes = {given.shape[2] for part in parts for given in part.given}
        size = max(shapes, default=0)
        filled = [
            part.given + (np.full((*part.share.shape[:2], size), np.nan),) * (most - len(part.given))
            for part in parts
        ]
        given = tuple(np.concatenate(step) for step in zip(*filled, strict=True))
        return cls(np.concatenate([part.share for part in parts]), given)

    def to_arrays(self) -> dict[str, FloatArray]:
        """Give everything as arrays, for a file: `share`, and `given` stacked along its second axis."""
        return {"share": self.share} | ({"given": np.stack(self.given, axis=1)} if self.given else {})

    @classmethod
    def from_arrays(cls, arrays: dict[str, FloatArray]) -> AdaptiveShares:
        """Read what `to_arrays` gave."""
        return cls(arrays["share"], tuple(np.moveaxis(arrays["given"], 1, 0)) if "given" in arrays else ())
