"""A worker of a search over made-up scores, to be run and killed as a process of its own.

Each fit is written to a log when it starts, so that a test can count who did what.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from made_up import MadeUp

from gatestack.study import Outcome, StudyDatabase, TunePlan, run_tune, search

LEVELS = {0: 1.5, 1: 1.0, 2: 0.8, 3: 0.9}
WORTH = {"zoneout": 2.0, "dropout": -0.1}
TRIALS, FOLDS = 6, 4
HEARTBEAT_SECONDS, GRACE_SECONDS = 1, 3


class Logged(MadeUp):
    """Notes each fit when it starts; the fit number `hang_at` of a trial never ends.

    Args:
        log: to be written.
        hang_at: of the fits of trials that this worker does, from 0 on; -1 for none.
    """

    def __init__(self, log: Path, hang_at: int) -> None:
        super().__init__(LEVELS, worth=WORTH, folds=FOLDS)
        self.log, self.hang_at, self.tried = log, hang_at, 0

    def plain(self, fold: int, seed: int) -> Outcome:
        self._begin("plain", fold, seed, {})
        return super().plain(fold, seed)

    def network(
        self, widths: tuple[int, ...], fold: int, seed: int, changes: Mapping[str, Any] | None = None
    ) -> Outcome:
        self._begin(widths, fold, seed, changes or {})
        return super().network(widths, fold, seed, changes)

    def _begin(self, widths: Any, fold: int, seed: int, changes: Mapping[str, Any]) -> None:
        with self.log.open("a") as target:
            target.write(json.dumps([widths, fold, seed, dict(changes)]) + "\n")
        of_a_trial = bool(changes) and seed == 0
        if of_a_trial and self.tried == self.hang_at:
            self.log.with_suffix(".hangs").touch()
            time.sleep(600)
        self.tried += of_a_trial
        time.sleep(0.05)


def found_by(place: str | None, log: Path, *, hang_at: int = -1, sampler: Any, pruner: Any) -> dict[str, Any]:
    """Search, with short times until a worker is taken for dead."""
    short = functools.partial(StudyDatabase, heartbeat_seconds=HEARTBEAT_SECONDS, grace_seconds=GRACE_SECONDS)
    search.StudyDatabase = short  # type: ignore[assignment,misc]
    plan = TunePlan(
        search=("layers", "zoneout", "dropout"), trials=TRIALS, sampler=sampler, pruner=pruner, check_seeds=2
    )
    return run_tune(Logged(log, hang_at), plan, (8,), storage=place, progress=False).to_dict()


if __name__ == "__main__":
    place, log, hang_at, sampler, pruner = sys.argv[1:]
    print(json.dumps(found_by(place, Path(log), hang_at=int(hang_at), sampler=sampler, pruner=pruner)))
