"""The progress of a run on stderr: a bar on a terminal, plain lines where asked for, else nothing."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

__all__ = ["ProgressReport"]

# Drawing takes about a millisecond: four times a second nobody waits, and training pays under a percent.
_SECONDS_BETWEEN_DRAWINGS = 0.25


class ProgressReport:
    """Shows loss, validation loss, steps per second and time left while the block runs.

    Args:
        steps: how many there are.
        done: how many were done in an earlier run.
        show: None draws a bar if stderr is a terminal and is silent if not; True draws the bar, or writes one
            plain line per validation if stderr is not a terminal; False is silent.

    Example:
        >>> with ProgressReport(100, 0, show=False) as report:
        ...     report.stepped(1, 0.5)
    """

    def __init__(self, steps: int, done: int, *, show: bool | None) -> None:
        on_terminal = sys.stderr.isatty()
        self._steps, self._first = steps, done
        self._lines = show is True and not on_terminal
        self._bar = _make_bar() if on_terminal and show is not False else None
        self._task = TaskID(0)
        self._validation: float | None = None
        self._started = time.perf_counter()
        self._next = self._started if self._bar else float("inf")

    def __enter__(self) -> ProgressReport:
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._steps, completed=self._first, numbers="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def stepped(self, step: int, loss: float) -> None:
        """Note one update; draws only if the last drawing is a while ago."""
        now = time.perf_counter()
        if now < self._next or self._bar is None:
            return
        self._next = now + _SECONDS_BETWEEN_DRAWINGS
        speed = (step - self._first) / max(now - self._started, 1e-9)
        self._bar.update(self._task, completed=step, numbers=self._numbers(loss, speed))
        self._bar.refresh()

    def validated(self, step: int, loss: float | None, validation: float | None) -> None:
        """Note one row of the history."""
        self._validation = validation
        if self._lines:
            speed = (step - self._first) / max(time.perf_counter() - self._started, 1e-9)
            print(f"step {step}/{self._steps}  {self._numbers(loss, speed)}", file=sys.stderr)  # noqa: T201

    def _numbers(self, loss: float | None, speed: float) -> str:
        parts = [] if loss is None else [f"loss {loss:.4g}"]
        if self._validation is not None:
            parts.append(f"validation {self._validation:.4g}")
        return "  ".join([*parts, f"{speed:.3g} steps/s"])


def _make_bar() -> Progress:
    # Redirection would move what the caller prints to stdout over to stderr.
    return Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
