"""One worker of a study: takes fits until none is wanted any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from gatestack.study.database import StudyDatabase
from gatestack.study.fits import Fit, Outcome

__all__ = ["SECONDS_BETWEEN_LOOKS", "Outcomes", "work"]

Outcomes = Mapping[Fit, Outcome]

SECONDS_BETWEEN_LOOKS = 0.5
"""How long a worker waits that has nothing to do while others are at work."""


def work(
    database: StudyDatabase,
    *,
    wanted: Callable[[Outcomes], Sequence[Fit]],
    perform: Callable[[Fit], Outcome],
    loss: Callable[[Outcome], float],
    report: Callable[[Outcomes, int], None] | None = None,
) -> Outcomes:
    """Fit what is wanted and free, wait for what others are at, until nothing is wanted.

    Args:
        database: of the study.
        wanted: gives the fits that the outcomes so far ask for, in the order in which they should be done;
            it may depend on nothing else, so that all workers want the same.
        perform: fits one.
        loss: of an outcome, for dashboards.
        report: is told the outcomes so far and how many fits are wanted still; None tells nobody.

    Returns:
        The outcomes.

    Raises:
        KeyboardInterrupt: Ctrl-C; the finished fits are kept, the one in work is given back.

    Example:
        >>> database = StudyDatabase(None, "work")
        >>> both = [Fit(1, fold, 0) for fold in range(2)]
        >>> outcomes = work(
        ...     database,
        ...     wanted=lambda done: [fit for fit in both if fit not in done],
        ...     perform=lambda fit: Outcome(scores={"gatestack": float(fit.fold)}, seconds=0.0),
        ...     loss=lambda outcome: outcome.scores["gatestack"],
        ... )
        >>> sorted(outcomes) == both
        True
    """
    from gatestack.training.threads import threads_of_torch

    while True:
        outcomes = database.outcomes()
        fits = wanted(outcomes)
        if report is not None:
            report(outcomes, len(fits))
        if not fits:
            return outcomes
        claim = database.claim(fits)
        if claim is None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            continue
        with claim:
            # One thread each: workers do not crowd each other out, and all round alike.
            with threads_of_torch(1):
                outcome = perform(claim.fit)
            claim.finish(outcome, loss=loss(outcome))
