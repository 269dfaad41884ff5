"""A worker of a study of made-up fits, to be run and killed as a process of its own.

Each fit is written to a log when it starts, so that a test can count who did what.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from gatestack.study.database import StudyDatabase
from gatestack.study.fits import Fit, Outcome
from gatestack.study.work import Outcomes, work

ALL = tuple(Fit(layers, fold, seed) for layers in (1, 2) for fold in range(3) for seed in range(2))
HEARTBEAT_SECONDS, GRACE_SECONDS = 1, 2


def answer(fit: Fit) -> Outcome:
    """Give what a fit finds: it depends on the fit alone."""
    return Outcome(scores={"gatestack": fit.layers + 0.1 * fit.fold + 0.01 * fit.seed}, seconds=0.0)


def open_study(place: str) -> StudyDatabase:
    return StudyDatabase(place, "made up", heartbeat_seconds=HEARTBEAT_SECONDS, grace_seconds=GRACE_SECONDS)


def run(place: str, log: Path, hang_at: int) -> Outcomes:
    """Work until all is done; the fit number `hang_at` of this worker never ends."""
    done = 0

    def perform(fit: Fit) -> Outcome:
        nonlocal done
        with log.open("a") as target:
            target.write(f"{fit.layers} {fit.fold} {fit.seed}\n")
        if done == hang_at:
            (log.with_suffix(".hangs")).touch()
            time.sleep(600)
        time.sleep(0.05)
        done += 1
        return answer(fit)

    with open_study(place) as study:
        return work(
            study,
            wanted=lambda outcomes: [fit for fit in ALL if fit not in outcomes],
            perform=perform,
            loss=lambda outcome: outcome.scores["gatestack"],
        )


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
