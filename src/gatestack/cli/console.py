"""What commands print: results to stdout, talk to stderr."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

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
    """Write the table of scores, best first in each column marked, and the sentence, to stdout.

    A row per model, or a column per model where the scores are more than the width takes.
    """
    from rich.console import Console

    if sys.stdout.isatty():
        console = Console(file=sys.stdout, markup=False, highlight=False)
        console.print(_fitting_table(console, evaluation, title))
        console.print(evaluation.sentence)
        return
    # Into a file or a pipe the table keeps its width, whatever the window, and no blanks end its lines.
    console = Console(file=io.StringIO(), markup=False, highlight=False, width=_WIDTH)
    console.print(_fitting_table(console, evaluation, title))
    for line in console.file.getvalue().splitlines():  # type: ignore[attr-defined]
        print(line.rstrip())  # noqa: T201
    print(evaluation.sentence)  # noqa: T201


def _fitting_table(console: Console, evaluation: Evaluation, title: str) -> Table:
    rows = _cells(evaluation)
    table = _table(rows, title)
    # Measured on a wide console: nothing is wider than the console it is measured on.
    if console.measure(table, options=console.options.update(width=10_000)).maximum <= console.width:
        return table
    return _table([list(row) for row in zip(*rows, strict=True)], title)


def _table(rows: list[list[Text]], title: str) -> Table:
    """Make a table whose first row is the head."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _cells(evaluation: Evaluation) -> list[list[Text]]:
    """Give the names of the scores, then a row per model that begins with its name."""
    from rich.text import Text

    scores = evaluation.scores
    shown = {name: column for name, column in evaluation.columns.items() if name in scores.columns}
    best = {name: column.best_of(scores[name]) for name, column in shown.items()}
    rows = [[Text("model"), *(Text(column.label) for column in shown.values())]]
    for row in scores.iter_rows(named=True):
        rows.append([Text(row["model"])])
        for name, column in shown.items():
            wins = row[name] is not None and row[name] == best[name]
            # The star says it without colour or bold.
            mark = "" if column.better is None else "*" if wins else " "
            rows[-1].append(Text(f"{column.text(row[name])}{mark}", style="bold" if wins else ""))
    return rows


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
