"""`AeonClassifier`: the classifier with aeon's contract, for aeon's pipelines, ensembles and benchmarks.

The class is made when it is first asked for, so that everything else works without aeon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatestack.errors import ArgumentError
from gatestack.tasks.classify.classifier import Classifier
from gatestack.tasks.labelled.aeon_tags import TAGS, TEST_PARAMETERS, aeon_base, time_first

__all__ = ["AeonClassifier"]

if TYPE_CHECKING:
    AeonClassifier: type[Any]


def __getattr__(name: str) -> Any:
    if name != "AeonClassifier":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = _make()
    return globals()[name]


def _make() -> type[Any]:
    base = aeon_base("aeon.classification", "BaseClassifier")

    class AeonClassifier(base):  # type: ignore[misc, valid-type]
        """A `Classifier` that aeon takes for one of its own; arrays are (cases, channels, steps), as there.

        Args:
            classifier: its settings; None takes the defaults.
        """

        _tags = TAGS

        def __init__(self, classifier: Classifier | None = None) -> None:
            self.classifier = classifier
            super().__init__()

        def _fit(self, X: Any, y: npt.NDArray[Any]) -> Any:
            from sklearn.base import clone

            if self.classifier is not None and not isinstance(self.classifier, Classifier):
                raise ArgumentError(
                    f"the 'classifier' parameter of AeonClassifier is a {type(self.classifier).__name__}",
                    expected="a Classifier, or None",
                )
            given = Classifier() if self.classifier is None else self.classifier
            self.classifier_ = clone(given)  # type: ignore[no-untyped-call]
            self.classifier_.fit(time_first(X), y)
            return self

        def _predict(self, X: Any) -> npt.NDArray[Any]:
            named: npt.NDArray[Any] = self.classifier_.predict(time_first(X))
            return named

        def _predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
            shares: npt.NDArray[np.float64] = self.classifier_.predict_proba(time_first(X))
            return shares

        @classmethod
        def _get_test_params(cls, parameter_set: str = "default") -> dict[str, Any]:  # noqa: ARG003  (aeon's)
            return {"classifier": Classifier(**TEST_PARAMETERS)}

    AeonClassifier.__module__, AeonClassifier.__qualname__ = __name__, "AeonClassifier"
    return AeonClassifier
