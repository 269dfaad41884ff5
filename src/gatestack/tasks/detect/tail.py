"""How rare a number is: the share of usual numbers that are as large, also beyond the largest one seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Tail"]

FloatArray = npt.NDArray[np.float64]

_BODY = np.linspace(0.0, 0.9, 46)
"""Shares below which quantiles of the sample are kept; the last tenth is the tail."""

_HEAVIEST = 0.5
_RAREST = 1e-12


@dataclass(frozen=True)
class Tail:
    """A distribution of usual numbers: quantiles up to 90 %, a generalised Pareto tail above.

    Attributes:
        body: (46,) quantiles at 0, 2, …, 90 %.
        scale: σ of the tail, above 0.
        shape: ξ of the tail, from 0 (exponential) to 0.5 (heavy).

    Source:
        Siffer et al. 2017, "Anomaly Detection in Streams with Extreme Value Theory", eq. 1: the excess over a
        high quantile follows a generalised Pareto distribution. Its two numbers are found here by moments.

    Example:
        >>> tail = Tail.fit(np.arange(1001.0))
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
            sample: (n,) finite, n at least 1.
        """
        body = np.quantile(sample, _BODY)
        excess = sample[sample > body[-1]] - body[-1]
        mean = float(excess.mean()) if len(excess) else 0.0
        variance = float(excess.var()) if len(excess) else 0.0
        shape = 0.5 * (1 - mean * mean / variance) if variance > 0 else 0.0
        shape = min(max(shape, 0.0), _HEAVIEST)
        # A sample without excess, as of a constant series, leaves a sharp edge.
        least = 1e-3 * abs(float(body[-1])) + 1e-9
        return cls(body, max(mean * (1 - shape), least), shape)

    def share_above(self, number: float) -> float:
        """Give the share of usual numbers that are at least as large, from 1e-12 to 1."""
        edge = float(self.body[-1])
        if number <= edge:
            return 1.0 - float(np.interp(number, self.body, _BODY))
        away = (number - edge) / self.scale
        beyond = np.exp(-away) if self.shape < 1e-6 else (1 + self.shape * away) ** (-1 / self.shape)
        return max(0.1 * float(beyond), _RAREST)
