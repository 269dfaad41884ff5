"""How sure one can be of a share, and of the difference between two classifiers on the same cases."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Difference", "paired_difference", "share_interval"]

_Z = 1.959963984540054  # 97.5 % point of the normal distribution, for 95 % intervals


@dataclass(frozen=True)
class Difference:
    """By how much the model's accuracy is higher than a baseline's, on the same cases.

    Attributes:
        value: share of cases; above 0 the model is better.
        low, high: bounds of the 95 % interval.

    Example:
        >>> Difference(0.1, 0.02, 0.18).to_dict()
        {'value': 0.1, 'low': 0.02, 'high': 0.18}
    """

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Give the numbers as JSON values."""
        return asdict(self)


def paired_difference(own: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> Difference:
    """Compare two classifiers by the cases that only one of them names rightly.

    With b cases that only the model has right and c that only the baseline has, of n, and one case more put
    to each of the two:

        p = (b + 1) / (n + 2),  q = (c + 1) / (n + 2)
        p - q ± 1.96 sqrt((p + q - (p - q)²) / (n + 2))

    The added cases keep the interval from vanishing where the two agree on all of a few cases.

    Args:
        own: (n,) whether the model is right.
        other: (n,) whether the baseline is.

    Example:
        >>> right = np.array([True] * 9 + [False])
        >>> found = paired_difference(right, ~right)
        >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
        (0.8, 0.245, 1.0)

    Source:
        Bonett & Price 2012, "Adjusted Wald confidence interval for a difference of binomial proportions based
        on paired data".
    """
    count = len(own)
    p, q = (int((own & ~other).sum()) + 1) / (count + 2), (int((other & ~own).sum()) + 1) / (count + 2)
    half = _Z * math.sqrt((p + q - (p - q) ** 2) / (count + 2))
    value = float(own.mean() - other.mean())
    return Difference(value, max(-1.0, p - q - half), min(1.0, p - q + half))


def share_interval(right: int, count: int) -> tuple[float, float]:
    """Give the 95 % interval of a share, Wilson's: it keeps inside 0 and 1, and does not vanish at its ends.

    Example:
        >>> low, high = share_interval(10, 10)
        >>> round(low, 3), round(high, 3)
        (0.722, 1.0)

    Source:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    share, square = right / count, _Z**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = _Z * math.sqrt(share * (1 - share) / count + square / (4 * count**2)) / (1 + square / count)
    return max(0.0, middle - half), min(1.0, middle + half)
