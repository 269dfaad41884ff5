"""Time of every optimiser update inside a peer's own Lightning loop."""

from __future__ import annotations

import time
from typing import Any

from pytorch_lightning import Callback

__all__ = ["StepClock"]


class StepClock(Callback):
    """Note the clock after each training batch; the differences are seconds per update.

    Everything the peer's loop does between two updates is in them: loading, hooks, starting an epoch.
    """

    def __init__(self) -> None:
        self.ticks: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Note the clock."""
        self.ticks.append(time.perf_counter())

    @property
    def seconds_per_update(self) -> list[float]:
        """Seconds from the end of each update to the end of the next."""
        return [later - earlier for earlier, later in zip(self.ticks, self.ticks[1:], strict=False)]
