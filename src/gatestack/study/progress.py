"""The progress of a study on stderr: what is done, what is wanted, time left."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from gatestack.study.work import Outcomes

__all__ = ["FitsProgress"]


class FitsProgress:
    """Shows how far a study is while the block runs.

    How many fits a study takes is known only as far as the depths that are looked at now; the time left is
    for these, at the speed of this worker and all others so far.

    Args:
        show: None draws a bar if stderr is a terminal; False is silent.

    Example:
        >>> with FitsProgress(show=False) as bar:
        ...     bar.show({}, 3)
    """

    def __init__(self, *, show: bool | None) -> None:
        self._bar = _make_bar() if sys.stderr.isatty() and show is not False else None
        self._task = TaskID(0)
        self._unit = ""
        self._first: int | None = None
        self._started = time.perf_counter()

    def __enter__(self) -> FitsProgress:
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task("", total=None, unit="", text="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, outcomes: Outcomes, left: int) -> None:
        """Note how many fits are done and how many are wanted still."""
        depths = sorted({fit.layers for fit in outcomes})
        text = f"depths {', '.join(map(str, depths))}" if depths else "starting"
        self._update("fits", len(outcomes), left, text)

    def show_count(self, unit: str, done: int, left: int) -> None:
        """Note how many of something are done and how many are left.

        Args:
            unit: what is counted; the time left is for these.
            done: by all workers.
            left: to do.
        """
        if self._bar is None:
            return
        if unit != self._unit:
            self._unit, self._first, self._started = unit, None, time.perf_counter()
        self._update(unit, done, left, "")

    def _update(self, unit: str, done: int, left: int, text: str) -> None:
        if self._bar is None:
            return
        first = self._first = done if self._first is None else self._first
        if done > first:
            seconds = (time.perf_counter() - self._started) / (done - first) * left
            text += f"  about {_duration(seconds)} left"
        self._bar.update(self._task, completed=done, total=done + left, unit=unit, text=text)
        self._bar.refresh()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _make_bar() -> Progress:
    # Redirection would move what the caller prints to stdout over to stderr.
    return Progress(
        TextColumn("{task.fields[unit]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
