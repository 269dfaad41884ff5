"""Forecasting: from a table of series to quantiles of the next steps, beside the naive answers.

Example:
    >>> from gatestack.tasks.forecast import Forecaster, Origins
    >>> Forecaster(horizon=7, layers=3).layers, Origins(test=0.1).step
    (3, None)
"""

from __future__ import annotations

from gatestack.tasks.forecast.backtest import Origins
from gatestack.tasks.forecast.baselines import BASELINES
from gatestack.tasks.forecast.conformal_fit import CalibrationWarning
from gatestack.tasks.forecast.copying import Copying
from gatestack.tasks.forecast.copying_frame import copies_last_value
from gatestack.tasks.forecast.evaluation import ForecastEvaluation
from gatestack.tasks.forecast.forecaster import Forecaster
from gatestack.tasks.forecast.hierarchy_evaluation import CoherentEvaluation
from gatestack.tasks.forecast.hierarchy_forecaster import CoherentForecaster
from gatestack.tasks.forecast.options import Architecture
from gatestack.tasks.forecast.recency import Recency, recency
from gatestack.tasks.forecast.skill import Skill
from gatestack.tasks.forecast.stream import ForecastStream

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
