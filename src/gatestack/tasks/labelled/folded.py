"""A classifier or regressor with its cases in folds, for studies: stratified, or by groups."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from gatestack.data.collections import LabelledSequences
from gatestack.errors import ArgumentError, DataError
from gatestack.study.fits import Outcome
from gatestack.study.folded_task import Measure
from gatestack.tasks.evaluation import MODEL
from gatestack.tasks.folding import (
    PERCEPTRON,
    SILENT,
    EstimatorFolds,
    check_options,
    digest_of,
    fit_perceptron,
    measure_of,
    milliseconds,
    refuse_interrupted,
    scores_of,
    step_bytes,
)
from gatestack.tasks.labelled.baselines import baseline_answers, resampled_cases
from gatestack.tasks.labelled.calibration import class_shares, folds_of
from gatestack.tasks.labelled.fitting import Member, fit_members, run_members
from gatestack.tasks.labelled.inputs import read_for_fit
from gatestack.tasks.labelled.options import Architecture
from gatestack.tasks.labelled.persistence import parameters_to_data
from gatestack.tasks.labelled.plan import LabelledPlan
from gatestack.tasks.labelled.sampler import gaps_marked

__all__ = ["LabelledFolds", "deal_folds", "fold_cases", "fold_data"]

Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_MOST_POINTS = 128
_KERNELS = "kernels"


def deal_folds(
    answers: npt.NDArray[np.generic], folds: int, groups: Any, *, classes: bool, seed: int
) -> IntArray:
    """Deal cases to folds: each has its share of every class, and no group is in two folds.

    Args:
        answers: (n,) classes from 0 on, or numbers.
        folds: 2 or more.
        groups: (n,) names of groups, such as the person a case was measured on; None where there are none.
        classes: whether the answers are classes.
        seed: of the shuffle.

    Returns:
        (n,) fold of each case.

    Raises:
        ArgumentError: not one group for each case, or fewer groups than folds.

    Example:
        >>> deal_folds(np.array([0, 1, 0, 1]), 2, ["ann", "ann", "bob", "bob"], classes=True, seed=0).tolist()
        [1, 1, 0, 0]
    """
    if groups is None:
        return folds_of(answers, folds, classes=classes, seed=seed)
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    names = np.asarray(groups)
    if names.shape != answers.shape or len(np.unique(names)) < folds:
        raise ArgumentError(
            f"groups has shape {names.shape} and {len(np.unique(names))} names",
            where="study",
            expected=f"a name for each of {len(answers)} cases, and at least {folds} names",
        )
    if classes:
        dealer: Any = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)  # type: ignore[no-untyped-call]
    else:
        dealer = GroupKFold(folds)  # type: ignore[no-untyped-call]
    dealt = np.empty(len(answers), np.int64)
    for fold, (_, held) in enumerate(dealer.split(np.zeros(len(answers)), answers, names)):
        dealt[held] = fold
    return dealt


class LabelledFolds(EstimatorFolds):
    """The folded task of `Classifier` and `Regressor`.

    Args:
        estimator: a fresh copy with a number of layers.
        data: the cases.
        dealt: (n,) fold of each case, from 0 on.
        measure: what is compared.
    """

    architecture = Architecture

    def __init__(self, estimator: Any, data: LabelledSequences, dealt: IntArray, measure: Measure) -> None:
        self.estimator, self.data, self.dealt, self.measure = estimator, data, dealt, measure
        plan = estimator._plan(data)
        self.answers: npt.NDArray[Any] = estimator._answers(data)
        self.classes = plan.outputs if plan.task == "classify" else None
        self.folds = int(dealt.max()) + 1
        self.test_share = 1 / (self.folds - 1)
        self.cell = plan.architecture.cell
        self.directions = 2 if plan.architecture.bidirectional else 1
        self.hidden_size = int(estimator.get_params()["hidden_size"])
        self.features = _input_size(data, plan.architecture, self.hidden_size)
        parameters = parameters_to_data(estimator._parameters())
        del parameters["layers"]
        sequences = data.sequences
        self.identity = {
            "kind": estimator.kind,
            "parameters": parameters,
            "data": digest_of(
                sequences.values, sequences.offsets, sequences.observed, self.answers, self.dealt
            ),
        }
        self.source = data.source

    def check(self, changes: Mapping[str, Any]) -> None:
        """Refuse changed settings that the estimator cannot have, with what its recipe brings."""
        self._plan((1,), 0, changes=changes)

    def without_last(self) -> Self:
        """Give the folds but the last, and of the cases those that are not in it."""
        kept = np.flatnonzero(self.dealt < self.folds - 1)
        # The estimator learns its classes of the cases: the copy knows none that only the last fold has.
        return type(self)(copy.copy(self.estimator), self.data.rows(kept), self.dealt[kept], self.measure)

    def plain(self, fold: int, seed: int) -> Outcome:
        """Score baselines, a perceptron, and in the recipe "kernels" its linear part alone."""
        start = time.perf_counter()
        training, held = self._parts(fold)
        answers = baseline_answers(
            training.sequences, self._of(training), held.sequences, classes=self.classes
        )
        answers[PERCEPTRON] = self._perceptron(training, held, seed)
        plan = self._plan((1,), seed, max_steps=1)
        if plan.architecture.recipe == "kernels":
            members = self._fit(training, plan)
            for member in members:
                member.network.trust.zero_()
            answers[_KERNELS] = self._answer(members, held)
        scores = self._scores(held, next(iter(answers.values())), answers)
        return Outcome(
            scores={name: score for name, score in scores.items() if name != MODEL},
            seconds=time.perf_counter() - start,
        )

    def network(
        self, widths: tuple[int, ...], fold: int, seed: int, changes: Mapping[str, Any] | None = None
    ) -> Outcome:
        """Fit the members on all folds but one, and score them on that one."""
        training, held = self._parts(fold)
        plan = self._plan(widths, seed, changes=changes)
        start = time.perf_counter()
        members = self._fit(training, plan)
        seconds = time.perf_counter() - start
        network = members[0].network
        x, lengths = gaps_marked(held.sequences.rows(np.array([0])))
        with torch.inference_mode():
            whole = milliseconds(lambda: network(x, lengths))
        count = len(members)
        parts = [parameter.numel() for parameter in network.parameters() if parameter.requires_grad]
        return Outcome(
            scores={MODEL: self._own_score(members, held)},
            seconds=seconds,
            training=self._own_score(members, training),
            parameters=count * sum(parts),
            step_ms=count * whole / int(lengths[0]),
            step_bytes=count
            * step_bytes(network, widths, cell=plan.architecture.cell, directions=self.directions),
        )

    def _plan(
        self,
        widths: tuple[int, ...],
        seed: int,
        *,
        max_steps: int | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> LabelledPlan:
        settings = self._settings(widths, seed, max_steps=max_steps, changes=changes)
        # Classes are those of all cases, so that each fold speaks of the same ones.
        plan: LabelledPlan = type(self.estimator)(**settings)._plan(self.data)
        return plan

    def _parts(self, fold: int) -> tuple[LabelledSequences, LabelledSequences]:
        return self.data.rows(np.flatnonzero(self.dealt != fold)), self.data.rows(
            np.flatnonzero(self.dealt == fold)
        )

    def _of(self, part: LabelledSequences) -> npt.NDArray[Any]:
        answers: npt.NDArray[Any] = self.estimator._answers(part)
        return answers

    def _fit(self, training: LabelledSequences, plan: LabelledPlan) -> list[Member]:
        members = fit_members(training.sequences, self._of(training), plan, folder=SILENT)
        refuse_interrupted(member.record for member in members)
        return members

    def _answer(self, members: list[Member], part: LabelledSequences) -> Floats:
        outputs = run_members([member.network for member in members], part.sequences)
        if self.classes is not None:
            return class_shares(outputs, 1.0)
        numbers: Floats = outputs.mean(axis=0)[:, 0]
        return numbers

    def _perceptron(self, training: LabelledSequences, held: LabelledSequences, seed: int) -> Floats:
        points = min(int(training.sequences.lengths.max()), _MOST_POINTS)
        known, asked = (
            resampled_cases(part.sequences, points).reshape(len(part), -1) for part in (training, held)
        )
        truth = self._of(training)
        shares = np.zeros((len(held), self.classes or 0))
        if self.classes is not None and len(np.unique(truth)) == 1:
            shares[:, truth[0]] = 1.0  # there is nothing to learn; scikit-learn's network refuses one class
            return shares
        model = fit_perceptron(
            known, truth, units=self.hidden_size, classes=self.classes is not None, seed=seed
        )
        if self.classes is None:
            numbers: Floats = model.predict(asked)
            return numbers
        shares[:, np.unique(truth)] = model.predict_proba(asked)
        return shares

    def _own_score(self, members: list[Member], part: LabelledSequences) -> float:
        return self._scores(part, self._answer(members, part), {})[MODEL]

    def _scores(self, part: LabelledSequences, own: Floats, others: Mapping[str, Floats]) -> dict[str, float]:
        # The sentence of an evaluation, which is not read here, asks for one baseline at least.
        evaluation = self.estimator._evaluation(self._of(part), own, {**others, "none": own}, None)
        scores = scores_of(evaluation, self.measure, self.data.source)
        return {name: score for name, score in scores.items() if name != "none"}


def fold_data(
    estimator: Any, data: Any, options: Mapping[str, Any], *, folds: int, measure: str | None
) -> LabelledFolds:
    """Deal what `fit` takes to folds; see `LabelledEstimator.folded_task`."""
    given = check_options(options, ("y", "groups"), type(estimator).__name__)
    own = _copy_of(estimator)
    cases = read_for_fit(own, data, given.get("y"), own._targets)
    return _fold(own, cases, given.get("groups"), folds, measure)


def fold_cases(estimator: Any, cases: LabelledSequences, folds: int) -> LabelledFolds:
    """Deal the cases of a fit to folds."""
    return _fold(_copy_of(estimator), cases, None, folds, None)


def _copy_of(estimator: Any) -> Any:
    parameters = estimator._parameters()
    return type(estimator)(**parameters | {"layers": 1})


def _fold(
    estimator: Any, cases: LabelledSequences, groups: Any, folds: int, measure: str | None
) -> LabelledFolds:
    classes = estimator.task == "classify"
    compared = measure_of(estimator.measures, measure, usual="accuracy" if classes else "mae")
    plan, answers = estimator._plan(cases), estimator._answers(cases)
    if folds > len(cases):
        raise DataError(
            f"{len(cases)} cases cannot be dealt to {folds} folds",
            where=cases.source,
            expected="more cases",
        )
    dealt = deal_folds(answers, folds, groups, classes=classes, seed=plan.seeds[0])
    return LabelledFolds(estimator, cases, dealt, compared)


def _input_size(data: LabelledSequences, architecture: Architecture, hidden_size: int) -> int:
    """Count the columns that the lowest layer reads."""
    if architecture.recipe == "kernels":
        return hidden_size  # of a segment, as it is told to the stack
    if architecture.recipe == "lstm-fcn":
        return int(data.sequences.lengths.max())
    return data.sequences.num_features * (2 if architecture.scaling == "both" else 1)
