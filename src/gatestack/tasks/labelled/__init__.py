"""Networks for labelled series: what `Classifier` and `Regressor` train and run.

Example:
    >>> from gatestack.tasks.labelled import Architecture
    >>> Architecture().pooling
    'all'
"""

from __future__ import annotations

from gatestack.tasks.labelled.fitting import Member, fit_members, run_members
from gatestack.tasks.labelled.network import LabelledNetwork, NetworkShape
from gatestack.tasks.labelled.options import Architecture, Augmentation
from gatestack.tasks.labelled.plan import LabelledPlan

__all__ = [
    "Architecture",
    "Augmentation",
    "LabelledNetwork",
    "LabelledPlan",
    "Member",
    "NetworkShape",
    "fit_members",
    "run_members",
]
