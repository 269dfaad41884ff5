"""The class of every command: grouped help, errors without a traceback, exit codes, broken pipes.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed: training, disk, memory, a closed pipe |
| 2 | the command line or the data must change |
| 130 | interrupted by Ctrl-C |
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from gatestack.errors import ArgumentError, DataError, GatestackError, ModelFileError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FAILED", "INTERRUPTED", "USAGE", "Command", "Group", "error_text"]

FAILED, USAGE, INTERRUPTED = 1, 2, 130

_THE_USER_CAN_MEND_IT = (ArgumentError, DataError, ModelFileError)


class Command(TyperCommand):
    """A command whose options stand in groups and whose errors are short."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options group by group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                title = "Arguments" if param.param_type_name == "argument" else "Options"
                groups.setdefault(getattr(param, "rich_help_panel", None) or title, []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def invoke(self, ctx: Any) -> Any:
        """Run the command and turn every expected failure into a message and an exit code."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except GatestackError as error:
            _say(error_text(error, (param.name for param in self.params)))
            raise typer.Exit(USAGE if isinstance(error, _THE_USER_CAN_MEND_IT) else FAILED) from None
        except KeyboardInterrupt:
            _say("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except (MemoryError, RuntimeError) as error:
            if not _lacks_memory(error):
                raise
            _say(
                "error: there is not enough memory\n\n"
                "hint: a smaller --hidden-size, --batch-size or --window needs less"
            )
            raise typer.Exit(FAILED) from None
        except OSError as error:
            # Everything else that reads or writes raises a GatestackError; what is left is our own output.
            _close_stdout()
            if error.errno != errno.EPIPE:
                _say(f"error: the output: cannot write: {error.strerror or error}")
            raise typer.Exit(FAILED) from None
        return result


_ORDER = (
    "demo",
    "depth",
    "tune",
    "fit",
    "predict",
    "evaluate",
    "update",
    "inspect",
    "report",
    "import",
    "export",
    "verify",
    "doctor",
    "bench",
)


class Group(TyperGroup):
    """A group of commands, listed in the order of the work."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name the commands in the order in which one needs them."""
        return sorted(
            super().list_commands(ctx), key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER)
        )

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  (the caller gives both)
        """Write the help as it stands: its lines are broken by hand."""
        text = inspect.cleandoc(self.help or "")
        formatter.write_paragraph()
        with formatter.indentation():
            for line in text.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}".rstrip() + "\n")


def error_text(error: GatestackError, options: Iterable[str | None] = ()) -> str:
    """Write an error for a reader of the command line.

    Args:
        error: the error.
        options: names of the parameters of the command; where the hint names one as in Python
            (`short_series='skip'`), it is written as on the command line (`--short-series skip`).

    Example:
        >>> print(error_text(DataError("too short", hint="pass short_series='skip'"), ["short_series"]))
        error: too short
        <BLANKLINE>
        hint: pass --short-series skip
    """
    text = str(error)
    for name in filter(None, options):
        value = rf"\b{name}=(?:'([^'\n]*)'|(\d+)|True)?"
        option = f"--{name.replace('_', '-')}"
        text = re.sub(value, lambda found, o=option: " ".join(filter(None, [o, found[1], found[2]])), text)  # type: ignore[misc]
    return f"error: {text}"


def _lacks_memory(error: BaseException) -> bool:
    """Tell a want of memory from other failures; on the CPU torch says it with a plain RuntimeError."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def _say(text: str) -> None:
    # A closed stderr must not hide the exit code.
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def _close_stdout() -> None:
    """Send what is still buffered nowhere, so that Python does not complain about it at its end."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
