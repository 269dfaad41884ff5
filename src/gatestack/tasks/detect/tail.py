"""How rare a number is: the share of usual numbers that are as large, also beyond the largest one seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BODY", "EXPONENTIAL", "RAREST", "Tail", "extremal_index"]

FloatArray = npt.NDArray[np.float64]

BODY = np.linspace(0.0, 0.9, 46)
"""Shares below which quantiles of the sample are kept; the last tenth is the tail."""

_HEAVIEST = 0.5
RAREST = 1e-12
EXPONENTIAL = 1e-6
"""Below this ξ the tail is taken for exponential."""


@dataclass(frozen=True)
class Tail:
    """A distribution of usual numbers: quantiles up to 90 %, a generalised Pareto tail above.

    Attributes:
        body: (46,) quantiles at 0, 2, …, 90 %.
        scale: σ of the tail, above 0.
        shape: ξ of the tail, from 0 (exponential) to 1 (very heavy).

    Source:
        Siffer et al. 2017, "Anomaly Detection in Streams with Extreme Value Theory", eq. 1: the excess over a
        high quantile follows a generalised Pareto distribution. Its two numbers are found here by moments,
        and 1/k is added to ξ, where k counts the separate runs of excesses: with an exponential tail and k
        independent excesses of mean σ, the next one is larger than x with the probability (1 + x/(kσ))^-k.
        Without it, a tail learned from little promises fewer alarms than come. k is the number of excesses
        times their extremal index, by the intervals estimator of Ferro & Segers 2003, "Inference for Clusters
        of Extreme Values".

    Example:
        >>> tail = Tail.fit(np.random.default_rng(0).permutation(np.arange(1001.0)))
        >>> round(float(tail.share_above(500.0)), 2), float(tail.share_above(3000.0)) < 1e-3
        (0.5, True)
    """

    body: FloatArray
    scale: float
    shape: float

    @classmethod
    def fit(cls, sample: FloatArray) -> Tail:
        """Learn from usual numbers.

        Args:
            sample: (n,) finite, in the order of time, n at least 1.
        """
        body = np.quantile(sample, BODY)
        places = np.flatnonzero(sample > body[-1])
        # A sample without excess, as of a constant series, leaves a sharp edge.
        least = 1e-3 * abs(float(body[-1])) + 1e-9
        if not len(places):
            return cls(body, least, 0.0)
        excess = sample[places] - body[-1]
        mean, variance = float(excess.mean()), float(excess.var())
        shape = 0.5 * (1 - mean * mean / variance) if variance > 0 else 0.0
        shape = min(max(shape, 0.0), _HEAVIEST)
        separate = max(extremal_index(places) * len(places), 1.0)
        return cls(body, max(mean * (1 - shape), least), min(shape + 1 / separate, 1.0))

    def share_above(self, number: float) -> float:
        """Give the share of usual numbers that are at least as large, from 1e-12 to 1."""
        edge = float(self.body[-1])
        if number <= edge:
            return 1.0 - float(np.interp(number, self.body, BODY))
        away = (number - edge) / self.scale
        beyond = np.exp(-away) if self.shape < EXPONENTIAL else (1 + self.shape * away) ** (-1 / self.shape)
        return max(0.1 * float(beyond), RAREST)


def extremal_index(places: npt.NDArray[np.int64]) -> float:
    """Estimate which share of the excesses stand for themselves; the others belong to the run of another.

    Args:
        places: (k,) steps of the excesses, in order, k at least 1.

    Returns:
        Above 0, at most 1.

    Source:
        Ferro & Segers 2003, "Inference for Clusters of Extreme Values", the intervals estimator.

    Example:
        >>> extremal_index(np.array([0, 7, 21, 30]))
        1.0
        >>> round(extremal_index(np.array([0, 1, 2, 90, 91, 92])), 1)
        0.4
    """
    between = np.diff(places).astype(np.float64)
    if not (between > 2).any():
        return 1.0 / len(places)  # one run, where the estimator would see independent excesses
    total, square = (between - 1).sum(), ((between - 1) * (between - 2)).sum()
    return min(1.0, float(2 * total * total / (len(between) * square)))
