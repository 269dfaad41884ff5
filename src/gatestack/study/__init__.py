"""Studies: how many layers the data supports, answered by cross-validation.

An estimator is known here by scikit-learn's contract and one method more, `folded_task`, so that every
estimator can be studied, and can itself ask for a study.
"""

from __future__ import annotations

from gatestack.study.choice import DepthRange
from gatestack.study.comparison import PairedDifference, compare_paired
from gatestack.study.database import StudyDatabase
from gatestack.study.depth import DepthPlan, run_depth_study, study_depth
from gatestack.study.fits import Fit, Outcome
from gatestack.study.folded_task import FoldedTask, Measure, Studied
from gatestack.study.result import DepthRow, DepthStudy
from gatestack.study.search import TunePlan, run_tune, tune
from gatestack.study.tuned import HeldBack, TrialRow, TuneStudy
from gatestack.study.variants import VariantRow

__all__ = [
    "DepthPlan",
    "DepthRange",
    "DepthRow",
    "DepthStudy",
    "Fit",
    "FoldedTask",
    "HeldBack",
    "Measure",
    "Outcome",
    "PairedDifference",
    "Studied",
    "StudyDatabase",
    "TrialRow",
    "TunePlan",
    "TuneStudy",
    "VariantRow",
    "compare_paired",
    "run_depth_study",
    "run_tune",
    "study_depth",
    "tune",
]
