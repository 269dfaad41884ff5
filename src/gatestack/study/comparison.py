"""Paired differences between two models over folds and seeds, with an interval that knows the folds overlap.

Seeds on the same fold are not independent data, so they are averaged first: d_k is the mean difference of
fold k. Nor are the K folds independent, whose training parts overlap. The corrected resampled interval widens
the usual one,

    mean(d) ± t_(K-1) · sqrt((1/K + q) · var(d)),    q = cases tested / cases trained,

where var(d) divides by K - 1. q is never less than 1 / (K - 1), the ratio of a cross-validation with so many
folds: the blocks of a rolling origin are small beside what lies before them, but their fits share most of it.

Source:
    Nadeau & Bengio 2003, "Inference for the Generalization Error".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from gatestack.errors import ArgumentError

__all__ = ["PairedDifference", "compare_paired"]

FloatArray = npt.NDArray[np.float64]

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class PairedDifference:
    """By how much one model's loss is lower than another's.

    Attributes:
        mean: over folds and seeds; above 0 the first is better.
        error: corrected standard error of the mean.
        low, high: bounds of the corrected 95 % interval.

    Example:
        >>> PairedDifference(mean=0.2, error=0.05, low=0.1, high=0.3).measurable
        True
    """

    mean: float
    error: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the width of the interval, for `mean ± half_width`."""
        return (self.high - self.low) / 2

    @property
    def measurable(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0

    def in_units_of(self, unit: float) -> PairedDifference:
        """Divide by a number above 0, such as a mean loss, for a relative difference."""
        return PairedDifference(self.mean / unit, self.error / unit, self.low / unit, self.high / unit)

    def to_dict(self) -> dict[str, float]:
        """Give the numbers as JSON values."""
        return asdict(self)


def compare_paired(
    reference: FloatArray, other: FloatArray, *, test_share: float, comparisons: int = 1
) -> PairedDifference:
    """Say by how much the loss of `other` is lower than that of `reference` on the same folds and seeds.

    Args:
        reference: (folds, seeds) losses; 2 folds or more.
        other: (folds, seeds) losses.
        test_share: cases tested / cases trained in a fold, 0 or more.
        comparisons: so many intervals hold the truth together in 95 of 100 studies (Bonferroni), 1 or more.

    Raises:
        ArgumentError: other shapes, or fewer than 2 folds.

    Example:
        >>> ten_folds = np.linspace(0.9, 1.1, 10)[:, None]
        >>> found = compare_paired(ten_folds, 0.9 * ten_folds, test_share=1 / 9)
        >>> round(found.mean, 3), found.low > 0
        (0.1, True)
    """
    if reference.shape != other.shape or reference.ndim != 2 or len(reference) < 2:
        raise ArgumentError(
            f"the losses have the shapes {reference.shape} and {other.shape}",
            where="compare_paired",
            expected="twice (folds, seeds), with 2 folds or more",
        )
    from scipy.special import stdtrit

    differences = (reference - other).mean(axis=1)
    folds = len(differences)
    ratio = max(test_share, 1 / (folds - 1))
    error = float(np.sqrt((1 / folds + ratio) * differences.var(ddof=1)))
    mean = float(differences.mean())
    half = float(stdtrit(folds - 1, 1 - (1 - _CONFIDENCE) / (2 * comparisons))) * error
    return PairedDifference(mean, error, mean - half, mean + half)
