"""A budgeted search over settings, with Optuna's samplers and pruners, by any number of workers.

A trial is fitted fold by fold, and left early where it falls behind the others. Its fits are kept apart from
the trials, by their settings: what two trials, two searches or two workers ask for is fitted once. The last
fold is held back: winner and given settings meet there, with fresh seeds, after the search.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal, get_args

import numpy as np

from gatestack.errors import ArgumentError, DataError, TrainingError, check_choice, check_whole
from gatestack.study.database import StudyDatabase
from gatestack.study.fits import Fit, Outcome
from gatestack.study.folded_task import FoldedTask, Studied
from gatestack.study.progress import FitsProgress
from gatestack.study.space import parse_space
from gatestack.study.storage import Place, quiet_optuna
from gatestack.study.trials import Trials
from gatestack.study.tuned import HeldBack, TrialRow, TuneStudy, tune_sentence
from gatestack.study.work import work

__all__ = ["Pruner", "Sampler", "TunePlan", "run_tune", "tune"]

Sampler = Literal["tpe", "random"]
Pruner = Literal["median", "halving", "none"]

_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True, kw_only=True)
class TunePlan:
    """What a search does; the attributes are arguments of `tune`.

    Example:
        >>> TunePlan(trials=10).sampler
        'tpe'
    """

    search: tuple[str, ...] = ()
    trials: int = 30
    minutes: float | None = None
    sampler: Sampler = "tpe"
    pruner: Pruner = "median"
    check_seeds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole("trials", self.trials, owner="tune")
        check_whole("check_seeds", self.check_seeds, owner="tune")
        check_whole("seed", self.seed, owner="tune", least=0)
        check_choice("sampler", self.sampler, get_args(Sampler), owner="tune")
        check_choice("pruner", self.pruner, get_args(Pruner), owner="tune")
        if self.minutes is not None and not 0 < self.minutes < np.inf:
            raise ArgumentError(
                f"the 'minutes' parameter of tune is {self.minutes!r}", expected="a number above 0"
            )


def tune(
    estimator: Studied,
    data: Any,
    options: Mapping[str, Any] | None = None,
    *,
    search: Sequence[str] = (),
    trials: int = 30,
    minutes: float | None = None,
    folds: int = 4,
    sampler: Sampler = "tpe",
    pruner: Pruner = "median",
    check_seeds: int = 3,
    measure: str | None = None,
    storage: Place = None,
    seed: int = 0,
    progress: bool | None = None,
) -> TuneStudy:
    """Search for better settings with a budget, and check the winner where the search did not look.

    Args:
        estimator: any estimator of Gatestack, as it would be fitted; what is not searched stays as it is.
        data: what `fit` takes first.
        options: other arguments of `fit`.
        search: settings to vary, such as `"zoneout"` or `"learning_rate=0.001-0.01"`; none takes all: layers,
            hidden_size, window, learning_rate, weight_decay, dropout, variational_dropout, recurrent_dropout,
            zoneout, layer_norm.
        trials: number of them, 1 or more, with those of earlier calls.
        minutes: no fit of the search is begun after so many; None sets no limit.
        folds: 3 or more, the last of which is held back.
        sampler: `"tpe"` learns from the trials so far (Bergstra et al. 2011), `"random"` does not.
        pruner: leaves a trial early: `"median"`, `"halving"`, or `"none"`.
        check_seeds: fits of the winner, and of the settings as given, on the fold held back.
        measure: column of the scores to compare; None takes that of the task.
        storage: as in `study_depth`: the same call goes on from there, in any number of processes.
        seed: of the sampler.
        progress: None shows a bar on stderr if it is a terminal; False is silent.

    Returns:
        The winner, with all trials and its check.

    Raises:
        ArgumentError: an argument is outside its range, or Optuna is not installed.
        DataError: the data cannot be used, or is too short for so many folds.
        KeyboardInterrupt: Ctrl-C; with a storage, all finished fits are kept.

    Example:
        >>> from gatestack import Regressor
        >>> waves = [[0.0, float(size), 0.0] for size in range(9)]
        >>> model = Regressor(layers=1, hidden_size=4, max_steps=2)
        >>> found = tune(model, waves, {"y": range(9)}, search=["dropout"], trials=1, folds=3, check_seeds=1)
        >>> len(found.rows), found.measure.label
        (1, 'MAE')

    Source:
        Akiba et al. 2019, "Optuna: A Next-generation Hyperparameter Optimization Framework"; Bergstra et al.
        2011, "Algorithms for Hyper-Parameter Optimization".
    """
    plan = TunePlan(
        search=tuple(search),
        trials=trials,
        minutes=minutes,
        sampler=sampler,
        pruner=pruner,
        check_seeds=check_seeds,
        seed=seed,
    )
    check_whole("folds", folds, owner="tune", least=3)
    task = estimator.folded_task(data, options or {}, folds=folds, measure=measure)
    layers = estimator.get_params()["layers"]
    if isinstance(layers, str):
        raise ArgumentError(
            f"layers={layers!r}",
            where="tune",
            expected="a number of layers to begin with",
            hint="search layers",
        )
    many = isinstance(layers, list | tuple)
    widths = tuple(map(int, layers)) if many else (task.hidden_size,) * int(layers)
    return run_tune(task, plan, widths, storage=storage, progress=progress)


def run_tune(
    task: FoldedTask,
    plan: TunePlan,
    widths: tuple[int, ...],
    *,
    storage: Place = None,
    progress: bool | None = None,
) -> TuneStudy:
    """Search for an estimator that stands ready with its data; see `tune`.

    Args:
        task: the estimator and its folds.
        plan: what to search, and for how long.
        widths: of the layers as they were given.
        storage: where fits and trials are kept.
        progress: as in `tune`.

    Example:
        >>> from gatestack import Regressor
        >>> waves = [[0.0, float(size), 0.0] for size in range(9)]
        >>> task = Regressor(hidden_size=4, max_steps=2).folded_task(waves, {"y": range(9)}, folds=3)
        >>> len(run_tune(task, TunePlan(search=("zoneout",), trials=1, check_seeds=1), (4,)).rows)
        1
    """
    space = parse_space(plan.search, windows=task.windows, layer_norm=task.cell == "lstm")
    parts = {
        "task": task.identity,
        "measure": task.measure.name,
        "folds": task.folds,
        "version": version("gatestack"),
    }
    ranges = {name: limits.text for name, limits in space.items()}
    search = parts | {"space": ranges, "by": [plan.sampler, plan.pruner, plan.seed], "widths": widths}
    with (
        StudyDatabase(storage, f"tune-fits-{_digest(parts)}", settings=dict(task.identity)) as kept,
        StudyDatabase(storage, f"tune-{_digest(search)}", settings={"space": ranges}) as database,
        FitsProgress(show=progress) as bar,
    ):
        fits = _Fits(task, kept, widths)
        trials = Trials(
            database, space, sampler=plan.sampler, pruner=plan.pruner, seed=plan.seed, most=plan.trials
        )
        folds = range(task.folds - 1)
        plain = [fits.plain(fold) for fold in folds]
        given = [fits.network({}, fold, 0) for fold in folds]
        _search(trials, fits, plan, len(folds), bar)
        return _result(trials, fits, plan, ranges, plain, given)


def _digest(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class _Fits:
    """Fits once for each fold, seed and settings, whoever asks."""

    def __init__(self, task: FoldedTask, kept: StudyDatabase, widths: tuple[int, ...]) -> None:
        self.task, self.kept, self.widths = task, kept, widths

    def loss(self, outcome: Outcome) -> float:
        """Give the loss of the best model of an outcome."""
        return min(self.task.measure.loss(score) for score in outcome.scores.values())

    def plain(self, fold: int) -> Outcome:
        """Score the baselines."""
        return self._once(Fit(0, fold, 0), lambda: self.task.plain(fold, 0))

    def network(self, settings: Mapping[str, Any], fold: int, seed: int) -> Outcome:
        """Fit with some settings."""
        changes = dict(settings)
        width = changes.get("hidden_size")
        layers = changes.pop("layers", len(self.widths))
        widths = self.widths
        if width is not None or layers != len(widths):
            widths = (width or self.task.hidden_size,) * layers
        variant = json.dumps({"widths": widths, **changes}, sort_keys=True)
        return self._once(
            Fit(layers, fold, seed, variant), lambda: self.task.network(widths, fold, seed, changes)
        )

    def _once(self, fit: Fit, perform: Any) -> Outcome:
        return work(
            self.kept,
            wanted=lambda done: [] if fit in done else [fit],
            perform=lambda _: perform(),
            loss=self.loss,
        )[fit]


def _search(trials: Trials, fits: _Fits, plan: TunePlan, folds: int, bar: FitsProgress) -> None:
    end = np.inf if plan.minutes is None else time.monotonic() + 60 * plan.minutes
    while time.monotonic() < end:
        done = trials.finished()
        left = max(plan.trials - len(done), 0)
        bar.show_trials(len(done), left)
        with trials.next() as taken:
            if taken is not None:
                _try(trials, fits, *taken, folds=folds, end=end)
                continue
        if not trials.waiting_for_others():
            return
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _try(
    trials: Trials, fits: _Fits, trial: Any, settings: dict[str, Any], *, folds: int, end: float
) -> None:
    """Fit a trial fold by fold; where the time is over in the middle, it is left for the next call."""
    losses: list[float] = []
    scores: list[float] = []
    seconds = 0.0
    for fold in range(folds):
        if time.monotonic() >= end:
            return
        try:
            outcome = fits.network(settings, fold, 0)
        except (DataError, TrainingError) as error:
            # Settings that cannot be: a window longer than a training part, a rate too high.
            trial.set_user_attr("error", str(error).splitlines()[0])
            trials.end(trial, pruned=True, loss=None, scores=scores, seconds=seconds)
            return
        losses.append(fits.loss(outcome))
        scores += outcome.scores.values()
        seconds += outcome.seconds
        with quiet_optuna():
            trial.report(float(np.mean(losses)), fold)
            behind = fold < folds - 1 and trial.should_prune()
        if behind:
            trials.end(trial, pruned=True, loss=float(np.mean(losses)), scores=scores, seconds=seconds)
            return
    trials.end(trial, pruned=False, loss=float(np.mean(losses)), scores=scores, seconds=seconds)


def _result(
    trials: Trials,
    fits: _Fits,
    plan: TunePlan,
    ranges: dict[str, str],
    plain: list[Outcome],
    outcomes: list[Outcome],
) -> TuneStudy:
    task = fits.task
    given = _row(
        None,
        {},
        [score for found in outcomes for score in found.scores.values()],
        "complete",
        sum(found.seconds for found in outcomes),
    )
    rows = [
        _row(
            number,
            trial.user_attrs["settings"],
            trial.user_attrs["scores"],
            "failed" if "error" in trial.user_attrs else trial.state.name.lower(),
            trial.user_attrs["seconds"],
        )
        for number, trial in enumerate(trials.finished())
    ]
    whole = [given, *(row for row in rows if row.state == "complete")]
    winner = min(whole, key=lambda row: task.measure.loss(row.score or 0.0))
    last, seeds = task.folds - 1, range(1, plan.check_seeds + 1)
    pairs = {
        name: tuple(
            float(score) for seed in seeds for score in fits.network(settings, last, seed).scores.values()
        )
        for name, settings in (("best", winner.settings), ("given", {}))
    }
    there = fits.plain(last).scores
    baseline = min(there, key=lambda name: task.measure.loss(there[name]))
    held = HeldBack(**pairs, baseline=baseline, baseline_score=there[baseline])
    names = [name for name in plain[0].scores if all(name in found.scores for found in plain)]
    baselines = {name: float(np.mean([found.scores[name] for found in plain])) for name in names}
    return TuneStudy(
        best=winner.settings,
        given=given,
        rows=tuple(rows),
        baselines=baselines,
        held_back=held,
        importance=trials.importance(),
        space=ranges,
        measure=task.measure,
        folds=task.folds - 1,
        sentence=tune_sentence(winner, given, len(rows), baselines, held, task.measure),
    )


def _row(
    number: int | None, settings: dict[str, Any], scores: list[float], state: str, seconds: float
) -> TrialRow:
    return TrialRow(
        number=number,
        settings=settings,
        score=float(np.mean(scores)) if scores else None,
        scores=tuple(scores),
        state=state,
        seconds=seconds,
    )
