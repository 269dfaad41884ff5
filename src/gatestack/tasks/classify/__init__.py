"""Classification of series: a stack of recurrent layers, beside the plain answers.

Example:
    >>> from gatestack.tasks.classify import Classifier
    >>> Classifier(layers=1).layers
    1
"""

from __future__ import annotations

from gatestack.tasks.classify.classifier import Classifier
from gatestack.tasks.classify.evaluation import ClassificationEvaluation
from gatestack.tasks.labelled.options import Architecture, Augmentation

__all__ = ["Architecture", "Augmentation", "ClassificationEvaluation", "Classifier"]
