"""The regressor: from series with a number each to predictions that stand beside their baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import RegressorMixin

from gatestack.data.collections import LabelledSequences
from gatestack.tasks.labelled.estimator import LabelledEstimator
from gatestack.tasks.labelled.options import Architecture, Augmentation
from gatestack.tasks.labelled.plan import LabelledPlan
from gatestack.tasks.labelled.settings import plan_of
from gatestack.tasks.regress.evaluation import COLUMNS, RegressionEvaluation, score_numbers
from gatestack.training import RunFolder, Training

__all__ = ["Regressor"]


class Regressor(RegressorMixin, LabelledEstimator):
    """Predicts a number for a series with a stack of recurrent layers.

    Series have one or more channels, may differ in length and lack values. What the network is made of stands
    in `Architecture`; a prediction is the mean over the members.

    Args:
        layers: number of layers, each `hidden_size` wide, or a list of widths, lowest first; `"auto"` takes
            as many as a study of the training data supports; see `gatestack.study_depth`.
        hidden_size: width of each layer and direction, 1 or more.
        max_steps: updates of the weights; None: as many as the number of cases asks for.
        members: networks to train, with the seeds `seed`, `seed + 1`, …; their predictions are averaged.
        architecture: recipe, cell, pooling, dropout, …; None takes the defaults.
        augmentation: cropping and jitter of the training cases; None does neither.
        training: batch size, learning rate, …; None takes the defaults.
        seed: of initial weights, batches, dropout and folds.

    Attributes:
        fitted_: what fitting found, a `FittedLabelled`.
        n_features_in_: columns of a two-dimensional X; otherwise channels.

    Raises:
        ArgumentError: in `fit`, when an argument is outside its range.

    Example:
        >>> waves = [np.sin(np.arange(20)) * size for size in range(1, 9)]
        >>> model = Regressor(layers=1, hidden_size=8, max_steps=60).fit(waves, np.arange(1.0, 9.0))
        >>> model.predict([np.sin(np.arange(20)) * 4]).shape
        (1,)
    """

    kind: ClassVar[str] = "regressor"
    task: ClassVar[Literal["regress"]] = "regress"
    measures = COLUMNS

    def __init__(
        self,
        *,
        layers: int | Sequence[int] | Literal["auto"] = 2,
        hidden_size: int = 64,
        max_steps: int | None = None,
        members: int = 1,
        architecture: Architecture | None = None,
        augmentation: Augmentation | None = None,
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        self.layers = layers
        self.hidden_size = hidden_size
        self.max_steps = max_steps
        self.members = members
        self.architecture = architecture
        self.augmentation = augmentation
        self.training = training
        self.seed = seed

    def fit(self, X: Any, y: Any = None, *, run: RunFolder | None = None) -> Self:
        """Learn from series with a number each.

        Args:
            X: as in `Classifier.fit`; a path or frame brings its targets.
            y: (cases,) finite numbers; None where X brings them.
            run: folder for checkpoints, resuming, progress bar.

        Returns:
            The regressor itself.

        Raises:
            DataError: the data cannot be used; names file, line and position.
            ArgumentError: an option is outside its range, or an array is laid out in doubt.
            TrainingError: the loss is not finite.
        """
        return self._fit(X, y, run)

    def predict(self, X: Any) -> npt.NDArray[np.float64]:
        """Predict the number of each case.

        Args:
            X: as in `fit`; targets that it brings are not read.

        Returns:
            (cases,) in the unit of the targets of the fit.

        Raises:
            DataError: other channels than in the fit.
        """
        data = self._read(X, "predict")
        return self.fitted_.numbers(data.sequences)

    def predict_frame(self, data: Any = None) -> pl.DataFrame:
        """Predict as a table: `case`, `predicted`.

        Args:
            data: as X in `fit`; None answers the cases of the fit.
        """
        self._check_fitted("predict")
        sequences = self.fitted_.training if data is None else self._read(data, "predict").sequences
        return pl.DataFrame(
            {
                "case": sequences.keys or np.arange(len(sequences)),
                "predicted": self.fitted_.numbers(sequences),
            }
        )

    def evaluate(self, data: Any, y: Any = None, *, minirocket: bool = False) -> RegressionEvaluation:
        """Score the model on cases that the fit did not see, beside the baselines on the same cases.

        Args:
            data: as X in `fit`.
            y: (cases,) numbers; None where `data` brings them.
            minirocket: run MiniRocket too; needs aeon or sktime.

        Raises:
            DataError: the data does not fit, or all its cases were in the fit.
            ArgumentError: neither aeon nor sktime is installed.
        """
        found: RegressionEvaluation = self._evaluate(data, y, minirocket)  # type: ignore[assignment]
        return found

    def cross_validate(
        self, X: Any, y: Any = None, *, folds: int = 5, minirocket: bool = False, run: RunFolder | None = None
    ) -> RegressionEvaluation:
        """Score copies of the model by cross-validation, beside the baselines on the same folds.

        The model itself is not changed.

        Args:
            X: as in `fit`.
            y: as in `fit`.
            folds: 2 or more.
            minirocket: run MiniRocket too; needs aeon or sktime.
            run: whether to show the progress; a cross-validation keeps no checkpoints.

        Raises:
            KeyboardInterrupt: Ctrl-C during a fit; scores of networks that are half trained would mislead.
        """
        found: RegressionEvaluation = self._cross_validate(X, y, folds, minirocket, run)  # type: ignore[assignment]
        return found

    def _plan(self, data: LabelledSequences) -> LabelledPlan:  # noqa: ARG002  (the classifier reads its classes there)
        return plan_of(self._parameters(), task="regress", outputs=1, owner="Regressor")

    def _answers(self, data: LabelledSequences) -> npt.NDArray[np.float64]:
        return np.asarray(data.targets, dtype=np.float64)

    def _evaluation(
        self,
        truth: npt.NDArray[Any],
        answers: npt.NDArray[np.float64],
        baselines: dict[str, npt.NDArray[np.float64]],
        folds: int | None,
    ) -> RegressionEvaluation:
        return score_numbers(truth, answers, baselines, folds=folds)
