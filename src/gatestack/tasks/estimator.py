"""What all estimators share: scikit-learn's parameters, the fitted state, saving and loading."""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import BaseEstimator

from gatestack.errors import DataError, ModelFileError, NotFittedError, check_whole, nearest_name
from gatestack.runtime.model_folder import ModelFolder, read_model_folder, write_model_folder
from gatestack.study.result import DepthStudy
from gatestack.tasks.evaluation import Evaluation

if TYPE_CHECKING:
    from gatestack.inspect import Inspection, Subject
    from gatestack.study.folded_task import FoldedTask
    from gatestack.training import RunFolder

__all__ = ["STUDY_FILE", "Arrays", "Estimator", "check_proof", "estimator_from_folder"]

_FOLDS = 5  # of the study that layers="auto" makes

STUDY_FILE = "study.db"
"""The study of `layers="auto"`, in the folder of the checkpoints."""

Arrays = dict[str, npt.NDArray[Any]]

_KINDS: dict[str, type[Estimator]] = {}


class Estimator(BaseEstimator, ABC):
    """Base of every estimator: the constructor stores, `fit` checks and learns, `save` and `load` are exact.

    A subclass names its `kind` and says how it is written as data; registering, the checks of the folder and
    the proof are here.
    """

    kind: ClassVar[str]
    layers: Any
    """Number of layers, widths of them, or `"auto"`."""
    depth_: DepthStudy | None = None
    """With `layers="auto"`: the study that chose the depth of the last fit; else None."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)  # type: ignore[no-untyped-call]
        if "kind" in cls.__dict__:
            _KINDS[cls.kind] = cls

    @abstractmethod
    def _to_data(self) -> tuple[dict[str, Any], Arrays, Arrays]:
        """Give the model as JSON values, weights, and proof (test vectors with their answers)."""

    @classmethod
    @abstractmethod
    def _from_data(cls, model: dict[str, Any], weights: Arrays, proof: Arrays) -> Self:
        """Make the estimator from what `_to_data` gave, and check it against the proof."""

    @abstractmethod
    def predict_frame(self, data: Any = None) -> pl.DataFrame:
        """Predict as a table, a row per case or step: what `gatestack predict` writes.

        Args:
            data: path of a file, or what `fit` takes.

        Raises:
            NotFittedError: there is nothing to predict with yet.
            DataError: the data does not fit the model.
        """

    @abstractmethod
    def evaluate(self, data: Any) -> Evaluation:
        """Score the model beside its baselines on data that the fit did not see.

        Args:
            data: path of a file, or what `fit` takes, with the truth.

        Raises:
            NotFittedError: there is nothing to score yet.
            DataError: the data does not fit the model, or the fit has seen it.
        """

    @abstractmethod
    def _subject(self, data: Any, y: Any, sequences: int) -> Subject:
        """Offer the network, with some sequences of `data`, to inspection."""

    def inspect(self, data: Any, y: Any = None, *, sequences: int = 64) -> Inspection:
        """Look into the network: gates, time-scales, gradient flow, the worth of layers and of inputs.

        Args:
            data: path of a file, or what `fit` takes.
            y: the truth of classifiers and regressors, where the data does not bring it.
            sequences: number of sequences (cases, or windows of a series) to look at, 1 or more.

        Returns:
            Tables and sentences; see `gatestack.inspect`.

        Raises:
            NotFittedError: there is nothing to look into yet.
            DataError: the data does not fit the model.
            ArgumentError: y for a model that reads its truth from the data.
        """
        from gatestack.inspect import inspect_subject

        self._check_fitted("inspect")
        check_whole("sequences", sequences, owner="inspect")
        return inspect_subject(self._subject(data, y, sequences))

    @abstractmethod
    def folded_task(
        self, data: Any, options: Mapping[str, Any], *, folds: int, measure: str | None = None
    ) -> FoldedTask:
        """Cut the data into folds for a study (`gatestack.study_depth`); the model itself is not changed.

        Args:
            data: what `fit` takes first.
            options: other arguments of `fit`.
            folds: number of folds, 2 or more.
            measure: column of the scores to compare; None takes that of the task.

        Raises:
            DataError: the data cannot be used, or not be cut into so many folds.
            ArgumentError: an option or a measure does not exist.
        """

    def _chosen_widths(self, task: Callable[[int], FoldedTask], run: RunFolder) -> tuple[int, ...] | None:
        """With `layers="auto"`, study the data of the fit, and keep the evidence in `depth_`.

        Args:
            task: gives the data of the fit in so many folds.
            run: the study is kept beside its checkpoints, and goes on from there.

        Returns:
            The widths to fit with; None where the user chose them.
        """
        layers = self.layers
        if not (isinstance(layers, str) and layers == "auto"):
            self.depth_ = None
            return None
        from gatestack.study.depth import DepthPlan, run_depth_study

        try:
            folded = task(_FOLDS)
        except DataError as error:
            hint = "give a number of layers: this is too little data to choose it by"
            raise DataError(error.what, where=error.where, expected=error.expected, hint=hint) from error
        place = None if run.path is None else run.path / STUDY_FILE
        study = self.depth_ = run_depth_study(folded, DepthPlan(), storage=place, progress=run.progress)
        if study.chosen == 0:
            warnings.warn(
                f"{study.sentence} This {type(self).__name__} has one layer all the same: it has no fewer.",
                stacklevel=_frames_inside(),
            )
        return (folded.hidden_size,) * max(study.chosen, 1)

    def __sklearn_is_fitted__(self) -> bool:
        """Tell scikit-learn whether `fit` or `load` has been called."""
        return getattr(self, "fitted_", None) is not None

    def proof(self) -> Arrays:
        """Compute the proof: test vectors and the answers that the model gives to them now.

        Returns:
            Arrays by name, as `save` writes them to `proof.safetensors`.

        Raises:
            NotFittedError: there is nothing to prove yet.
        """
        self._check_fitted("proof")
        return self._to_data()[2]

    def save(self, path: str | Path, *, overwrite: bool = False, report: str | None = None) -> Path:
        """Write the model folder: `model.json`, `weights.safetensors`, `proof.safetensors`.

        Args:
            path: the folder, which must not exist.
            overwrite: replace a Gatestack model folder that stands there.
            report: HTML text to keep in the folder as `report.html`.

        Returns:
            The path of the folder.

        Raises:
            NotFittedError: there is nothing to save yet.
            ArgumentError: the path exists. StorageError: it cannot be written; nothing is left behind.
        """
        self._check_fitted("save")
        model, weights, proof = self._to_data()
        texts = {} if report is None else {"report.html": report}
        evidence = {} if self.depth_ is None else {"depth": self.depth_.to_dict()}
        write_model_folder(
            path,
            model={"kind": self.kind} | evidence | model,
            weights=weights,
            proof=proof,
            texts=texts,
            overwrite=overwrite,
        )
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model folder that `save` wrote and check it against its proof; no code in it can run.

        Raises:
            ModelFileError: the folder is missing, damaged, of another version, or of another kind.
        """
        model = estimator_from_folder(read_model_folder(path))
        if not isinstance(model, cls):
            raise ModelFileError(f"this is a {model.kind}", where=str(path), expected=f"a {cls.kind}")
        return model

    def _parameters(self) -> dict[str, Any]:
        """Give the arguments of the constructor by name, as they are now."""
        parameters: dict[str, Any] = self.get_params(deep=False)  # type: ignore[no-untyped-call]
        return parameters

    def _check_fitted(self, doing: str) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(
                f"this {type(self).__name__} is not fitted yet",
                where=doing,
                hint="call fit with data, or load a saved model",
            )


