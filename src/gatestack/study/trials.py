"""The trials of a search: settings that a sampler of Optuna proposes, each tried by one worker."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gatestack.study.database import StudyDatabase
from gatestack.study.space import Range
from gatestack.study.storage import quiet_optuna, storage_errors

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

__all__ = ["TakenTrial", "Trials"]

_PLACE, _SETTINGS, _FOUND = "place", "settings", "found"
_FEWEST_TRIALS = 8


@dataclass
class TakenTrial:
    """A trial that this worker is at.

    Attributes:
        database: of the search.
        trial: that of Optuna.
        trial_id: its number in the database.
        settings: to try, by name.
        losses: of the folds so far.
        scores: of the folds so far.
        seconds: of the fits so far.
    """

    database: StudyDatabase
    trial: Trial
    trial_id: int
    settings: dict[str, Any]
    losses: list[float]
    scores: list[float]
    seconds: float = 0.0

    def add(self, loss: float, scores: Sequence[float], seconds: float) -> bool:
        """Note what the next fold came to.

        Args:
            loss: on the fold.
            scores: on the fold, as people read them.
            seconds: of the fit.

        Returns:
            Whether the trial falls behind the others so far that it should be left.
        """
        self.losses.append(loss)
        self.scores += scores
        self.seconds += seconds
        with storage_errors(self.database.place), quiet_optuna():
            self.trial.report(float(np.mean(self.losses)), len(self.losses) - 1)
            return self.trial.should_prune()

    def end(self, *, whole: bool, error: str | None = None) -> None:
        """Write what the trial came to.

        Args:
            whole: all folds were fitted.
            error: why its settings cannot be fitted.
        """
        from optuna.trial import TrialState

        found = {"scores": self.scores, "seconds": self.seconds, "error": error}
        if self.database.note(self.trial_id, {_FOUND: found}):
            loss = float(np.mean(self.losses)) if self.losses else None
            self.database.end(self.trial_id, TrialState.COMPLETE if whole else TrialState.PRUNED, loss)


@dataclass(frozen=True)
class EndedTrial:
    """A trial that came to its end.

    Attributes:
        place: among the trials, from 0 on.
        settings: by name.
        scores: of the folds that were fitted.
        seconds: of its fits together.
        state: `"complete"`, `"pruned"` where it was left early, or `"failed"` where it cannot be fitted.
        error: why it cannot.
    """

    place: int
    settings: dict[str, Any]
    scores: list[float]
    seconds: float
    state: str
    error: str | None


class Trials:
    """Gives out trials until there are enough, and those again whose worker died or was interrupted.

    A trial has a place, from 0 on, and settings that never change: who takes it up tries the same ones. They
    are proposed from the seed, the place and, by the sampler `"tpe"`, from the trials that are in the
    database at that moment. So with `"random"` they do not depend on who is at work, with `"tpe"` they do,
    unless one worker is alone: then a search that was stopped goes on as if it had not been.

    Args:
        database: of the trials; its rows are no fits.
        space: setting → range.
        sampler: `"tpe"` or `"random"`.
        pruner: `"median"`, `"halving"` or `"none"`.
        seed: of the sampler.
        most: number of trials.
    """

    def __init__(
        self,
        database: StudyDatabase,
        space: Mapping[str, Range],
        *,
        sampler: str,
        pruner: str,
        seed: int,
        most: int,
    ) -> None:
        self.database, self.space, self.pruner = database, space, pruner
        self.sampler, self.seed, self.most = sampler, seed, most

    def ended(self) -> list[EndedTrial]:
        """Give the trials that came to an end, by their place."""
        from optuna.trial import TrialState

        rows = self.database.trials(TrialState.COMPLETE, TrialState.PRUNED)
        return sorted(map(_ended, rows), key=lambda row: row.place)

    def left(self) -> int:
        """Count the trials that have not come to an end."""
        return self.most - sum(row.place < self.most for row in self.ended())

    @contextlib.contextmanager
    def next(self) -> Iterator[TakenTrial | None]:
        """Take a trial; None where there are enough. One that is not ended in the block is given back.

        A worker that slept for long finds that its trial was taken for dead: it is left to its heir, who
        finds the fits so far among those that are kept.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState, create_trial

        taken = self.database.take(
            range(self.most),
            held=_held_place,
            template=lambda place: create_trial(state=TrialState.RUNNING, user_attrs={_PLACE: place}),
        )
        if taken is None:
            yield None
            return
        place, heartbeat = taken
        settled = None
        try:
            with heartbeat:
                with contextlib.suppress(UpdateFinishedTrialError):
                    settled = self._settle(place, heartbeat.trial_id)
                with contextlib.suppress(UpdateFinishedTrialError):
                    yield settled
        finally:
            self.database.give_back(heartbeat.trial_id)

    def importance(self) -> dict[str, float]:
        """Give the share of each setting in what the trials differ by; empty where they are too few."""
        import optuna
        from optuna.trial import TrialState

        rows = self.database.trials(TrialState.COMPLETE)
        if len(self.space) < 2 or len(rows) < _FEWEST_TRIALS:
            return {}
        with quiet_optuna():
            # In the order of their places: the numbers of the rows tell who was first.
            study = optuna.create_study()
            study.add_trials(sorted(rows, key=lambda row: int(row.user_attrs[_PLACE])))
            found = optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=self.seed)
            )
        return {name: float(share) for name, share in found.items()}

    def _settle(self, place: int, trial_id: int) -> TakenTrial:
        """Give a trial its settings: those that the place had before, or new ones."""
        from optuna.trial import Trial

        # `Study.ask` would give a trial of its own; this one has its number, which decided who may have it.
        with storage_errors(self.database.place), quiet_optuna():
            trial = Trial(self._study(place), trial_id)
            settings = {name: limits.suggest(name, trial) for name, limits in self.space.items()}
            trial.set_user_attr(_SETTINGS, settings)
        return TakenTrial(self.database, trial, trial_id, settings, [], [])

    def _study(self, place: int) -> Study:
        """Open the study of Optuna anew, so that it sees what others have done meanwhile."""
        import optuna

        pruners: dict[str, Any] = {
            "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=0),
            "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
            "none": optuna.pruners.NopPruner,
        }
        study = optuna.load_study(
            study_name=self.database.name,
            storage=self.database.storage,
            sampler=self._sampler((1_000_003 * self.seed + place) % 2**32),
            pruner=pruners[self.pruner](),
        )
        # Reading the rows also tells Optuna's cache of the trial that was made beside it.
        rows = [row for row in study.get_trials(deepcopy=False) if row.user_attrs[_PLACE] == place]
        before = next((row.params for row in rows if _SETTINGS in row.user_attrs), None)
        if before is not None:
            study.sampler = optuna.samplers.PartialFixedSampler(before, study.sampler)
        return study

    def _sampler(self, seed: int) -> BaseSampler:
        import optuna

        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def _held_place(row: FrozenTrial) -> int | None:
    from optuna.trial import TrialState

    return None if row.state == TrialState.FAIL else int(row.user_attrs[_PLACE])


def _ended(row: FrozenTrial) -> EndedTrial:
    found = row.user_attrs[_FOUND]
    return EndedTrial(
        place=int(row.user_attrs[_PLACE]),
        settings=row.user_attrs[_SETTINGS],
        scores=found["scores"],
        seconds=found["seconds"],
        state="failed" if found["error"] is not None else row.state.name.lower(),
        error=found["error"],
    )
