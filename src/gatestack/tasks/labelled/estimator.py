"""What `Classifier` and `Regressor` share: fitting, scoring beside the baselines, cross-validation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.utils import Tags

from gatestack.data.collections import LabelledSequences
from gatestack.data.collections.labelled import TargetKind
from gatestack.data.sequences import Sequences
from gatestack.errors import ArgumentError, DataError, NotFittedError, check_whole
from gatestack.tasks.estimator import Arrays, Estimator
from gatestack.tasks.evaluation import Evaluation, ScoreColumn
from gatestack.tasks.labelled.baselines import baseline_answers
from gatestack.tasks.labelled.calibration import find_temperature, folds_of, held_out
from gatestack.tasks.labelled.fitted import FittedLabelled
from gatestack.tasks.labelled.fitting import Member, fit_members, run_members
from gatestack.tasks.labelled.inputs import (
    check_like_fit,
    is_flat,
    read_for_fit,
    read_for_predict,
    read_scored,
)
from gatestack.tasks.labelled.overlap import count_seen
from gatestack.tasks.labelled.persistence import (
    fitted_from_data,
    fitted_to_data,
    parameters_from_data,
    parameters_to_data,
)
from gatestack.tasks.labelled.plan import LabelledPlan
from gatestack.training import RunFolder

if TYPE_CHECKING:
    from gatestack.convert.onnx.builder import GraphBuilder
    from gatestack.convert.onnx.parts import OnnxParts
    from gatestack.inspect import Inspection
    from gatestack.inspect.subject import Subject
    from gatestack.tasks.labelled.folded import LabelledFolds

__all__ = ["LabelledEstimator"]

_CALIBRATION_FOLDS = 3


class _SklearnsNotFittedError(NotFittedError, SklearnNotFittedError):
    """Ours, and also the one that scikit-learn's tools catch."""


