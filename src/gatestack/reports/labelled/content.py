"""The words and numbers of the page."""

from __future__ import annotations

import inspect
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gatestack.reports.changed import changed_fields
from gatestack.reports.template import NO_SCORES
from gatestack.tasks.classify import ClassificationEvaluation, Classifier
from gatestack.tasks.labelled.fitted import FittedLabelled
from gatestack.tasks.regress import RegressionEvaluation, Regressor

__all__ = [
    "command_to_repeat",
    "difference_notes",
    "file_of",
    "list_facts",
    "list_mistakes",
    "list_settings",
    "python_to_repeat",
    "source_of",
    "title_of",
    "verdict_of",
]

AnyEvaluation = ClassificationEvaluation | RegressionEvaluation
AnyModel = Classifier | Regressor

_MOST_MISTAKES = 8
_PLACEHOLDER = "FILE"
# What the command line has no option for, or writes in another way.
_NESTED = ("architecture", "augmentation", "training")
_ON_THE_LINE = {
    "layers", "hidden_size", "members", "max_steps", "label_smoothing", "seed", "recipe", "cell", "crop",
    "jitter", "batch_size", "learning_rate", "weight_decay", "device", "dropout", "variational_dropout",
    "recurrent_dropout", "zoneout", "layer_norm",
}  # fmt: skip


def title_of(model: AnyModel) -> str:
    """Name the model and its data."""
    fitted = model.fitted_
    name = Path(fitted.source).stem if file_of(fitted) else "series"
    return f"{name}: {fitted.classes} classes" if fitted.classes else f"{name}: a number for each"


def source_of(data: Any) -> str | None:
    """Give the path that was passed, or None."""
    return str(data) if isinstance(data, str | Path) else None


def file_of(fitted: FittedLabelled) -> str | None:
    """Give the file of the fit, or None where it had another source."""
    return fitted.source if "." in fitted.source else None


def verdict_of(evaluation: AnyEvaluation | None) -> dict[str, str]:
    """Say in a few words and a sentence how the model stands; `kind` is none, wins, loses or open."""
    if evaluation is None:
        return NO_SCORES
    worst = min(_gains(evaluation).values(), key=lambda gain: gain[0])
    text = evaluation.sentence.removeprefix("The model loses: ")
    text = text[:1].upper() + text[1:]
    if worst[1] is not None and worst[1] > 0:
        return {"kind": "wins", "mark": "Better than every baseline", "text": text}
    if evaluation.sentence.startswith("The model loses"):
        return {"kind": "loses", "mark": "The model loses", "text": text}
    return {"kind": "open", "mark": "Not proven better", "text": text}


def _gains(evaluation: AnyEvaluation) -> dict[str, tuple[float, float | None, float | None]]:
    """Baseline → gain of the model, with its bounds."""
    if isinstance(evaluation, ClassificationEvaluation):
        return {name: (found.value, found.low, found.high) for name, found in evaluation.difference.items()}
    return {name: (found.value, found.low, found.high) for name, found in evaluation.skill.items()}


def difference_notes(evaluation: AnyEvaluation | None) -> dict[str, str] | None:
    """Give the text of the last column: how much better the model is than each baseline."""
    if evaluation is None:
        return None
    unit = " points" if isinstance(evaluation, ClassificationEvaluation) else " %"
    notes = {}
    for name, (value, low, high) in _gains(evaluation).items():
        text = f"{100 * value:+.1f}{unit}" if np.isfinite(value) else "–"
        bounds = "" if low is None or high is None else f" ({100 * low:+.1f} to {100 * high:+.1f})"
        notes[name] = text + bounds
    return notes


def list_facts(model: AnyModel) -> dict[str, str]:
    """Say what the data of the fit is."""
    fitted = model.fitted_
    training = fitted.training
    lengths = training.lengths
    steps = f"{lengths[0]:,}" if lengths.min() == lengths.max() else f"{lengths.min():,} to {lengths.max():,}"
    missing = 0 if training.observed is None else int((~training.observed).sum())
    total = training.values.size
    facts = {
        "source": fitted.source,
        "cases": f"{len(training):,}",
        "steps of a case": steps,
        "channels": f"{training.num_features:,}"
        + (f": {', '.join(training.names[:12])}" if training.names else ""),
        "missing values": f"{missing:,} of {total:,} ({100 * missing / max(total, 1):.1f} %)",
    }
    if isinstance(model, Classifier):
        count = np.bincount(fitted.answers.astype(np.int64), minlength=len(model.classes_))
        listed = [f"{name}: {number:,}" for name, number in zip(model.classes_, count, strict=True)]
        facts["classes"] = ", ".join(listed[:20]) + (" …" if len(listed) > 20 else "")
    else:
        numbers = fitted.answers.astype(np.float64)
        facts["target"] = f"{numbers.min():.4g} to {numbers.max():.4g}, mean {numbers.mean():.4g}"
    return facts


