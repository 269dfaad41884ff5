"""Signs of life of a worker: while it has a piece of work, the database hears from it again and again."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gatestack.errors import StorageError
from gatestack.study.storage import Place, quiet_optuna, storage_errors

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["ALIVE", "Heartbeat"]

ALIVE = "alive"
"""Attribute of trials whose worker has given a sign of life."""


class Heartbeat:
    """Signs of life for one trial; the first comes at once, the others while the block runs.

    Args:
        storage: of the study; one in memory needs no signs.
        place: where it is, for errors.
        trial_id: number of the trial in the database.
        seconds: between two signs.

    Raises:
        StorageError: the database cannot be written.

    Example:
        >>> from optuna.storages import InMemoryStorage
        >>> with Heartbeat(InMemoryStorage(), None, 0, seconds=10) as heart:
        ...     heart.trial_id
        0
    """

    def __init__(self, storage: BaseStorage, place: Place, trial_id: int, *, seconds: int) -> None:
        from optuna.storages import RDBStorage

        self.storage, self.place, self.trial_id, self.seconds = storage, place, trial_id, seconds
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._kept = isinstance(storage, RDBStorage)
        if self._kept:
            with storage_errors(place), quiet_optuna():
                storage.record_heartbeat(trial_id)  # type: ignore[attr-defined]
                storage.set_trial_user_attr(trial_id, ALIVE, True)

    def __enter__(self) -> Self:
        if self._kept:
            self._thread = threading.Thread(target=self._keep_beating, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _keep_beating(self) -> None:
        while not self._over.wait(self.seconds):
            # A database that is away for a moment: whether the work is still this worker's shows at its end.
            with contextlib.suppress(StorageError), storage_errors(self.place):
                self.storage.record_heartbeat(self.trial_id)  # type: ignore[attr-defined]
        self.storage.remove_session()  # each thread has a connection of its own
