"""What the folded tasks of all estimators share: settings, blocks, measure, scores, digest, a perceptron."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from gatestack.errors import ArgumentError, DataError, nearest_name
from gatestack.study.folded_task import FoldedTask, Measure
from gatestack.tasks.evaluation import Evaluation, ScoreColumn
from gatestack.tasks.layers import RegularisedChoices
from gatestack.training import RunFolder, Training, TrainingRecord

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "PERCEPTRON",
    "SILENT",
    "TESTED_SHARE",
    "EstimatorFolds",
    "block_shares",
    "check_options",
    "digest_of",
    "fit_perceptron",
    "measure_of",
    "milliseconds",
    "refuse_interrupted",
    "scores_of",
    "step_bytes",
    "with_changes",
]


PERCEPTRON = "perceptron"
"""The model without recurrence: one hidden layer, as wide as a layer of the network, on the same history."""

SILENT = RunFolder(progress=False)
"""Where the fits of a study are: nowhere."""

TESTED_SHARE = 0.4
"""Share of series in time that is cut into blocks, the last one."""

_ROUNDS, _BATCH, _TIMINGS = 200, 64, 5
_INTERRUPTED = "Training interrupted by user"
_BYTES = 4
_CARRIED = {"lstm": 2, "gru": 1, "rnn": 1}


class EstimatorFolds(FoldedTask):
    """A folded task of an estimator, whose fits are those of copies with other settings.

    Attributes:
        estimator: a fresh copy with a number of layers.
        architecture: kind of its architecture.
    """

    estimator: Any
    architecture: ClassVar[type[RegularisedChoices]]

    def check(self, changes: Mapping[str, Any]) -> None:
        """Refuse changed settings that the estimator cannot have."""
        self._settings((1,), 0, changes=changes)

    def _settings(
        self,
        widths: tuple[int, ...],
        seed: int,
        *,
        max_steps: int | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Give the arguments of the copy that a fit is made with."""
        own = with_changes(self.estimator._parameters(), changes, self.architecture)
        steps = max_steps or own["max_steps"]
        return own | {"layers": widths, "seed": own["seed"] + seed, "max_steps": steps}


def block_shares(folds: int) -> npt.NDArray[np.float64]:
    """Give the shares of a series at which its blocks end; the first block begins at the first of them.

    Example:
        >>> block_shares(2).round(2).tolist()
        [0.6, 0.8, 1.0]
    """
    shares: npt.NDArray[np.float64] = 1 - TESTED_SHARE + TESTED_SHARE * np.arange(folds + 1) / folds
    return shares


def refuse_interrupted(records: Iterable[TrainingRecord]) -> None:
    """Raise KeyboardInterrupt where a training was: scores of a network that is half trained mislead."""
    if any(record.stopped_by == "interrupt" for record in records):
        raise KeyboardInterrupt


def measure_of(columns: Mapping[str, ScoreColumn], name: str | None, *, usual: str) -> Measure:
    """Give the measure of a study by its name.

    Args:
        columns: the scores of the task; those of which neither end is good cannot be compared.
        name: that was asked for, or None.
        usual: what None takes.

    Raises:
        ArgumentError: there is no such score.
    """
    known = {key: column for key, column in columns.items() if column.better is not None}
    wanted = name or usual
    if wanted not in known:
        raise ArgumentError(
            f"there is no measure {wanted!r}", where="study", hint=nearest_name(wanted, known)
        )
    column = known[wanted]
    return Measure(name=wanted, label=column.label, better=column.better or "lower", percent=column.percent)


def scores_of(evaluation: Evaluation, measure: Measure, source: str) -> dict[str, float]:
    """Give the score of each model; baselines without one are left out.

    Raises:
        DataError: our own model has none, as where an error is to be divided by that of a constant series.
    """
    rows = evaluation.scores.select("model", measure.name).iter_rows()
    found = {model: float(score) for model, score in rows if score is not None and np.isfinite(score)}
    if evaluation.scores["model"][0] not in found:
        raise DataError(
            f"{measure.label} is not defined on a fold",
            where=source,
            expected="data on which the measure of the study is a number",
            hint="choose another measure, or fewer folds",
        )
    return found