def list_mistakes(evaluation: AnyEvaluation | None) -> dict[str, Any]:
    """Give the worst cases: those of whose wrong class the model was surest, or those it missed by most."""
    if evaluation is None:
        return {"heads": [], "rows": [], "left": 0}
    table = evaluation.predictions
    if isinstance(evaluation, ClassificationEvaluation):
        shares = table.select(pl.col("^probability-.*$"))
        sure = pl.Series("sure", shares.to_numpy().max(axis=1))
        wrong = table.with_columns(sure).filter(pl.col("truth") != pl.col("predicted"))
        worst = wrong.sort("sure", descending=True).head(_MOST_MISTAKES)
        rows = [
            [str(row["case"]), row["truth"], row["predicted"], f"{row['sure']:.3f}"]
            for row in worst.iter_rows(named=True)
        ]
        heads = ["case", "truth", "named", "probability"]
        return {"heads": heads, "rows": rows, "left": wrong.height - len(rows)}
    missed = table.with_columns(error=(pl.col("predicted") - pl.col("truth")).abs())
    worst = missed.sort("error", descending=True).head(_MOST_MISTAKES)
    rows = [
        [str(row["case"]), *(f"{row[name]:.4g}" for name in ("truth", "predicted", "error"))]
        for row in worst.iter_rows(named=True)
    ]
    return {"heads": ["case", "truth", "predicted", "error"], "rows": rows, "left": 0}


def list_settings(model: AnyModel) -> dict[str, str]:
    """Give every setting, and what was found for those that were left open."""
    fitted = model.fitted_
    values: dict[str, Any] = model.get_params(deep=False)  # type: ignore[no-untyped-call]
    inner: dict[str, Any] = dict(fitted.architecture.to_dict())
    for name in ("architecture", "augmentation", "training"):
        value = values.pop(name)
        if value is not None and name != "architecture":
            inner |= asdict(value) if name == "augmentation" else value.model_dump(exclude_unset=True)
    shape = fitted.members[0].network.shape
    values |= {"layers": ", ".join(map(str, shape.widths)) + " units, lowest first"}
    values |= {"max_steps": fitted.members[0].record.steps}
    values.pop("hidden_size")
    if isinstance(model, Classifier):
        values["temperature"] = f"{fitted.temperature:.3g}"
    weights = sum(tensor.numel() for tensor in fitted.members[0].network.parameters())
    shown = {name: _text(value) for name, value in (inner | values).items()}
    return {name.replace("_", " "): text for name, text in sorted(shown.items())} | {
        "weights of a member": f"{weights:,}"
    }


def command_to_repeat(model: AnyModel, source: str | None) -> str | None:
    """Write the command that fits this model; None where a setting has no option on the command line."""
    words = ["gatestack", "fit", model.task, source or _PLACEHOLDER]
    columns = model.fitted_.columns
    for role in ("label", "case", "time"):
        if columns is not None and getattr(columns, role) is not None and _is_table(source):
            words += [f"--{role}", getattr(columns, role)]
    for name, value in _flat(_changed(model)).items():
        if name == "calibration":
            words.append("--calibrate")
        elif name == "layer_norm":
            words.append("--layer-norm")
        elif name == "class_weight" and value == "balanced":
            words += ["--class-weight", "balanced"]
        elif name not in _ON_THE_LINE:
            return None
        else:
            text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    return shlex.join([*words, "--out", "MODEL"])


def python_to_repeat(model: AnyModel, source: str | None) -> str:
    """Write the Python lines that fit this model."""
    changed = _changed(model)
    arguments = []
    for name, value in changed.items():
        shown = repr(value)
        if name in _NESTED:
            inner = ", ".join(f"{key}={item!r}" for key, item in changed_fields(value).items())
            shown = f"{'gs.' if name == 'training' else ''}{type(value).__name__}({inner})"
        arguments.append(f"{name}={shown}")
    needed = sorted(
        type(changed[name]).__name__ for name in changed if name in ("architecture", "augmentation")
    )
    lines = ["import gatestack as gs"]
    lines += [f"from gatestack.tasks.{model.task} import {', '.join(needed)}"] if needed else []
    columns = model.fitted_.columns
    given = [
        f"{role}={getattr(columns, role)!r}"
        for role in ("label", "case", "time")
        if columns is not None and getattr(columns, role) is not None and _is_table(source)
    ]
    data = repr(source or _PLACEHOLDER)
    if given:
        targets = [] if model.task == "classify" else ["kind='numbers'"]
        data = f"gs.data.read_labelled({', '.join([data, *targets, *given])})"
    return "\n".join(
        [*lines, "", f"model = gs.{type(model).__name__}({', '.join(arguments)})", f"model.fit({data})"]
    )


def _is_table(source: str | None) -> bool:
    return source is not None and Path(source).suffix.lower() not in (".ts", ".arff")


def _changed(model: AnyModel) -> dict[str, Any]:
    """Give the arguments that differ from their defaults."""
    defaults = {name: given.default for name, given in inspect.signature(type(model)).parameters.items()}
    values: dict[str, Any] = model.get_params(deep=False)  # type: ignore[no-untyped-call]
    return {name: value for name, value in values.items() if value is not None and value != defaults[name]}


def _flat(changed: dict[str, Any]) -> dict[str, Any]:
    """Put the fields of nested options beside the others."""
    flat: dict[str, Any] = {}
    for name, value in changed.items():
        flat |= changed_fields(value) if name in _NESTED else {name: value}
    return flat


def _text(value: object) -> str:
    if isinstance(value, bool | None):
        return {True: "yes", False: "no", None: "none"}[value]
    return ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)
