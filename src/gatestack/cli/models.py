"""Reading the model folder that a command works on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatestack.errors import ArgumentError

if TYPE_CHECKING:
    from gatestack.tasks.estimator import Estimator

__all__ = ["FORECASTERS", "load_estimator", "refuse_foreign"]

FORECASTERS = ("forecaster", "coherent forecaster")
"""Kinds of models that forecast."""


def load_estimator(path: Path, command: str) -> Any:
    """Read a model folder that `gatestack fit` wrote.

    Args:
        path: the folder.
        command: that needs it, for the message.

    Returns:
        The estimator, fitted. Its class is known at run time only, and so are the options of its methods.

    Raises:
        ModelFileError: the folder cannot be read.
        ArgumentError: it holds a network without a task.
    """
    from gatestack.tasks import load
    from gatestack.tasks.estimator import Estimator

    model = load(path)
    if not isinstance(model, Estimator):
        raise ArgumentError(
            f"it holds a network without a task, which `gatestack {command}` cannot use",
            where=str(path),
            expected="a folder that `gatestack fit` wrote",
            hint="gatestack.load(folder).predict(array) runs it; `gatestack export` writes it",
        )
    return model


def refuse_foreign(model: Estimator, options: Mapping[str, object], *, kind: str | tuple[str, ...]) -> None:
    """Raise where options were given that only other kinds of models have.

    Args:
        model: that the command works on.
        options: those that were given, by name.
        kind: the only one that has them, or several.

    Raises:
        ArgumentError: there are such options, and the model is of another kind.
    """
    kinds = (kind,) if isinstance(kind, str) else kind
    if options and model.kind not in kinds:
        raise ArgumentError(
            f"--{next(iter(options)).replace('_', '-')} was given, and the model is a {model.kind}",
            expected=f"a {' or '.join(kinds)} for this option",
            hint="leave it out",
        )
