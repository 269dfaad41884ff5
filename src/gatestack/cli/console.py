"""What commands print: results to stdout, talk to stderr."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from gatestack.tasks.estimator import Estimator
    from gatestack.tasks.evaluation import Evaluation

__all__ = ["Talk", "print_evaluation", "print_json", "print_written", "say_depth", "write_bytes"]

_WIDTH = 100


class Talk:
    """Says on stderr what is going on, unless it is to be quiet.

    Args:
        quiet: say nothing.
    """

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet

    def say(self, text: str) -> None:
        """Write one line."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)  # noqa: T201

    @property
    def progress(self) -> bool | None:
        """What the training loop takes: None for a bar on a terminal, False for silence."""
        return False if self.quiet else None


def say_depth(estimator: Estimator, talk: Talk) -> None:
    """Say what the study of `--layers auto` found; where it found no layer worth it, the fit has warned."""
    if estimator.depth_ is not None and estimator.depth_.chosen:
        talk.say(estimator.depth_.sentence)


def print_json(values: Any) -> None:
    """Write one JSON value to stdout."""
    print(json.dumps(values, allow_nan=False, indent=2))  # noqa: T201


def write_bytes(content: bytes) -> None:
    """Write data to stdout as it is, whatever the encoding of the terminal."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def print_evaluation(evaluation: Evaluation, title: str) -> None:
    """Write the table of scores, best first in each column marked, and the sentence, to stdout."""
    from rich.console import Console

    if sys.stdout.isatty():
        console = Console(file=sys.stdout, markup=False, highlight=False)
        console.print(_table(evaluation, title))
        console.print(evaluation.sentence)
        return
    # Into a file or a pipe the table keeps its width, whatever the window, and no blanks end its lines.
    console = Console(file=io.StringIO(), markup=False, highlight=False, width=_WIDTH)
    console.print(_table(evaluation, title))
    for line in console.file.getvalue().splitlines():  # type: ignore[attr-defined]
        print(line.rstrip())  # noqa: T201
    print(evaluation.sentence)  # noqa: T201


def _table(evaluation: Evaluation, title: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    scores = evaluation.scores
    shown = {name: column for name, column in evaluation.columns.items() if name in scores.columns}
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for column in shown.values():
        table.add_column(column.label, justify="right", no_wrap=True)
    best = {name: column.best_of(scores[name]) for name, column in shown.items()}
    for row in scores.iter_rows(named=True):
        cells: list[Text] = []
        for name, column in shown.items():
            wins = row[name] is not None and row[name] == best[name]
            # The star says it without colour or bold.
            mark = "" if column.better is None else "*" if wins else " "
            cells.append(Text(f"{column.text(row[name])}{mark}", style="bold" if wins else ""))
        table.add_row(Text(row["model"]), *cells)
    return table


def print_written(root: Path, names: dict[str, str]) -> None:
    """Write the tree of what a command wrote to stdout.

    Args:
        root: the folder.
        names: path below it → what it is.
    """
    print(f"{root}/")  # noqa: T201
    width = max(map(len, names), default=0)
    for number, (name, meaning) in enumerate(names.items()):
        branch = "└──" if number == len(names) - 1 else "├──"
        print(f"{branch} {name:<{width}}  {meaning}")  # noqa: T201
