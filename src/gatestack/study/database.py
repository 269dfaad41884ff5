"""A study as a table of pieces of work that any number of workers do together.

A trial of Optuna is a claim of one worker on one piece: on a fit, or on a trial of a search. The database
numbers the claims one after another, and that decides who may work: a claim holds where no earlier claim on
the same piece holds it. Workers give signs of life; where they stop, whoever sees it first marks the claim as
failed, and the piece is free. A worker that only slept finds its claim failed when it wakes, and its result
is not taken. So no result is counted twice, and none depends on who computed it.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from gatestack.errors import StorageError, TrainingError
from gatestack.study.fits import Fit, Outcome
from gatestack.study.heartbeat import ALIVE, Heartbeat
from gatestack.study.storage import Place, open_storage, quiet_optuna, storage_errors, storage_name

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["Claim", "StudyDatabase"]

_HEARTBEAT_SECONDS, _GRACE_SECONDS = 10, 60
_MOST_DEATHS = 3
_OUTCOME, _VARIANT, _GIVEN_BACK = "outcome", "variant", "given back"
_NUMBERS = ("layers", "fold", "seed")

Piece = TypeVar("Piece")


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

        try:
            return {
                _fit_of(trial): Outcome.from_dict(trial.user_attrs[_OUTCOME])
                for trial in self.trials(TrialState.COMPLETE)
            }
        except (KeyError, TypeError) as error:
            raise StorageError(
                f"a fit of the study {self.name} lacks {error}",
                where=storage_name(self.place),
                expected="fits that this version of Gatestack wrote",
                hint="name another file",
            ) from error

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

        def template(fit: Fit) -> FrozenTrial:
            self._refuse_deadly(fit)
            return _template(fit)

        taken = self.take(fits, held=_held_fit, template=template)
        return None if taken is None else Claim(self, *taken)

    def take(
        self,
        pieces: Sequence[Piece],
        *,
        held: Callable[[FrozenTrial], Piece | None],
        template: Callable[[Piece], FrozenTrial],
    ) -> tuple[Piece, Heartbeat] | None:
        """Take the first of some pieces of work that nobody has done or is at.

        Args:
            pieces: in the order in which they should be done.
            held: gives the piece that a trial stands for; None where it stands for none any more.
            template: gives a new running trial that stands for a piece.

        Returns:
            The piece and the signs of life of its new trial, to be used as a block while it is worked at;
            None where every piece is held.

        Raises:
            StorageError: the database cannot be read or written.

        Example:
            >>> from optuna.trial import TrialState, create_trial
            >>> database = StudyDatabase(None, "pieces")
            >>> def new(piece: str):
            ...     return create_trial(state=TrialState.RUNNING, user_attrs={"piece": piece})
            >>> for _ in range(3):
            ...     taken = database.take(["a", "b"], held=lambda row: row.user_attrs["piece"], template=new)
            ...     taken and taken[0]
            'a'
            'b'
        """
        self.free_the_dead()
        done = set(map(held, self.trials()))
        for piece in pieces:
            if piece in done:
                continue
            with storage_errors(self.place), quiet_optuna():
                trial_id = self.storage.create_new_trial(self.id, template(piece))
                number = self.storage.get_trial_number_from_id(trial_id)
            try:
                # Who else saw it free at the same moment has a trial too; the first of them holds.
                if not any(trial.number < number and held(trial) == piece for trial in self.trials()):
                    return piece, Heartbeat(
                        self.storage, self.place, trial_id, seconds=self.heartbeat_seconds
                    )
            except KeyboardInterrupt:
                self.give_back(trial_id)
                raise
            self.give_back(trial_id)
        return None

    def trials(self, *states: Any) -> list[FrozenTrial]:
        """Give the rows of the study by their number.

        Args:
            states: those of Optuna's `TrialState` to give; none gives all.
        """
        with storage_errors(self.place), quiet_optuna():
            found = self.storage.get_all_trials(self.id, deepcopy=False, states=states or None)
        return sorted(found, key=lambda trial: trial.number)

    def free_the_dead(self) -> None:
        """Mark as failed what workers without a sign of life were at."""
        from optuna.storages import RDBStorage, fail_stale_trials
        from optuna.study import load_study
        from optuna.trial import TrialState

        if not isinstance(self.storage, RDBStorage):
            return

        with storage_errors(self.place), quiet_optuna():
            fail_stale_trials(load_study(study_name=self.name, storage=self.storage))
        # Who was killed before its first sign of life has none to miss; clocks of machines differ by minutes.
        long_ago = datetime.datetime.now() - datetime.timedelta(seconds=10 * self.grace_seconds)
        for trial in self.trials(TrialState.RUNNING):
            started = trial.datetime_start or long_ago
            if ALIVE not in trial.user_attrs and started <= long_ago:
                self.end(trial._trial_id, TrialState.FAIL)

    def end(self, trial_id: int, state: Any, loss: float | None = None) -> bool:
        """Set the last state of a trial; give False where it had one already."""
        from optuna.exceptions import UpdateFinishedTrialError

        with storage_errors(self.place), quiet_optuna():
            try:
                return self.storage.set_trial_state_values(trial_id, state, None if loss is None else [loss])
            except UpdateFinishedTrialError:
                return False

    def note(self, trial_id: int, values: Mapping[str, Any]) -> bool:
        """Write values into a trial; give False where it has its last state already."""
        from optuna.exceptions import UpdateFinishedTrialError

        with storage_errors(self.place), quiet_optuna():
            try:
                for name, value in values.items():
                    self.storage.set_trial_user_attr(trial_id, name, value)
            except UpdateFinishedTrialError:
                return False
        return True

    def give_back(self, trial_id: int) -> None:
        """Free what a trial holds, without a death; nothing happens where the trial has its last state."""
        from optuna.trial import TrialState

        if self.note(trial_id, {_GIVEN_BACK: True}):
            self.end(trial_id, TrialState.FAIL)

    def _refuse_deadly(self, fit: Fit) -> None:
        from optuna.trial import TrialState

        failed = self.trials(TrialState.FAIL)
        deaths = sum(_fit_of(trial) == fit and _GIVEN_BACK not in trial.user_attrs for trial in failed)
        if deaths >= _MOST_DEATHS:
            raise TrainingError(
                f"{deaths} workers ended in the middle of the fit with {fit.layers} layers, fold {fit.fold}, "
                f"seed {fit.seed}{', ' if fit.variant else ''}{fit.variant}",
                where=f"study {self.name} in {storage_name(self.place)}",
                expected="workers that live to the end of a fit",
                hint="most often memory ran out: study a smaller model, or fewer layers, in another study",
            )


class Claim:
    """One worker's claim on a fit; as a block, it gives signs of life, and is given back if it was not used.

    Args:
        database: of the study.
        fit: which.
        heartbeat: of the trial that stands for it.

    Example:
        >>> database = StudyDatabase(None, "another")
        >>> with database.claim([Fit(2, 0, 0)]) as claim:
        ...     claim.fit.layers
        2
        >>> database.claim([Fit(2, 0, 0)]).fit  # it was given back
        Fit(layers=2, fold=0, seed=0, variant='')
    """

    def __init__(self, database: StudyDatabase, fit: Fit, heartbeat: Heartbeat) -> None:
        self.database, self.fit, self.heartbeat = database, fit, heartbeat

    def __enter__(self) -> Self:
        self.heartbeat.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.heartbeat.__exit__(kind, error, trace)
        self.database.give_back(self.heartbeat.trial_id)

    def finish(self, outcome: Outcome, *, loss: float) -> bool:
        """Write the outcome.

        Args:
            outcome: of the fit.
            loss: what dashboards show, lower is better.

        Returns:
            False where the claim was lost in the meantime; the outcome is not taken then.
        """
        from optuna.trial import TrialState

        trial_id = self.heartbeat.trial_id
        noted = self.database.note(trial_id, {_OUTCOME: outcome.to_dict()})
        return noted and self.database.end(trial_id, TrialState.COMPLETE, loss)


def _template(fit: Fit) -> FrozenTrial:
    from optuna.distributions import IntDistribution
    from optuna.trial import TrialState, create_trial

    return create_trial(
        state=TrialState.RUNNING,
        params={name: getattr(fit, name) for name in _NUMBERS},
        distributions={name: IntDistribution(0, 2**31) for name in _NUMBERS},
        user_attrs={_VARIANT: fit.variant},
    )


def _held_fit(trial: FrozenTrial) -> Fit | None:
    from optuna.trial import TrialState

    return _fit_of(trial) if trial.state in (TrialState.RUNNING, TrialState.COMPLETE) else None


def _fit_of(trial: FrozenTrial) -> Fit:
    numbers = {name: int(trial.params[name]) for name in _NUMBERS}
    return Fit(**numbers, variant=trial.user_attrs.get(_VARIANT, ""))
