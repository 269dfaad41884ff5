"""Paired differences between two models over folds and seeds, with an interval that knows the folds overlap.

The J = folds · seeds differences d_j of a cross-validation are not independent: their training parts overlap.
The corrected resampled interval widens the usual one,

    mean(d) ± t_f · sqrt((1/J + q) · var(d)),    q = cases tested / cases trained,

where var(d) divides by J - 1. Several seeds on the same few folds are not so many independent data, and two
things keep them from counting as that: q is never less than 1 / (folds - 1), the ratio of a cross-validation
with so many folds; and the degrees of freedom f are those of var(d) by Welch and Satterthwaite's formula, put
together from the spread between the folds and within them: J - 1 with one seed, near folds - 1 where all
seeds of a fold agree.

Source:
    Nadeau & Bengio 2003, "Inference for the Generalization Error"; Satterthwaite 1946, "An Approximate
    Distribution of Estimates of Variance Components".
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


def compare_paired(reference: FloatArray, other: FloatArray, *, test_share: float) -> PairedDifference:
    """Say by how much the loss of `other` is lower than that of `reference` on the same folds and seeds.

    Args:
        reference: (folds, seeds) losses; 2 folds or more.
        other: (folds, seeds) losses.
        test_share: cases tested / cases trained in a fold, 0 or more.

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

    differences = reference - other
    count, folds = differences.size, len(differences)
    ratio = max(test_share, 1 / (folds - 1))
    error = float(np.sqrt((1 / count + ratio) * differences.var(ddof=1)))
    mean = float(differences.mean())
    half = float(stdtrit(_degrees_of_freedom(differences), (1 + _CONFIDENCE) / 2)) * error
    return PairedDifference(mean, error, mean - half, mean + half)


def _degrees_of_freedom(differences: FloatArray) -> float:
    folds, seeds = differences.shape
    by_fold = differences.mean(axis=1)
    between = seeds * float(((by_fold - by_fold.mean()) ** 2).sum())
    within = float(((differences - by_fold[:, None]) ** 2).sum())
    if within == 0.0:
        return float(folds - 1)
    return float((between + within) ** 2 / (between**2 / (folds - 1) + within**2 / (folds * (seeds - 1))))
