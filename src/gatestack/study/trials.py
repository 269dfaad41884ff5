"""The trials of a search: settings that a sampler of Optuna proposes, each tried by one worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gatestack.study.database import Claim, StudyDatabase
from gatestack.study.fits import Fit
from gatestack.study.space import Range
from gatestack.study.storage import quiet_optuna, storage_errors

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

__all__ = ["Trials"]

_AGAIN, _SURPLUS, _SETTINGS, _SECONDS = "again", "surplus", "settings", "seconds"
_FEWEST_TRIALS = 8
_NO_FIT = Fit(0, 0, 0)  # a claim is on a trial here, not on a fit


class Trials:
    """Gives out trials until there are enough, and takes up those whose worker died.

    What the sampler proposes depends on the seed, the place of the trial and the trials that are finished:
    with one worker, a search that was stopped goes on as if it had not been.

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
        import optuna

        self.database, self.space = database, space
        self.sampler, self.seed, self.most = sampler, seed, most
        pruners: dict[str, Any] = {
            "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=0),
            "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
            "none": optuna.pruners.NopPruner,
        }
        with storage_errors(database.place), quiet_optuna():
            self.study: Study = optuna.load_study(
                study_name=database.name, storage=database.storage, pruner=pruners[pruner]()
            )

    def finished(self) -> list[FrozenTrial]:
        """Give the trials that came to an end, by their number."""
        from optuna.trial import TrialState

        found = self.database._trials(TrialState.COMPLETE, TrialState.PRUNED)
        return sorted(found, key=lambda trial: trial.number)

    def waiting_for_others(self) -> bool:
        """Whether other workers are at trials still; those whose worker died are freed."""
        from optuna.trial import TrialState

        self.database._bury_the_dead()
        self._take_up()
        return bool(self.database._trials(TrialState.RUNNING, TrialState.WAITING))

    @contextmanager
    def next(self) -> Iterator[tuple[Trial, dict[str, Any]] | None]:
        """Take a trial with its settings; None where there are enough. One that is not ended is taken up."""
        from optuna.trial import TrialState

        self.database._bury_the_dead()
        self._take_up()
        if self._taken() >= self.most:
            yield None
            return
        with storage_errors(self.database.place), quiet_optuna():
            trial = self.study.ask()
        before = [row for row in self._counted() if row.number < trial.number]
        if len(before) >= self.most:  # another worker was at the last one in the same moment
            trial.set_user_attr(_SURPLUS, True)
            self.database.end(trial._trial_id, TrialState.FAIL)
            yield None
            return
        claim = Claim(self.database, _NO_FIT, trial._trial_id)
        claim.beat()
        try:
            with claim, storage_errors(self.database.place):
                with quiet_optuna():
                    # A trial that was taken up has a new number; its place among the others is as it was.
                    self.study.sampler = self._sampler(len(before))
                    settings = {name: limits.suggest(name, trial) for name, limits in self.space.items()}
                    trial.set_user_attr(_SETTINGS, settings)
                try:
                    yield trial, settings
                except BaseException:
                    self.database.end(trial._trial_id, TrialState.FAIL)
                    raise
        finally:
            self.database.end(trial._trial_id, TrialState.FAIL)

    def end(
        self, trial: Trial, *, pruned: bool, loss: float | None, scores: list[float], seconds: float
    ) -> None:
        """Write what a trial came to."""
        from optuna.trial import TrialState

        with storage_errors(self.database.place), quiet_optuna():
            trial.set_user_attr("scores", scores)
            trial.set_user_attr(_SECONDS, seconds)
            self.database.end(trial._trial_id, TrialState.PRUNED if pruned else TrialState.COMPLETE, loss)

    def importance(self) -> dict[str, float]:
        """Give the share of each setting in what the trials differ by; empty where they are too few."""
        import optuna
        from optuna.trial import TrialState

        if len(self.space) < 2 or len(self.database._trials(TrialState.COMPLETE)) < _FEWEST_TRIALS:
            return {}
        with storage_errors(self.database.place), quiet_optuna():
            found = optuna.importance.get_param_importances(
                self.study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=self.seed)
            )
        return {name: float(share) for name, share in found.items()}

    def _counted(self) -> list[FrozenTrial]:
        from optuna.trial import TrialState

        return self.database._trials(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)

    def _taken(self) -> int:
        return len(self._counted())

    def _take_up(self) -> None:
        """Queue the settings of trials whose worker died or was interrupted."""
        from optuna.trial import TrialState

        everything = self.database._trials(*TrialState)
        queued = {trial.user_attrs.get(_AGAIN) for trial in everything}
        for trial in everything:
            lost = trial.state == TrialState.FAIL and not trial.user_attrs.get(_SURPLUS)
            if lost and trial.params and trial.number not in queued:
                with storage_errors(self.database.place), quiet_optuna():
                    self.study.enqueue_trial(trial.params, user_attrs={_AGAIN: trial.number})

    def _sampler(self, place: int) -> Any:
        import optuna

        seed = (1_000_003 * self.seed + place) % 2**32
        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
