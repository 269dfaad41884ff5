"""`AeonRegressor`: the regressor with aeon's contract, for aeon's pipelines, ensembles and benchmarks.

The class is made when it is first asked for, so that everything else works without aeon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatestack.errors import ArgumentError
from gatestack.tasks.labelled.aeon_tags import TAGS, TEST_PARAMETERS, aeon_base, time_first
from gatestack.tasks.regress.regressor import Regressor

__all__ = ["AeonRegressor"]

if TYPE_CHECKING:
    AeonRegressor: type[Any]


def __getattr__(name: str) -> Any:
    if name != "AeonRegressor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = _make()
    return globals()[name]


def _make() -> type[Any]:
    base = aeon_base("aeon.regression", "BaseRegressor")

    class AeonRegressor(base):  # type: ignore[misc, valid-type]
        """A `Regressor` that aeon takes for one of its own; arrays are (cases, channels, steps), as there.

        Args:
            regressor: its settings; None takes the defaults.
        """

        _tags = TAGS

        def __init__(self, regressor: Regressor | None = None) -> None:
            self.regressor = regressor
            super().__init__()

        def _fit(self, X: Any, y: npt.NDArray[Any]) -> Any:
            from sklearn.base import clone

            if self.regressor is not None and not isinstance(self.regressor, Regressor):
                raise ArgumentError(
                    f"the 'regressor' parameter of AeonRegressor is a {type(self.regressor).__name__}",
                    expected="a Regressor, or None",
                )
            given = Regressor() if self.regressor is None else self.regressor
            self.regressor_ = clone(given)  # type: ignore[no-untyped-call]
            self.regressor_.fit(time_first(X), y)
            return self

        def _predict(self, X: Any) -> npt.NDArray[np.float64]:
            numbers: npt.NDArray[np.float64] = self.regressor_.predict(time_first(X))
            return numbers

        @classmethod
        def _get_test_params(cls, parameter_set: str = "default") -> dict[str, Any]:  # noqa: ARG003  (aeon's)
            return {"regressor": Regressor(**TEST_PARAMETERS)}

    AeonRegressor.__module__, AeonRegressor.__qualname__ = __name__, "AeonRegressor"
    return AeonRegressor
