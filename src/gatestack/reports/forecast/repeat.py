"""How to repeat a fit: the command and the Python lines."""

from __future__ import annotations

import inspect
import shlex
from typing import Any

from gatestack.reports.changed import changed_fields
from gatestack.tasks.forecast import CoherentForecaster, Forecaster

__all__ = ["command_to_repeat", "python_to_repeat"]

# Parameters of the Forecaster, and of the objects in it, that the command has an option for.
_OPTIONS = ("layers", "hidden_size", "window", "season", "calendar", "mode", "intervals", "max_steps", "seed")
_ARCHITECTURE_OPTIONS = (
    "cell", "distribution", "dropout", "variational_dropout", "recurrent_dropout", "zoneout", "layer_norm",
    "scaling",
)  # fmt: skip
_TRAINING_OPTIONS = ("batch_size", "learning_rate", "weight_decay", "patience", "device")
_PLACEHOLDER = "FILE"


def command_to_repeat(
    model: Forecaster, source: str | None, sums: CoherentForecaster | None = None
) -> str | None:
    """Write the command that fits this model.

    Args:
        model: fitted.
        source: the file; None writes `FILE`.
        sums: what makes its forecasts add up, or None.

    Returns:
        One line, or None where a setting has no option on the command line.
    """
    words = ["gatestack", "fit", "forecast", source or _PLACEHOLDER]
    columns = model.fitted_.tail.columns
    words += ["--target", columns.target, "--time", columns.time]
    if columns.series is not None:
        words += ["--series", columns.series]
    for role in ("past", "future", "static"):
        for name in getattr(columns, role):
            words += [f"--{role}", name]
    if sums is not None:
        words += ["--sums", ",".join(sums.sums) or "total", "--add-up-by", sums.method]
    words += ["--horizon", str(model.horizon)]
    changed = _changed(model)
    for name in ("architecture", "training"):
        changed |= changed_fields(changed.pop(name, None))
    for name, value in changed.items():
        if name not in _OPTIONS + _ARCHITECTURE_OPTIONS + _TRAINING_OPTIONS:
            return None
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
            continue
        for text in _texts(name, value):
            words += [f"--{name.replace('_', '-')}", text]
    return shlex.join([*words, "--out", "MODEL"])


def python_to_repeat(model: Forecaster, source: str | None, sums: CoherentForecaster | None = None) -> str:
    """Write the Python lines that fit this model; `sums` makes its forecasts add up, or is None."""
    columns = model.fitted_.tail.columns
    changed = _changed(model)
    arguments = [str(model.horizon)]
    needed = []
    for name, value in changed.items():
        if name in ("architecture", "training"):
            kind = type(value).__name__
            inner = ", ".join(f"{key}={item!r}" for key, item in changed_fields(value).items())
            arguments.append(
                f"{name}={kind}({inner})" if kind == "Architecture" else f"{name}=gs.{kind}({inner})"
            )
            needed += ["Architecture"] * (kind == "Architecture")
        else:
            arguments.append(f"{name}={value!r}")
    roles = [
        f"{role}={getattr(columns, role)!r}"
        for role in ("target", "time", "series")
        if getattr(columns, role)
    ]
    roles += [
        f"{role}={list(getattr(columns, role))!r}"
        for role in ("past", "future", "static")
        if getattr(columns, role)
    ]
    lines = ["import gatestack as gs"]
    made = f"gs.Forecaster({', '.join(arguments)})"
    if sums is not None:
        needed.append("CoherentForecaster")
        made = f"CoherentForecaster({made}, {list(sums.sums)!r}, method={sums.method!r})"
    lines += [f"from gatestack.tasks.forecast import {', '.join(needed)}"] if needed else []
    return "\n".join(
        [
            *lines,
            "",
            f"model = {made}",
            f"model.fit({source or _PLACEHOLDER!r}, {', '.join(roles)})",
        ]
    )


def _changed(model: Forecaster) -> dict[str, Any]:
    """Give the arguments that differ from their defaults, but for the horizon."""
    defaults = {
        name: parameter.default for name, parameter in inspect.signature(Forecaster).parameters.items()
    }
    given: dict[str, Any] = model.get_params(deep=False)  # type: ignore[no-untyped-call]
    return {name: value for name, value in given.items() if name != "horizon" and value != defaults[name]}


def _texts(name: str, value: Any) -> list[str]:
    if isinstance(value, list | tuple):
        if name == "calendar":
            return [str(item) for item in value]
        return [",".join(str(item) for item in value) + ("," if len(value) == 1 else "")]
    return ["none" if value is None else str(value)]
