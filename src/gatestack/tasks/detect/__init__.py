"""Anomaly detection: from a table of series to alarms that say what, where and how rare.

Example:
    >>> from gatestack.tasks.detect import AnomalyDetector
    >>> AnomalyDetector("reconstruction", false_alarms_per_day=0.1).method
    'reconstruction'
"""

from __future__ import annotations

from gatestack.tasks.detect.baselines import BASELINES
from gatestack.tasks.detect.detector import AnomalyDetector
from gatestack.tasks.detect.evaluation import DetectionEvaluation
from gatestack.tasks.detect.options import Architecture
from gatestack.tasks.detect.stream import DetectedStep, DetectorStream

__all__ = [
    "BASELINES",
    "AnomalyDetector",
    "Architecture",
    "DetectedStep",
    "DetectionEvaluation",
    "DetectorStream",
]
