"""Forecasting: from a table of series to quantiles of the next steps, beside the naive answers.

Example:
    >>> from gatestack.tasks.forecast import Forecaster, Origins
    >>> Forecaster(horizon=7, layers=3).layers, Origins(test=0.1).step
    (3, None)
"""

from __future__ import annotations

from gatestack.tasks.forecast.backtest import Origins
from gatestack.tasks.forecast.baselines import BASELINES
from gatestack.tasks.forecast.checks.copying import Copying
from gatestack.tasks.forecast.checks.copying_frame import copies_last_value
from gatestack.tasks.forecast.checks.recency import Recency, recency
from gatestack.tasks.forecast.evaluation import ForecastEvaluation
from gatestack.tasks.forecast.forecaster import Forecaster
from gatestack.tasks.forecast.going_on.stream import ForecastStream
from gatestack.tasks.forecast.hierarchy.evaluation import CoherentEvaluation
from gatestack.tasks.forecast.hierarchy.forecaster import CoherentForecaster
from gatestack.tasks.forecast.intervals.calibrate import CalibrationWarning
from gatestack.tasks.forecast.options import Architecture
from gatestack.tasks.skill import Skill

__all__ = [
    "BASELINES",
    "Architecture",
    "CalibrationWarning",
    "CoherentEvaluation",
    "CoherentForecaster",
    "Copying",
    "ForecastEvaluation",
    "ForecastStream",
    "Forecaster",
    "Origins",
    "Recency",
    "Skill",
    "copies_last_value",
    "recency",
]
