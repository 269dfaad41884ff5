"""A task whose scores are made up: which depth is the right one is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gatestack.study import FoldedTask, Measure, Outcome


class MadeUp(FoldedTask):
    """Scores by depth, with differences between folds and little noise between seeds.

    Args:
        levels: depth → mean score; depth 0 for the better of two plain answers.
        training: depth → score on the training part.
        measure: of the scores.
        before: is called before each fit with its depth.
        folds: number of folds.
        worth: name of a changed setting → what one unit of it adds to the score.
    """

    def __init__(
        self,
        levels: Mapping[int, float],
        *,
        training: Mapping[int, float] | None = None,
        measure: Measure | None = None,
        before: Callable[[int], None] | None = None,
        folds: int = 5,
        worth: Mapping[str, float] | None = None,
    ) -> None:
        self.levels, self.trained, self.before = levels, training or levels, before
        self.measure = measure or Measure(name="mase", label="MASE")
        self.worth = worth or {}
        self.folds, self.test_share = folds, 0.25
        self.features, self.directions, self.hidden_size = 3, 1, 8
        self.identity = {"levels": {str(depth): level for depth, level in levels.items()}}
        self.fitted: list[tuple[int, int, int]] = []

    def plain(self, fold: int, seed: int) -> Outcome:
        self._note(0, fold, seed)
        score = self._score(self.levels[0], 0, fold, seed)
        return Outcome(scores={"last_value": score + 1.0, "linear": score}, seconds=0.01)

    def network(
        self, widths: tuple[int, ...], fold: int, seed: int, changes: Mapping[str, Any] | None = None
    ) -> Outcome:
        layers = len(widths)
        self._note(layers, fold, seed)
        level = self.levels[layers] + sum(
            self.worth.get(name, 0.0) * float(x) for name, x in (changes or {}).items()
        )
        return Outcome(
            scores={"gatestack": self._score(level, layers, fold, seed)},
            seconds=float(layers),
            training=self._score(self.trained[layers], layers, fold, seed),
            parameters=100 * layers * widths[0],
            step_ms=0.1 * layers,
            step_bytes=400 * layers * widths[0],
        )

    def _note(self, layers: int, fold: int, seed: int) -> None:
        if self.before is not None:
            self.before(layers)
        self.fitted.append((layers, fold, seed))

    def _score(self, level: float, layers: int, fold: int, seed: int) -> float:
        random = np.random.default_rng((layers, fold, seed))
        return level + 0.05 * (fold - 2) + 0.002 * float(random.normal())
