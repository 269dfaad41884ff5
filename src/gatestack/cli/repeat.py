"""Commands and Python lines that do again what a study did."""

from __future__ import annotations

import importlib
import inspect
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatestack.tasks.estimator import Estimator

__all__ = ["fit_command", "given_command", "python_of"]


def given_command(name: str, study: str) -> str | None:
    """Give the command of this process as a page may show it: without the password of a URL.

    Args:
        name: of the command; None is given where another one runs, as under a test.
        study: place of the study, as it was typed.
    """
    from gatestack.study.storage import storage_name

    words = [word.replace(study, storage_name(study)) for word in sys.argv[1:]]
    return shlex.join(["gatestack", *words]) if words[:1] == [name] else None


def fit_command(
    task: str, given: Mapping[str, Any], best: Mapping[str, Any], fit: Callable[..., None]
) -> str:
    """Write the command that fits with the settings that were found.

    Args:
        task: name of the command.
        given: arguments of the search by name.
        best: settings by name.
        fit: the command; its own defaults are left out.
    """
    words = ["gatestack", "fit", task, str(given["file"])]
    for name, parameter in inspect.signature(fit).parameters.items():
        value = best.get(name, given.get(name))
        known = name in best or name in given
        left_out = name in ("file", "out", "overwrite", "as_json", "quiet", "folds") or not known
        if left_out or value is None or str(value) == str(parameter.default):
            continue
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        else:
            for part in value if isinstance(value, list | tuple) else [value]:
                words += [option, str(part)]
    return shlex.join([*words, "--out", "MODEL"])


def python_of(estimator: Estimator, best: Mapping[str, Any]) -> str:
    """Write the Python lines that make the estimator with the settings that were found.

    Args:
        estimator: as it was searched.
        best: settings by name.
    """
    from gatestack.reports.changed import changed_fields
    from gatestack.tasks.folding import with_changes
    from gatestack.tasks.forecast import CoherentForecaster

    if isinstance(estimator, CoherentForecaster):
        inner = python_of(estimator.forecaster, best).replace("model = ", "forecaster = ")
        sums = f"{list(estimator.sums)!r}, method={estimator.method!r}"
        adding = "from gatestack.tasks.forecast import CoherentForecaster\n\n"
        return f"{inner}\n\n{adding}model = CoherentForecaster(forecaster, {sums})"
    kind = type(estimator)
    own = estimator._parameters()
    home = kind.__module__.rpartition(".")[0]  # the package of the task
    architecture = importlib.import_module(home).Architecture
    defaults = {name: part.default for name, part in inspect.signature(kind).parameters.items()}
    arguments, needed = [], []
    for name, value in with_changes(own, best, architecture).items():
        if name in ("architecture", "training"):
            inner = ", ".join(f"{key}={part!r}" for key, part in changed_fields(value).items())
            if inner and name == "architecture":
                needed = [f"from {home} import Architecture"]
            if inner:
                prefix = "gs.Training" if name == "training" else "Architecture"
                arguments.append(f"{name}={prefix}({inner})")
        elif value != defaults[name]:
            arguments.append(f"{name}={value!r}")
    lines = ["import gatestack as gs", *needed, "", f"model = gs.{kind.__name__}({', '.join(arguments)})"]
    return "\n".join(lines)
