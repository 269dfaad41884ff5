"""Gatestack: stacks of gated recurrent layers, from a file to a model that can be defended.

Public names are imported when first used, so that `import gatestack` stays fast.

Example:
    >>> import gatestack as gs
    >>> gs.__version__
    '0.1.0'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatestack import (
        compat,
        convert,
        data,
        errors,
        inspect,
        nn,
        reference,
        runtime,
        study,
        tasks,
        training,
    )
    from gatestack.compat import accelerate, decelerate
    from gatestack.reports import report
    from gatestack.study import study_depth, tune
    from gatestack.tasks import load
    from gatestack.tasks.classify import Classifier
    from gatestack.tasks.detect import AnomalyDetector
    from gatestack.tasks.forecast import Forecaster
    from gatestack.tasks.regress import Regressor
    from gatestack.training import Training

__version__ = "0.1.0"

__all__ = [
    "AnomalyDetector",
    "Classifier",
    "Forecaster",
    "Regressor",
    "Training",
    "__version__",
    "accelerate",
    "compat",
    "convert",
    "data",
    "decelerate",
    "errors",
    "inspect",
    "load",
    "nn",
    "reference",
    "report",
    "runtime",
    "study",
    "study_depth",
    "tasks",
    "training",
    "tune",
]

# Where each public name lives; None marks a subpackage.
_HOMES: dict[str, str | None] = {
    "AnomalyDetector": "gatestack.tasks.detect",
    "Classifier": "gatestack.tasks.classify",
    "Forecaster": "gatestack.tasks.forecast",
    "Regressor": "gatestack.tasks.regress",
    "Training": "gatestack.training",
    "accelerate": "gatestack.compat",
    "compat": None,
    "convert": None,
    "data": None,
    "decelerate": "gatestack.compat",
    "errors": None,
    "inspect": None,
    "load": "gatestack.tasks",
    "nn": None,
    "reference": None,
    "report": "gatestack.reports",
    "runtime": None,
    "study": None,
    "study_depth": "gatestack.study",
    "tune": "gatestack.study",
    "tasks": None,
    "training": None,
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'gatestack' has no attribute {name!r}")
    home = _HOMES[name]
    if home is None:
        value: object = importlib.import_module(f"gatestack.{name}")
    else:
        value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
