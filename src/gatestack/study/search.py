"""A budgeted search over settings, with Optuna's samplers and pruners, by any number of workers.

A trial is fitted fold by fold, and left early where it falls behind the others. Its fits are kept apart from
the trials, by their settings: what two trials, two searches or two workers ask for is fitted once. The last
fold is held back: no fit of the search reads anything of it. Winner and given settings meet there, with fresh
seeds, after the search.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from gatestack.errors import ArgumentError, DataError, TrainingError, check_choice, check_whole
from gatestack.study.database import StudyDatabase
from gatestack.study.fits import Outcome, digest_of_parts
from gatestack.study.folded_task import FoldedTask, Studied, check_studied
from gatestack.study.progress import FitsProgress
from gatestack.study.space import Range, parse_space
from gatestack.study.storage import Place
from gatestack.study.trials import EndedTrial, TakenTrial, Trials
from gatestack.study.tuned import HeldBack, TrialRow, TuneStudy, tune_sentence
from gatestack.study.tuned_fits import TunedFits
from gatestack.study.work import SECONDS_BETWEEN_LOOKS

__all__ = ["Pruner", "Sampler", "TunePlan", "run_tune", "tune"]

Sampler = Literal["tpe", "random"]
Pruner = Literal["median", "halving", "none"]


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
        minutes: no fit of a trial is begun after so many, counted from the call; None sets no limit. What is
            done in any case: the fit in work, the baselines and the settings as given on each fold of the
            search, and the check: the baselines and 2 × `check_seeds` fits.
        folds: 3 or more, the last of which is held back: the last block of series in time, or a part of the
            cases. The search fits on nothing of it, and scores on nothing of it.
        sampler: `"tpe"` learns from the trials so far (Bergstra et al. 2011), `"random"` does not.
        pruner: leaves a trial early: `"median"`, `"halving"`, or `"none"`.
        check_seeds: fits of the winner, and of the settings as given, on the fold held back.
        measure: column of the scores to compare; None takes that of the task.
        storage: as in `study_depth`: the same call goes on from there, in any number of processes. Each fit
            depends on its settings, fold and seed alone, and is done once; the winner is the best of the
            trials, whoever did them. With the sampler `"random"` the settings of each trial are those that
            one process alone would try; `"tpe"`, and what a pruner leaves, depend on which trials were
            finished first.
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
    check_studied(estimator, owner="tune")
    plan = TunePlan(
        search=(search,) if isinstance(search, str) else tuple(search),
        trials=trials,
        minutes=minutes,
        sampler=sampler,
        pruner=pruner,
        check_seeds=check_seeds,
        seed=seed,
    )
    check_whole("folds", folds, owner="tune", least=3)
    task = estimator.folded_task(data, {} if options is None else options, folds=folds, measure=measure)
    layers = estimator.layers
    if isinstance(layers, str):
        raise ArgumentError(
            f"layers={layers!r}",
            where="tune",
            expected="a number of layers to begin with",
            hint="search layers",
        )
    many = isinstance(layers, list | tuple)
    space = _space_of(task, plan)
    if many and "hidden_size" in space and "layers" not in space:
        raise ArgumentError(
            f"each layer has a width, {tuple(layers)}, and hidden_size is searched",
            where="tune",
            expected="a number of layers, or search layers too",
        )
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
    started = time.monotonic()
    space = _space_of(task, plan)
    ranges = {name: limits.text for name, limits in space.items()}
    own, about = task.fits_identity(), {**task.identity, "source": task.source}
    search = own | {"space": ranges, "by": [plan.sampler, plan.pruner, plan.seed], "widths": widths}
    with (
        StudyDatabase(storage, f"search-fits-{digest_of_parts(own)}", settings=about) as kept,
        StudyDatabase(storage, f"search-{digest_of_parts(search)}", settings={"space": ranges}) as database,
        FitsProgress(show=progress) as bar,
    ):
        fits = TunedFits(task, kept, widths)
        trials = Trials(
            database, space, sampler=plan.sampler, pruner=plan.pruner, seed=plan.seed, most=plan.trials
        )
        folds = range(fits.last)
        beside = fits.done(
            *(fits.plain(fold) for fold in folds),
            *(fits.network({}, fold, 0) for fold in folds),
            report=lambda done, left: bar.show_count("fits as given", done, left),
        )
        end = np.inf if plan.minutes is None else started + 60 * plan.minutes
        _search(trials, fits, end, bar)
        rows = [_row(trial) for trial in trials.ended()]
        return _result(rows, fits, plan, ranges, beside[: len(folds)], beside[len(folds) :], trials, bar)


def _space_of(task: FoldedTask, plan: TunePlan) -> dict[str, Range]:
    return parse_space(
        plan.search, windows=task.windows, width=task.hidden_size, layer_norm=task.cell == "lstm"
    )


def _search(trials: Trials, fits: TunedFits, end: float, bar: FitsProgress) -> None:
    while time.monotonic() < end:
        left = trials.left()
        bar.show_count("trials", trials.most - left, left)
        if not left:
            return
        with trials.next() as taken:
            if taken is not None:
                _try(taken, fits, end)
                continue
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _try(taken: TakenTrial, fits: TunedFits, end: float) -> None:
    """Fit a trial fold by fold; where the time is over in the middle, it is left for the next call."""
    for fold in range(fits.last):
        if time.monotonic() >= end:
            return
        try:
            (outcome,) = fits.done(fits.network(taken.settings, fold, 0))
        except (ArgumentError, DataError, TrainingError) as error:
            # Settings that cannot be: a window that holds no season, or is longer than a training part, or a
            # rate too high. What is wrong with the call or the data has shown with the settings as given.
            taken.end(whole=False, error=str(error).splitlines()[0])
            return
        behind = taken.add(
            fits.task.measure.lowest_loss(outcome), list(outcome.scores.values()), outcome.seconds
        )
        if behind and fold < fits.last - 1:
            taken.end(whole=False)
            return
    taken.end(whole=True)


def _result(
    rows: list[TrialRow],
    fits: TunedFits,
    plan: TunePlan,
    ranges: dict[str, str],
    plain: list[Outcome],
    outcomes: list[Outcome],
    trials: Trials,
    bar: FitsProgress,
) -> TuneStudy:
    task = fits.task
    scores = [score for found in outcomes for score in found.scores.values()]
    given = TrialRow(
        number=None,
        settings={},
        score=float(np.mean(scores)),
        scores=tuple(scores),
        state="complete",
        seconds=sum(found.seconds for found in outcomes),
    )
    whole = [given, *(row for row in rows if row.state == "complete")]
    winner = min(whole, key=lambda row: float(np.mean([task.measure.loss(score) for score in row.scores])))
    held = _check(winner.settings, fits, plan.check_seeds, bar)
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
        folds=fits.last,
        sentence=tune_sentence(winner, given, len(rows), baselines, held, task.measure),
    )


def _check(best: Mapping[str, Any], fits: TunedFits, seeds: int, bar: FitsProgress) -> HeldBack:
    """Score the winner, the settings as given and the baselines on the part held back, with fresh seeds."""
    fresh = range(1, seeds + 1)
    plain, *outcomes = fits.done(
        fits.plain(fits.last),
        *(fits.network(settings, fits.last, seed) for settings in (best, {}) for seed in fresh),
        report=lambda done, left: bar.show_count("fits of the check", done, left),
    )
    scores = [float(score) for found in outcomes for score in found.scores.values()]
    baseline = min(plain.scores, key=lambda name: fits.task.measure.loss(plain.scores[name]))
    return HeldBack(
        best=tuple(scores[:seeds]),
        given=tuple(scores[seeds:]),
        baseline=baseline,
        baseline_score=plain.scores[baseline],
    )


def _row(trial: EndedTrial) -> TrialRow:
    return TrialRow(
        number=trial.place + 1,
        settings=trial.settings,
        score=float(np.mean(trial.scores)) if trial.scores else None,
        scores=tuple(trial.scores),
        state=trial.state,
        seconds=trial.seconds,
        error=trial.error,
    )
