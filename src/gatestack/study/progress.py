"""The progress of a study on stderr: fits done, fits wanted, time left."""

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
        self._first: int | None = None
        self._started = time.perf_counter()

    def __enter__(self) -> FitsProgress:
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task("", total=None, text="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, outcomes: Outcomes, left: int) -> None:
        """Note how many fits are done and how many are wanted still."""
        if self._bar is None:
            return
        done = len(outcomes)
        first = self._first = done if self._first is None else self._first
        depths = sorted({fit.layers for fit in outcomes})
        text = f"depths {', '.join(map(str, depths))}" if depths else "starting"
        if done > first:
            seconds = (time.perf_counter() - self._started) / (done - first) * left
            text += f"  about {_duration(seconds)} left"
        self._bar.update(self._task, completed=done, total=done + left, text=text)
        self._bar.refresh()

    def show_trials(self, done: int, left: int) -> None:
        """Note how many trials of a search are done and how many are left."""
        if self._bar is None:
            return
        first = self._first = done if self._first is None else self._first
        text = "trials"
        if done > first:
            seconds = (time.perf_counter() - self._started) / (done - first) * left
            text += f"  about {_duration(seconds)} left"
        self._bar.update(self._task, completed=done, total=done + left, text=text)
        self._bar.refresh()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _make_bar() -> Progress:
    # Redirection would move what the caller prints to stdout over to stderr.
    return Progress(
        TextColumn("fits"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
