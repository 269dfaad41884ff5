"""The reference page of the command line, from its own help: `python -m gatestack.cli.reference > PAGE`."""

from __future__ import annotations

import sys
from typing import Any

import typer

from gatestack.cli.main import app

__all__ = ["reference_page"]

_WIDTH = 96
_OPENING = """# The command line

Written by `python -m gatestack.cli.reference` from the help of the commands; a test compares the two. What
they do stands in the [guide](forecast.md); the same from Python is in the
[reference of the forecaster](../reference/forecast.md).

Data goes to stdout, talk and progress to stderr. `--json` writes JSON for programs. Exit codes: 0 done,
1 failed (training, disk, memory), 2 the command line or the data must change, 130 interrupted by Ctrl-C.
"""


def reference_page() -> str:
    """Make the page from the help of every command.

    Example:
        >>> reference_page().splitlines()[0]
        '# The command line'
    """
    parts = [_OPENING, *_help_of(typer.main.get_command(app), "gatestack", None)]
    return "\n".join(parts)


def _help_of(command: Any, name: str, parent: Any) -> list[str]:
    context = command.make_context(
        name.rsplit(" ", 1)[-1], [], parent=parent, resilient_parsing=True, terminal_width=_WIDTH
    )
    # Trailing blanks are the formatter's; the page has none.
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    parts = [f"## {name}\n\n```\n{text}\n```\n"]
    for child in command.list_commands(context) if hasattr(command, "list_commands") else ():
        parts += _help_of(command.get_command(context, child), f"{name} {child}", context)
    return parts


if __name__ == "__main__":
    sys.stdout.write(reference_page())