class LabelledEstimator(Estimator):
    """Base of `Classifier` and `Regressor`."""

    task: ClassVar[Literal["classify", "regress"]]
    measures: ClassVar[Mapping[str, ScoreColumn]]
    fitted_: FittedLabelled
    n_features_in_: int
    classes_: npt.NDArray[Any]  # of a classifier alone

    @property
    def _targets(self) -> TargetKind:
        return "classes" if self.task == "classify" else "numbers"

    @abstractmethod
    def _plan(self, data: LabelledSequences) -> LabelledPlan:
        """Check the parameters and give the settings of the fit; sets `classes_` where there are classes."""

    @abstractmethod
    def _answers(self, data: LabelledSequences) -> npt.NDArray[np.generic]:
        """Give what is known of each case as classes from 0 on, or numbers."""

    @abstractmethod
    def _evaluation(
        self,
        truth: npt.NDArray[Any],
        answers: npt.NDArray[np.float64],
        baselines: dict[str, npt.NDArray[np.float64]],
        folds: int | None,
    ) -> Evaluation:
        """Score answers beside those of the baselines."""

    def _fit(self, X: Any, y: Any, run: RunFolder | None) -> Self:
        if run is not None and not isinstance(run, RunFolder):
            raise ArgumentError(
                f"the 'run' parameter of fit is of type {type(run).__name__}", expected="a RunFolder, or None"
            )
        data = read_for_fit(self, X, y, self._targets)
        self._learn(data, run or RunFolder(), flat=y is not None and is_flat(X))
        return self

    def _learn(self, data: LabelledSequences, run: RunFolder, *, flat: bool) -> None:
        plan = self._deepened(self._plan(data), data, run)
        answers = self._answers(data)
        members = fit_members(data.sequences, answers, plan, folder=run)
        interrupted = any(member.record.stopped_by == "interrupt" for member in members)
        self.fitted_ = FittedLabelled(
            members=tuple(members),
            architecture=plan.architecture,
            temperature=1.0
            if interrupted or not self._calibrated()
            else self._temperature(data.sequences, answers, plan, run),
            training=data.sequences,
            answers=answers,
            classes=plan.outputs if self.task == "classify" else None,
            flat=flat,
            columns=data.columns,
            source=data.source,
        )

    def folded_task(
        self, data: Any, options: Mapping[str, Any], *, folds: int, measure: str | None = None
    ) -> LabelledFolds:
        """Deal the cases to folds for a study (`gatestack.study_depth`).

        Args:
            data: as X in `fit`.
            options: `{"y": …}` where X does not bring it; `{"groups": …}`, a name for each case, keeps the
                cases of a group in one fold.
            folds: 2 or more.
            measure: column of the scores to compare; None takes the accuracy, or the mean absolute error.

        Raises:
            DataError: the data cannot be used, or there are fewer cases than folds.
            ArgumentError: an option or a measure does not exist.
        """
        from gatestack.tasks.labelled.folded import fold_data

        return fold_data(self, data, options, folds=folds, measure=measure)

    def _deepened(self, plan: LabelledPlan, data: LabelledSequences, run: RunFolder) -> LabelledPlan:
        """Give the plan with the depth that the training data supports, where `layers="auto"`."""
        from gatestack.tasks.labelled.folded import fold_cases

        widths = self._chosen_widths(lambda folds: fold_cases(self, data, folds), run)
        return plan if widths is None else replace(plan, widths=widths)

    def _calibrated(self) -> bool:
        """Whether probabilities are to be calibrated."""
        return False

    def _temperature(
        self, sequences: Sequences, answers: npt.NDArray[Any], plan: LabelledPlan, run: RunFolder
    ) -> float:
        if len(answers) < 2 * _CALIBRATION_FOLDS:
            raise DataError(
                f"{len(answers)} cases are too few to calibrate with",
                expected=f"{2 * _CALIBRATION_FOLDS} or more",
                hint="leave calibration=None",
            )
        logits = np.zeros((len(plan.seeds), len(answers), plan.outputs))

        def answer(training: npt.NDArray[np.int64], held: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
            members = fit_members(
                sequences.rows(training), answers[training], plan, folder=RunFolder(progress=run.progress)
            )
            _refuse_interrupted(members)
            return run_members([member.network for member in members], sequences.rows(held))

        folds = folds_of(answers, _CALIBRATION_FOLDS, classes=True, seed=plan.seeds[0])
        for held, found in held_out(folds, answer):
            logits[:, held] = found
        return find_temperature(logits, answers)

    def _evaluate(self, data: Any, y: Any, minirocket: bool) -> Evaluation:
        self._check_fitted("evaluate")
        fitted = self.fitted_
        read = read_scored(self, data, y, flat=fitted.flat, columns=fitted.columns, kind=self._targets)
        check_like_fit(read.sequences, fitted.training, type(self).__name__)
        truth = self._answers(read)
        seen, owner = count_seen(fitted.training, read.sequences), type(self).__name__
        if seen == len(truth):
            raise DataError(
                "all cases were in the fit: a score on them would say nothing",
                where=read.source,
                expected="cases that the fit did not see",
                hint=f"{owner}.cross_validate (--folds) scores on the cases of the fit, each unseen",
            )
        baselines = baseline_answers(
            fitted.training, fitted.answers, read.sequences, classes=fitted.classes, minirocket=minirocket
        )
        found = self._evaluation(truth, self._own_answers(fitted, read.sequences), baselines, None)
        if not seen:
            return found
        leak = f" Note: {seen} of the {len(truth)} cases were in the fit too."
        marked: Evaluation = replace(found, sentence=found.sentence + leak)  # type: ignore[type-var]
        return marked

    def _cross_validate(
        self, X: Any, y: Any, folds: int, minirocket: bool, run: RunFolder | None
    ) -> Evaluation:
        """Answer each fold by a fit on the others, with the baselines on the same folds."""
        copy = type(self)(**self._parameters())
        data = read_for_fit(copy, X, y, self._targets)
        plan, answers = copy._plan(data), copy._answers(data)
        check_whole("folds", folds, owner="cross_validate", least=2)
        if folds > len(answers):
            raise ArgumentError(
                f"the 'folds' parameter of cross_validate is {folds}",
                expected=f"at most {len(answers)}, the number of cases",
            )
        classes = plan.outputs if self.task == "classify" else None
        shape = (len(answers),) if classes is None else (len(answers), classes)
        own = np.zeros(shape)
        plain: dict[str, npt.NDArray[np.float64]] = {}
        dealt = folds_of(answers, folds, classes=classes is not None, seed=plan.seeds[0])
        for fold in range(folds):
            inside, outside = np.flatnonzero(dealt == fold), np.flatnonzero(dealt != fold)
            training, held = data.sequences.rows(outside), data.sequences.rows(inside)
            progress = RunFolder(progress=run.progress if run else None)
            inner = copy._deepened(plan, data.rows(outside), progress)
            members = fit_members(training, answers[outside], inner, folder=progress)
            _refuse_interrupted(members)
            fitted = FittedLabelled(
                members=tuple(members),
                architecture=inner.architecture,
                temperature=copy._temperature(training, answers[outside], inner, progress)
                if copy._calibrated()
                else 1.0,
                training=training,
                answers=answers[outside],
                classes=classes,
                flat=False,
                columns=None,
                source=data.source,
            )
            own[inside] = self._own_answers(fitted, held)
            found = baseline_answers(training, answers[outside], held, classes=classes, minirocket=minirocket)
            for name, answer in found.items():
                plain.setdefault(name, np.zeros(shape))[inside] = answer
        return copy._evaluation(answers, own, plain, folds)

    @property
    def _known_classes(self) -> npt.NDArray[Any] | None:
        return self.classes_ if self.task == "classify" else None

    def _to_data(self) -> tuple[dict[str, Any], Arrays, Arrays]:
        model, weights, proof = fitted_to_data(
            self.fitted_, classes=self._known_classes, width=self.n_features_in_
        )
        return {"parameters": parameters_to_data(self._parameters())} | model, weights, proof

    @classmethod
    def _from_data(cls, model: dict[str, Any], weights: Arrays, proof: Arrays) -> Self:
        fitted, classes, width = fitted_from_data(model, weights, proof, task=cls.task)
        names: list[str] = cls._get_param_names()  # type: ignore[no-untyped-call]
        estimator = cls(**parameters_from_data(model.get("parameters"), names))
        estimator.fitted_, estimator.n_features_in_ = fitted, width
        if cls.task == "classify":
            estimator.classes_ = classes
        return estimator

    def _to_onnx(self, builder: GraphBuilder) -> OnnxParts:
        """Build the graph for `gatestack.convert.export_onnx`."""
        from gatestack.tasks.labelled.onnx.proof import onnx_parts

        self._check_fitted("export")
        classes = self._known_classes
        return onnx_parts(self.fitted_, builder, classes=None if classes is None else classes.tolist())

    def inspect(self, data: Any, y: Any = None, *, sequences: int = 64, member: int = 1) -> Inspection:
        """Look into one of the networks; see `Estimator.inspect`.

        Args:
            data: path of a file, or what `fit` takes.
            y: the truth, where the data does not bring it.
            sequences: number of cases to look at, 1 or more.
            member: which of the `members` networks, from 1.

        Returns:
            Tables and sentences; see `gatestack.inspect`.

        Raises:
            NotFittedError: there is nothing to look into yet.
            DataError: the data does not fit the model.
            ArgumentError: there is no such member.
        """
        from gatestack.inspect import inspect_subject

        self._check_fitted("inspect")
        check_whole("sequences", sequences, owner="inspect")
        check_whole("member", member, owner="inspect")
        return inspect_subject(self._subject(data, y, sequences, member))

    def _subject(self, data: Any, y: Any, sequences: int, member: int = 1) -> Subject:
        from gatestack.tasks.labelled.subject import labelled_subject

        fitted = self.fitted_
        read = self._read(data, "inspect")
        if y is not None:
            read = read_scored(self, data, y, flat=fitted.flat, columns=fitted.columns, kind=self._targets)
        known = read.labels if self.task == "classify" else read.targets
        return labelled_subject(
            fitted,
            read,
            None if known is None else self._answers(read),
            title=self.kind,
            sequences=sequences,
            member=member,
        )

    def _own_answers(self, fitted: FittedLabelled, sequences: Sequences) -> npt.NDArray[np.float64]:
        return fitted.numbers(sequences) if fitted.classes is None else fitted.probabilities(sequences)

    def _read(self, X: Any, doing: str) -> LabelledSequences:
        self._check_fitted(doing)
        fitted = self.fitted_
        data = read_for_predict(self, X, flat=fitted.flat, columns=fitted.columns, kind=self._targets)
        check_like_fit(data.sequences, fitted.training, type(self).__name__)
        return data

    def _check_fitted(self, doing: str) -> None:
        try:
            super()._check_fitted(doing)
        except NotFittedError as error:
            raise _SklearnsNotFittedError(error.what, where=error.where, hint=error.hint) from None

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that missing values are welcome."""
        tags: Tags = super().__sklearn_tags__()  # type: ignore[no-untyped-call]
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        return tags


def _refuse_interrupted(members: list[Member]) -> None:
    """The scores of networks that are half trained would mislead."""
    if any(member.record.stopped_by == "interrupt" for member in members):
        raise KeyboardInterrupt
