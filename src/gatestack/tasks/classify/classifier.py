"""The classifier: from labelled series to classes that stand beside their baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import ClassifierMixin

from gatestack.data.collections import LabelledSequences
from gatestack.errors import ArgumentError, DataError, check_choice, nearest_name, quote_value
from gatestack.tasks.classify.evaluation import COLUMNS, ClassificationEvaluation, score_classes
from gatestack.tasks.labelled.estimator import LabelledEstimator
from gatestack.tasks.labelled.options import Architecture, Augmentation
from gatestack.tasks.labelled.plan import LabelledPlan
from gatestack.tasks.labelled.settings import plan_of
from gatestack.training import RunFolder, Training

__all__ = ["Classifier"]


class Classifier(ClassifierMixin, LabelledEstimator):
    """Names the class of a series with a stack of recurrent layers.

    Series have one or more channels, may differ in length and lack values. What the network is made of stands
    in `Architecture`; probabilities are the mean over the members (`gatestack.tasks.labelled.calibration`).

    Args:
        layers: number of layers, each `hidden_size` wide, or a list of widths, lowest first; `"auto"` takes
            as many as a study of the training data supports; see `gatestack.study_depth`.
        hidden_size: width of each layer and direction, 1 or more.
        max_steps: updates of the weights; None: as many as the number of cases asks for.
        members: networks to train, with the seeds `seed`, `seed + 1`, …; their probabilities are averaged.
        class_weight: class → weight in the loss, above 0; `"balanced"`: the rarer the heavier; None: 1 each.
        label_smoothing: share of each label that is spread over all classes, in [0, 1).
        calibration: `"temperature"` fits a temperature on held-out folds of the training part, at the cost of
            three more fits; None leaves the probabilities as they are. The recipe "kernels" fits its own
            to cases left out anyhow.
        architecture: recipe, cell, pooling, dropout, …; None takes the defaults.
        augmentation: cropping and jitter of the training cases; None does neither.
        training: batch size, learning rate, …; None takes the defaults.
        seed: of initial weights, batches, dropout and folds.

    Attributes:
        fitted_: what fitting found, a `FittedLabelled`.
        classes_: (K,) the classes, sorted.
        n_features_in_: columns of a two-dimensional X; otherwise channels.

    Raises:
        ArgumentError: in `fit`, when an argument is outside its range.

    Example:
        >>> waves = [np.sin(np.arange(20) * (1 + case % 2)) for case in range(8)]
        >>> model = Classifier(layers=1, hidden_size=8, max_steps=40).fit(waves, ["slow", "fast"] * 4)
        >>> model.predict([np.sin(np.arange(30) * 2)]).tolist()
        ['fast']
        >>> model.predict_proba(waves).shape
        (8, 2)
    """

    kind: ClassVar[str] = "classifier"
    task: ClassVar[Literal["classify"]] = "classify"
    measures = COLUMNS

    def __init__(
        self,
        *,
        layers: int | Sequence[int] | Literal["auto"] = 2,
        hidden_size: int = 64,
        max_steps: int | None = None,
        members: int = 1,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        label_smoothing: float = 0.0,
        calibration: Literal["temperature"] | None = None,
        architecture: Architecture | None = None,
        augmentation: Augmentation | None = None,
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        self.layers = layers
        self.hidden_size = hidden_size
        self.max_steps = max_steps
        self.members = members
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.calibration = calibration
        self.architecture = architecture
        self.augmentation = augmentation
        self.training = training
        self.seed = seed

    def fit(self, X: Any, y: Any = None, *, run: RunFolder | None = None) -> Self:
        """Learn from labelled series.

        Args:
            X: a path (.ts, .arff, .tsv, .csv, .parquet) or a frame, which bring their labels, or what
                `gatestack.data.collections.read_labelled` gave; else, with y: an array (cases, steps), one
                series per row; (cases, steps, channels); a list of arrays (steps,) or (steps, channels), of
                different lengths; or `Sequences`. NaN in an array is a missing value.
            y: (cases,) classes, text or whole numbers; None where X brings them.
            run: folder for checkpoints, resuming, progress bar.

        Returns:
            The classifier itself.

        Raises:
            DataError: the data cannot be used; names file, line and position.
            ArgumentError: an option is outside its range, or an array is laid out in doubt.
            TrainingError: the loss is not finite.
        """
        return self._fit(X, y, run)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Name the most probable class of each case.

        Args:
            X: as in `fit`; labels that it brings are not read.

        Returns:
            (cases,) of the type of the labels of the fit.

        Raises:
            DataError: other channels than in the fit.
        """
        shares = self.predict_proba(X)
        names: npt.NDArray[Any] = self.classes_[shares.argmax(axis=1)]
        return names

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Give the probability of each class.

        Args:
            X: as in `fit`; labels that it brings are not read.

        Returns:
            (cases, K), columns in the order of `classes_`.

        Raises:
            DataError: other channels than in the fit.
        """
        data = self._read(X, "predict")
        return self.fitted_.probabilities(data.sequences)

    def predict_frame(self, data: Any = None) -> pl.DataFrame:
        """Predict as a table: `case`, `predicted`, and `probability-<class>` for each class.

        Args:
            data: as X in `fit`; None answers the cases of the fit.
        """
        self._check_fitted("predict")
        sequences = self.fitted_.training if data is None else self._read(data, "predict").sequences
        shares = self.fitted_.probabilities(sequences)
        names = [str(name) for name in self.classes_]
        return pl.DataFrame(
            {
                "case": sequences.keys or np.arange(len(sequences)),
                "predicted": [names[at] for at in shares.argmax(axis=1)],
            }
            | {f"probability-{name}": shares[:, at] for at, name in enumerate(names)}
        )

    def evaluate(self, data: Any, y: Any = None, *, minirocket: bool = False) -> ClassificationEvaluation:
        """Score the model on cases that the fit did not see, beside the baselines on the same cases.

        Args:
            data: as X in `fit`.
            y: (cases,) classes; None where `data` brings them.
            minirocket: run MiniRocket too; needs aeon or sktime.

        Raises:
            DataError: the data does not fit, holds a class that the fit has not seen, or all its cases were
            in the fit.
            ArgumentError: neither aeon nor sktime is installed.
        """
        found: ClassificationEvaluation = self._evaluate(data, y, minirocket)  # type: ignore[assignment]
        return found

    def cross_validate(
        self, X: Any, y: Any = None, *, folds: int = 5, minirocket: bool = False, run: RunFolder | None = None
    ) -> ClassificationEvaluation:
        """Score copies of the model by cross-validation, beside the baselines on the same folds.

        The model itself is not changed.

        Args:
            X: as in `fit`.
            y: as in `fit`.
            folds: 2 or more; each has its share of every class.
            minirocket: run MiniRocket too; needs aeon or sktime.
            run: whether to show the progress; a cross-validation keeps no checkpoints.

        Raises:
            KeyboardInterrupt: Ctrl-C during a fit; scores of networks that are half trained would mislead.
        """
        found: ClassificationEvaluation = self._cross_validate(X, y, folds, minirocket, run)  # type: ignore[assignment]
        return found

    def _calibrated(self) -> bool:
        return self.calibration == "temperature"

    def _plan(self, data: LabelledSequences) -> LabelledPlan:
        check_choice("calibration", self.calibration, ("temperature", None), owner="Classifier")  # type: ignore[arg-type]
        labels = np.asarray(data.labels)
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            raise DataError(
                f"all cases are of one class, {quote_value(self.classes_[0])}",
                where=data.source,
                expected="two classes or more",
            )
        return plan_of(
            self._parameters(),
            task="classify",
            outputs=len(self.classes_),
            class_weights=self._class_weights(),
            owner="Classifier",
        )

    def _class_weights(self) -> tuple[float, ...] | Literal["balanced"] | None:
        if self.class_weight is None or self.class_weight == "balanced":
            return self.class_weight
        if not isinstance(self.class_weight, Mapping):
            raise ArgumentError(
                f"the 'class_weight' parameter of Classifier is {self.class_weight!r}",
                expected="a mapping of classes to weights, 'balanced', or None",
            )
        known = self.classes_.tolist()
        for name, weight in self.class_weight.items():
            if name not in known:
                raise ArgumentError(
                    f"class_weight names the class {name!r}",
                    where="Classifier",
                    expected="a class of the data",
                    hint=nearest_name(str(name), map(str, known)),
                )
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < np.inf:
                raise ArgumentError(
                    f"class_weight gives {name!r} the weight {weight!r}",
                    where="Classifier",
                    expected="a number above 0",
                )
        return tuple(float(self.class_weight.get(name, 1.0)) for name in known)

    def _answers(self, data: LabelledSequences) -> npt.NDArray[np.int64]:
        labels = np.asarray(data.labels)
        if labels.dtype.kind != self.classes_.dtype.kind and "U" in (
            labels.dtype.kind,
            self.classes_.dtype.kind,
        ):
            # A file has text where an array may have numbers: the class 1 is written "1".
            labels, classes = labels.astype(str), self.classes_.astype(str)
            order = np.argsort(classes)
        else:
            classes, order = self.classes_, np.arange(len(self.classes_))
        at = np.minimum(np.searchsorted(classes, labels, sorter=order), len(classes) - 1)
        places: npt.NDArray[np.int64] = order[at]
        strange = np.flatnonzero(classes[places] != labels)
        if len(strange):
            raise DataError(
                f"case {int(strange[0])} is of the class {quote_value(labels[strange[0]])}",
                where=data.source,
                expected="a class of the fit",
                hint=nearest_name(str(labels[strange[0]]), map(str, self.classes_)),
            )
        return places

    def _evaluation(
        self,
        truth: npt.NDArray[Any],
        answers: npt.NDArray[np.float64],
        baselines: dict[str, npt.NDArray[np.float64]],
        folds: int | None,
    ) -> ClassificationEvaluation:
        return score_classes(truth, answers, baselines, self.classes_.tolist(), folds=folds)
