"""Studies: how many layers the data supports, answered by cross-validation.

An estimator is known here by scikit-learn's contract only, so that every estimator can be studied, and can
itself ask for a study.
"""

from __future__ import annotations

from gatestack.study.choice import DepthRange
from gatestack.study.comparison import PairedDifference, compare_paired

__all__ = ["DepthRange", "PairedDifference", "compare_paired"]
