"""The fits of a search, kept by their settings: what two trials or two workers ask for is fitted once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from gatestack.study.database import StudyDatabase
from gatestack.study.fits import Fit, Outcome
from gatestack.study.folded_task import FoldedTask
from gatestack.study.work import work

__all__ = ["TunedFits"]

Job = tuple[Fit, Callable[[], Outcome]]


class TunedFits:
    """Fits once for each fold, seed and settings, whoever asks.

    Args:
        task: the estimator and its folds, of which the last is held back.
        database: of the fits.
        widths: of the layers as they were given.
    """

    def __init__(self, task: FoldedTask, database: StudyDatabase, widths: tuple[int, ...]) -> None:
        self.task, self.database, self.widths = task, database, widths
        self.last = task.folds - 1
        # The search fits and scores without anything of the last fold.
        self._searched = task.without_last()

    def plain(self, fold: int) -> Job:
        """Name the fit that scores the baselines on a fold."""
        return Fit(0, fold, 0), lambda: self._task(fold).plain(fold, 0)

    def network(self, settings: Mapping[str, Any], fold: int, seed: int) -> Job:
        """Name the fit of a network with some settings on a fold."""
        changes = dict(settings)
        width, layers = changes.pop("hidden_size", None), changes.pop("layers", None)
        widths = self.widths
        if width is not None or layers is not None:
            # As an estimator with these arguments would have them, whatever the widths were at first.
            widths = (width or self.task.hidden_size,) * (layers or len(widths))
        variant = json.dumps({"widths": widths, **changes}, sort_keys=True)
        fit = Fit(len(widths), fold, seed, variant)
        return fit, lambda: self._task(fold).network(widths, fold, seed, changes)

    def done(self, *jobs: Job, report: Callable[[int, int], None] | None = None) -> list[Outcome]:
        """Do what is not done yet, together with other workers.

        Args:
            jobs: the fits.
            report: is told how many of them are done, and how many are left.

        Returns:
            The outcome of each.
        """
        performs = dict(jobs)

        def tell(_: Mapping[Fit, Outcome], left: int) -> None:
            if report is not None:
                report(len(performs) - left, left)

        outcomes = work(
            self.database,
            wanted=lambda done: [fit for fit in performs if fit not in done],
            perform=lambda fit: performs[fit](),
            loss=self.task.measure.lowest_loss,
            report=tell,
        )
        return [outcomes[fit] for fit, _ in jobs]

    def _task(self, fold: int) -> FoldedTask:
        return self.task if fold == self.last else self._searched
