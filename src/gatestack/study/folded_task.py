"""What a study asks of an estimator: its data in folds, and one fit at a time.

An estimator offers itself by one method, `folded_task(data, options, folds)`, which gives a `FoldedTask`. The
folds are the task's own: rolling origins for series in time, stratified folds for labelled ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal, Protocol

from gatestack.errors import ArgumentError
from gatestack.study.fits import Outcome

__all__ = ["FoldedTask", "Measure", "Studied", "check_studied"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """The score that a study compares.

    Args:
        name: of the column of scores, such as `"mase"`.
        label: for people, such as `"MASE"`.
        better: which end is good.
        percent: the score is a share, shown as per cent.

    Example:
        >>> Measure(name="accuracy", label="accuracy", better="higher", percent=True).loss(0.9)
        -0.9
    """

    name: str
    label: str
    better: Literal["lower", "higher"] = "lower"
    percent: bool = False

    def loss(self, score: float) -> float:
        """Give a number of which lower is better."""
        return score if self.better == "lower" else -score

    def lowest_loss(self, outcome: Outcome) -> float:
        """Give the loss of the best model of a fit."""
        return min(self.loss(score) for score in outcome.scores.values())

    def text(self, score: float) -> str:
        """Write a score for people."""
        return f"{100 * score:.1f} %" if self.percent else f"{score:.4g}"


class FoldedTask(ABC):
    """An estimator with its data, cut into folds.

    Attributes:
        measure: what is compared.
        folds: number of folds.
        test_share: cases tested / cases trained, mean over the folds.
        features: columns that the lowest layer reads.
        directions: 1, or 2 where layers run both ways.
        hidden_size: width of a layer.
        windows: smallest and largest window that a search may try; None where the task has no window.
        cell: of the layers: `"lstm"`, `"gru"` or `"rnn"`.
        source: what messages call the data, for people.
        identity: JSON values that tell this study from any other: the task, its settings, the data.

    Example:
        >>> from gatestack import Regressor
        >>> waves = [[0.0, float(size), 0.0] for size in range(8)]
        >>> task = Regressor(hidden_size=4, max_steps=2).folded_task(waves, {"y": range(8)}, folds=2)
        >>> task.folds, sorted(task.plain(0, 0).scores)
        (2, ['1-nn', 'kernels', 'linear', 'mean', 'perceptron'])
    """

    measure: Measure
    folds: int
    test_share: float
    features: int
    directions: int
    hidden_size: int
    windows: tuple[int, int] | None = None
    cell: str = "lstm"
    source: str = ""
    identity: Mapping[str, Any]

    @abstractmethod
    def plain(self, fold: int, seed: int) -> Outcome:
        """Score the baselines and a model without recurrence on a fold, fitted on the rest.

        Args:
            fold: from 0 on.
            seed: is added to that of the estimator.
        """

    @abstractmethod
    def network(
        self, widths: tuple[int, ...], fold: int, seed: int, changes: Mapping[str, Any] | None = None
    ) -> Outcome:
        """Fit a network with layers of these widths on the training part of a fold, and score it on the rest.

        Args:
            widths: of each layer, lowest first.
            fold: from 0 on.
            seed: is added to that of the estimator.
            changes: settings that differ from those of the estimator, by the names of its arguments and of
                the fields of its `architecture` and `training`; None for none.

        Raises:
            KeyboardInterrupt: the training was interrupted; scores of a network that is half trained mislead.
        """

    def check(self, changes: Mapping[str, Any]) -> None:  # noqa: B027  (any change can be, unless a task says no)
        """Refuse changed settings that cannot be, before the first fit.

        Args:
            changes: as in `network`.

        Raises:
            ArgumentError: a setting does not exist, or not together with the others.
        """

    def fits_identity(self) -> dict[str, Any]:
        """Give what the fits of a study depend on, as JSON values."""
        return {
            "task": self.identity,
            "measure": self.measure.name,
            "folds": self.folds,
            "version": version("gatestack"),
        }

    def without_last(self) -> FoldedTask:
        """Give the task without what its last fold scores on; no fold before reads a later block in time."""
        return self


class Studied(Protocol):
    """An estimator that can be studied.

    Example:
        >>> from gatestack import AnomalyDetector
        >>> hasattr(AnomalyDetector(), "folded_task")
        True
    """

    @property
    def layers(self) -> Any:
        """Number of layers, widths of them, or `"auto"`."""

    def folded_task(
        self, data: Any, options: Mapping[str, Any], *, folds: int, measure: str | None = None
    ) -> FoldedTask:
        """Cut the data into folds.

        Args:
            data: what `fit` takes first.
            options: other arguments of `fit`.
            folds: number of folds, 2 or more.
            measure: column of the scores; None takes that of the task.
        """


def check_studied(estimator: object, *, owner: str) -> None:
    """Raise an ArgumentError where something is no estimator that can be studied.

    Example:
        >>> check_studied("forecaster", owner="study_depth")
        Traceback (most recent call last):
        gatestack.errors.ArgumentError: the 'estimator' parameter of study_depth is 'forecaster' — expected \
an estimator of Gatestack, such as Forecaster(7)
    """
    if isinstance(estimator, type) or not hasattr(estimator, "folded_task"):
        raise ArgumentError(
            f"the 'estimator' parameter of {owner} is {estimator!r}",
            expected="an estimator of Gatestack, such as Forecaster(7)",
        )
