"""A study as a table of fits that any number of workers fill together.

A trial of Optuna is a claim of one worker on one fit. The database numbers the claims one after another, and
that decides who may fit: a claim holds where no earlier claim on the same fit is running or complete. Workers
give signs of life; where they stop, whoever sees it first marks the claim as failed, and the fit is free. A
worker that only slept finds its claim failed when it wakes, and its result is not taken. So no result is
counted twice, and none depends on who computed it.
"""

from __future__ import annotations

import contextlib
import datetime
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gatestack.errors import StorageError, TrainingError
from gatestack.study.fits import Fit, Outcome
from gatestack.study.storage import Place, open_storage, quiet_optuna, storage_errors, storage_name

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["Claim", "StudyDatabase"]

_HEARTBEAT_SECONDS, _GRACE_SECONDS = 10, 60
_MOST_DEATHS = 3
_OUTCOME, _ALIVE, _VARIANT = "outcome", "alive", "variant"
_NUMBERS = ("layers", "fold", "seed")


class StudyDatabase:
    """One study in a database; as a block, it is closed at the end.

    Args:
        place: path of an SQLite file, URL of PostgreSQL, or None for memory.
        name: of the study; workers with the same name work together.
        settings: what the study is about, for people who look into the database.
        heartbeat_seconds: time between two signs of life of a worker, 1 or more.
        grace_seconds: a worker is taken for dead after so long without a sign of life.

    Raises:
        ArgumentError: Optuna is not installed, or the URL is of another kind.
        StorageError: the database cannot be opened.

    Example:
        >>> with StudyDatabase(None, "depth of something") as database:
        ...     with database.claim([Fit(1, 0, 0)]) as claim:
        ...         taken = claim.finish(Outcome(scores={"gatestack": 0.5}, seconds=1.0), loss=0.5)
        ...     taken, database.outcomes()[Fit(1, 0, 0)].scores, database.claim([Fit(1, 0, 0)])
        (True, {'gatestack': 0.5}, None)
    """

    def __init__(
        self,
        place: Place,
        name: str,
        *,
        settings: Mapping[str, Any] | None = None,
        heartbeat_seconds: int = _HEARTBEAT_SECONDS,
        grace_seconds: int = _GRACE_SECONDS,
    ) -> None:
        self.place, self.name = place, name
        self.heartbeat_seconds, self.grace_seconds = heartbeat_seconds, grace_seconds
        self.storage = open_storage(place, heartbeat_seconds=heartbeat_seconds, grace_seconds=grace_seconds)
        from optuna.exceptions import DuplicatedStudyError
        from optuna.study import StudyDirection

        with storage_errors(place), quiet_optuna():
            try:
                self.id = self.storage.create_new_study([StudyDirection.MINIMIZE], name)
            except DuplicatedStudyError:
                self.id = self.storage.get_study_id_from_name(name)
            for key, value in (settings or {}).items():
                self.storage.set_study_user_attr(self.id, key, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from optuna.storages import RDBStorage

        if isinstance(self.storage, RDBStorage):
            self.storage.remove_session()
            self.storage.engine.dispose()

    def outcomes(self) -> dict[Fit, Outcome]:
        """Give what the finished fits found."""
        from optuna.trial import TrialState

        return {
            _fit_of(trial): Outcome.from_dict(trial.user_attrs[_OUTCOME])
            for trial in self._trials(TrialState.COMPLETE)
        }

    def claim(self, fits: Sequence[Fit]) -> Claim | None:
        """Take the first of some fits that is neither done nor in work.

        Args:
            fits: in the order in which they should be done.

        Returns:
            The claim; None where every fit is done or in work.

        Raises:
            TrainingError: a fit has ended its worker three times.
            StorageError: the database cannot be read or written.
        """
        from optuna.trial import TrialState

        self._bury_the_dead()
        taken = {_fit_of(trial) for trial in self._trials(TrialState.RUNNING, TrialState.COMPLETE)}
        for fit in fits:
            if fit in taken:
                continue
            self._refuse_deadly(fit)
            with storage_errors(self.place), quiet_optuna():
                trial_id = self.storage.create_new_trial(self.id, _template(fit))
                number = self.storage.get_trial_number_from_id(trial_id)
            claim = Claim(self, fit, trial_id)
            # Who else saw it free at the same moment has a claim too; the first of them holds.
            others = self._trials(TrialState.RUNNING, TrialState.COMPLETE)
            if any(_fit_of(trial) == fit and trial.number < number for trial in others):
                claim.give_back()
                continue
            claim.beat()
            return claim
        return None

    def _trials(self, *states: Any) -> list[FrozenTrial]:
        with storage_errors(self.place), quiet_optuna():
            return self.storage.get_all_trials(self.id, deepcopy=False, states=states)

    def _bury_the_dead(self) -> None:
        """Mark as failed what workers without a sign of life were at."""
        from optuna.storages import RDBStorage
        from optuna.trial import TrialState

        if not isinstance(self.storage, RDBStorage):
            return
        with storage_errors(self.place), quiet_optuna():
            dead = set(self.storage._get_stale_trial_ids(self.id))
        # Who was killed before its first sign of life has none to miss; clocks of machines differ by minutes.
        long_ago = datetime.datetime.now() - datetime.timedelta(seconds=10 * self.grace_seconds)
        for trial in self._trials(TrialState.RUNNING):
            started = trial.datetime_start or long_ago
            silent = _ALIVE not in trial.user_attrs and started <= long_ago
            if trial._trial_id in dead or silent:
                self.end(trial._trial_id, TrialState.FAIL)

    def _refuse_deadly(self, fit: Fit) -> None:
        from optuna.trial import TrialState

        deaths = sum(_fit_of(trial) == fit for trial in self._trials(TrialState.FAIL))
        if deaths >= _MOST_DEATHS:
            raise TrainingError(
                f"{deaths} workers ended in the middle of the fit with {fit.layers} layers, fold {fit.fold}, "
                f"seed {fit.seed}{', ' if fit.variant else ''}{fit.variant}",
                where=f"study {self.name} in {storage_name(self.place)}",
                expected="workers that live to the end of a fit",
                hint="most often memory ran out: study a smaller model, or fewer layers, in another study",
            )

    def end(self, trial_id: int, state: Any, loss: float | None = None) -> bool:
        """Set the last state of a claim; give False where it had one already."""
        from optuna.exceptions import UpdateFinishedTrialError

        with storage_errors(self.place), quiet_optuna():
            try:
                return self.storage.set_trial_state_values(trial_id, state, None if loss is None else [loss])
            except UpdateFinishedTrialError:
                return False


class Claim:
    """One worker's claim on a fit; as a block, it gives signs of life, and is given back if it was not used.

    Args:
        database: of the study.
        fit: which.
        trial_id: number of the claim in the database.

    Example:
        >>> database = StudyDatabase(None, "another")
        >>> with database.claim([Fit(2, 0, 0)]) as claim:
        ...     claim.fit.layers
        2
        >>> database.claim([Fit(2, 0, 0)]).fit  # it was given back
        Fit(layers=2, fold=0, seed=0, variant='')
    """

    def __init__(self, database: StudyDatabase, fit: Fit, trial_id: int) -> None:
        self.database, self.fit, self.trial_id = database, fit, trial_id
        self._over = threading.Event()
        self._heart: threading.Thread | None = None

    def __enter__(self) -> Self:
        from optuna.storages import RDBStorage

        if isinstance(self.database.storage, RDBStorage):
            self._heart = threading.Thread(target=self._keep_beating, daemon=True)
            self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._heart is not None:
            self._heart.join()
        self.give_back()

    def finish(self, outcome: Outcome, *, loss: float) -> bool:
        """Write the outcome.

        Args:
            outcome: of the fit.
            loss: what dashboards show, lower is better.

        Returns:
            False where the claim was lost in the meantime; the outcome is not taken then.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        database = self.database
        with storage_errors(database.place), quiet_optuna():
            try:
                database.storage.set_trial_user_attr(self.trial_id, _OUTCOME, outcome.to_dict())
            except UpdateFinishedTrialError:
                return False
        return database.end(self.trial_id, TrialState.COMPLETE, loss)

    def give_back(self) -> None:
        """Free the fit for others; nothing happens where it is finished."""
        from optuna.trial import TrialState

        self.database.end(self.trial_id, TrialState.PRUNED)

    def beat(self) -> None:
        """Give the first sign of life; a storage in memory needs none."""
        from optuna.storages import RDBStorage

        database = self.database
        if isinstance(database.storage, RDBStorage):
            with storage_errors(database.place), quiet_optuna():
                database.storage.record_heartbeat(self.trial_id)
                database.storage.set_trial_user_attr(self.trial_id, _ALIVE, True)

    def _keep_beating(self) -> None:
        while not self._over.wait(self.database.heartbeat_seconds):
            # A database that is away for a moment: whether the claim held shows when the outcome is written.
            with contextlib.suppress(StorageError), storage_errors(self.database.place):
                self.database.storage.record_heartbeat(self.trial_id)  # type: ignore[attr-defined]
        self.database.storage.remove_session()  # each thread has a connection of its own


def _template(fit: Fit) -> FrozenTrial:
    from optuna.distributions import IntDistribution
    from optuna.trial import TrialState, create_trial

    return create_trial(
        state=TrialState.RUNNING,
        params={name: getattr(fit, name) for name in _NUMBERS},
        distributions={name: IntDistribution(0, 2**31) for name in _NUMBERS},
        user_attrs={_VARIANT: fit.variant},
    )


def _fit_of(trial: FrozenTrial) -> Fit:
    numbers = {name: int(trial.params[name]) for name in _NUMBERS}
    return Fit(**numbers, variant=trial.user_attrs.get(_VARIANT, ""))