def estimator_from_folder(folder: ModelFolder) -> Estimator:
    """Make an estimator of a folder that was read; see `Estimator.load`."""
    kind = str(folder.model.get("kind"))
    if kind not in _KINDS:
        raise ModelFileError(
            f"the kind of model is {kind!r}",
            where=str(folder.path),
            expected="a kind this version knows",
            hint=nearest_name(kind, [*_KINDS, "network"]),
        )
    model = _KINDS[kind]._from_data(folder.model, folder.weights, folder.proof)
    if "depth" in folder.model:
        model.depth_ = DepthStudy.from_dict(folder.model["depth"])
    return model


def _frames_inside() -> int:
    """Count the frames of Gatestack above its caller, so that a warning names the user's line."""
    frame, count = inspect.currentframe(), 0
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("gatestack."):
        frame, count = frame.f_back, count + 1
    return count


def check_proof(found: npt.NDArray[np.floating], expected: npt.NDArray[np.floating], where: str) -> None:
    """Raise a `ModelFileError` where a loaded model does not give the numbers it gave when it was saved.

    The tolerance is 1e-4 of the largest expected number: processors round float32 sums in different order.
    """
    largest = float(np.max(np.abs(expected), initial=1e-12))
    difference = float(np.max(np.abs(found - expected), initial=0.0))
    if not difference <= 1e-4 * largest:
        raise ModelFileError(
            f"the loaded model's answers differ from its proof by {difference:.3g}",
            where=where,
            expected=f"at most {1e-4 * largest:.3g}",
            hint="the folder was changed, or this version computes differently; fit and save the model again",
        )