def with_changes(
    parameters: Mapping[str, Any],
    changes: Mapping[str, Any] | None,
    architecture: type[RegularisedChoices],
) -> dict[str, Any]:
    """Give the arguments of an estimator with some settings changed.

    Args:
        parameters: the arguments of its constructor, by name.
        changes: by the names of arguments and of the fields of `architecture` and `training`; None for none.
        architecture: kind of the architecture.

    Raises:
        ArgumentError: a setting does not exist, or has a value outside its range.

    Example:
        >>> from gatestack.tasks.forecast import Architecture
        >>> with_changes({"window": 8, "architecture": None}, {"zoneout": 0.1}, Architecture)["window"]
        8
    """
    found, inner, learning = dict(parameters), {}, {}
    for name, value in (changes or {}).items():
        if name in parameters:
            found[name] = value
        elif name in Training.model_fields:
            learning[name] = value
        else:
            inner[name] = value
    if inner:
        given = parameters["architecture"]
        found["architecture"] = architecture.from_dict((given.to_dict() if given else {}) | inner)
    if learning:
        given = parameters["training"]
        found["training"] = Training(**(given.model_dump(exclude_unset=True) if given else {}) | learning)
    return found


def digest_of(*arrays: npt.NDArray[Any] | None) -> str:
    """Give a short name of the content of some arrays.

    Example:
        >>> digest_of(np.arange(3)) == digest_of(np.arange(3)), digest_of(np.arange(3)) == digest_of(None)
        (True, False)
    """
    found = hashlib.sha256()
    for array in arrays:
        if array is None:
            found.update(b"none")
            continue
        text = array if array.dtype.kind in "biufM" else array.astype(str)
        found.update(f"{text.dtype}{text.shape}".encode() + np.ascontiguousarray(text).tobytes())
    return found.hexdigest()[:16]


def fit_perceptron(
    inputs: npt.NDArray[np.float64],
    truth: npt.NDArray[Any],
    *,
    units: int,
    classes: bool,
    seed: int,
) -> Any:
    """Fit a network without recurrence: standardised inputs, one hidden layer.

    Args:
        inputs: (n, inputs).
        truth: (n,) classes, or (n,) or (n, outputs) numbers.
        units: of the hidden layer.
        classes: whether the truth is classes.
        seed: of initial weights and batches.

    Returns:
        An estimator of scikit-learn.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kind = MLPClassifier if classes else MLPRegressor
    network = kind(
        hidden_layer_sizes=(units,),
        batch_size=min(_BATCH, len(inputs)),
        learning_rate_init=3e-3,
        max_iter=_ROUNDS,
        alpha=1e-2,
        random_state=seed,
    )
    model = make_pipeline(StandardScaler(), network)  # type: ignore[no-untyped-call]
    one = truth.ndim == 2 and truth.shape[1] == 1
    with warnings.catch_warnings():
        # It ends after so many rounds at the latest, as the networks beside it do.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # scikit-learn takes Ctrl-C for the wish to end here, with a warning and a model that is half trained.
        warnings.filterwarnings("error", _INTERRUPTED, UserWarning)
        try:
            return model.fit(inputs, truth[:, 0] if one else truth)
        except UserWarning as warning:
            if str(warning).startswith(_INTERRUPTED):
                raise KeyboardInterrupt from None
            raise


def milliseconds(run: Callable[[], object]) -> float:
    """Give the median time of a call, after one that is not counted."""
    run()
    times = []
    for _ in range(_TIMINGS):
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    return median(times)


def step_bytes(
    network: nn.Module, widths: tuple[int, ...], *, cell: str = "lstm", directions: int = 1
) -> int:
    """Count the bytes of weights and state that one step of one series reads."""
    carried = _CARRIED[cell] * directions * sum(widths)
    return _BYTES * (sum(parameter.numel() for parameter in network.parameters()) + carried)


def check_options(options: Mapping[str, Any], known: Iterable[str], owner: str) -> dict[str, Any]:
    """Give the options of a fit as a dict of one's own.

    Raises:
        ArgumentError: one does not exist, or they are no mapping.

    Example:
        >>> check_options({"targt": "temp"}, ["target", "time"], "Forecaster")
        Traceback (most recent call last):
        gatestack.errors.ArgumentError: study: Forecaster.fit has no option 'targt'
        <BLANKLINE>
        hint: did you mean 'target'?
    """
    if not isinstance(options, Mapping):
        raise ArgumentError(
            f"the options of {owner}.fit are of type {type(options).__name__}",
            where="study",
            expected='a dict of its other arguments, such as {"y": labels} or {"target": "sales"}',
        )
    names = list(known)
    for name in options:
        if name not in names:
            raise ArgumentError(
                f"{owner}.fit has no option {name!r}", where="study", hint=nearest_name(name, names)
            )
    return dict(options)
