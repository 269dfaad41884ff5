"""Regression of series: a number for each, beside the plain answers.

Example:
    >>> from gatestack.tasks.regress import Regressor
    >>> Regressor(layers=1).layers
    1
"""

from __future__ import annotations

from gatestack.tasks.labelled.options import Architecture, Augmentation
from gatestack.tasks.regress.evaluation import RegressionEvaluation
from gatestack.tasks.regress.regressor import Regressor

__all__ = ["Architecture", "Augmentation", "RegressionEvaluation", "Regressor"]
