"""The words and numbers of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from gatestack.data.series_table import SeriesTable
from gatestack.reports.forecast.material import Material
from gatestack.reports.template import NO_SCORES
from gatestack.tasks.forecast import (
    CoherentEvaluation,
    CoherentForecaster,
    Forecaster,
    ForecastEvaluation,
    recency,
)
from gatestack.tasks.forecast.hierarchy.evaluation import INCOHERENT

__all__ = [
    "check_recency",
    "interval_kind",
    "list_facts",
    "list_gaps",
    "list_intervals",
    "list_settings",
    "list_sums",
    "skill_notes",
    "verdict_of",
]

_MOST_GAPS = 10


def verdict_of(evaluation: ForecastEvaluation | None) -> dict[str, str]:
    """Say in a few words and a sentence how the model stands; `kind` is none, wins, loses or open."""
    if evaluation is None:
        return NO_SCORES
    worst = min(evaluation.skill.values(), key=lambda skill: skill.value)
    if evaluation.copying.copies:
        return {"kind": "loses", "mark": "The last value in disguise", "text": evaluation.sentence}
    if worst.low is not None and worst.low > 0:
        return {"kind": "wins", "mark": "Better than every baseline", "text": evaluation.sentence}
    if worst.high is not None and worst.high < 0:
        text = evaluation.sentence.removeprefix("The model loses: ")
        return {"kind": "loses", "mark": "The model loses", "text": text[:1].upper() + text[1:]}
    return {"kind": "open", "mark": "Not proven better", "text": evaluation.sentence}


def skill_notes(evaluation: ForecastEvaluation | None) -> dict[str, str]:
    """Say of each baseline how much lower the error of the model is, with its interval."""
    skills = {} if evaluation is None else dict(evaluation.skill)
    if isinstance(evaluation, CoherentEvaluation):
        skills[INCOHERENT] = evaluation.against_incoherent
    return {name: _skill_text(skill.value, skill.low, skill.high) for name, skill in skills.items()}


def list_intervals(evaluation: ForecastEvaluation | None) -> list[dict[str, str]]:
    """Say of each interval how often it held the truth and how wide it was, widest last."""
    if evaluation is None:
        return []
    return [
        {
            "level": f"{row['level']:g} %",
            "held": _of_steps(row, "coverage", lambda share: f"{100 * share:.1f} %"),
            "width": _of_steps(row, "width", lambda width: f"{width:.4g}"),
        }
        for row in evaluation.intervals.iter_rows(named=True)
    ]


def interval_kind(model: Forecaster) -> str:
    """Say where the intervals come from."""
    corrected = "corrected by the model's errors on a part of the data that trained nothing"
    words = {
        "model": "as the model learned them",
        "conformal": corrected,
        "adaptive": f"{corrected}, and go on learning from what comes true",
    }
    return f"The intervals are {words[model.intervals]}."


def _of_steps(row: dict[str, Any], name: str, text: Callable[[float], str]) -> str:
    """Write a number of all steps, then those of the first and the last."""
    whole, first, last = (
        "–" if row[key] is None else text(row[key]) for key in (name, f"{name}_first", f"{name}_last")
    )
    return whole if first == last == whole else f"{whole} ({first}, {last})"


def _skill_text(value: float, low: float | None, high: float | None) -> str:
    text = f"{100 * value:+.1f} %"
    return text if low is None or high is None else f"{text} ({100 * low:+.1f} to {100 * high:+.1f})"


def list_facts(model: Forecaster, material: Material, *, whole: bool) -> dict[str, str]:
    """Say what the data is."""
    table = material.table
    lengths = np.diff(table.sequences.offsets)
    observed = table.sequences.observed
    missing = 0 if observed is None else int((~observed[:, 0]).sum())
    total = int(lengths.sum())
    steps = (
        f"{total:,}"
        if len(lengths) == 1
        else f"{total:,}, from {lengths.min():,} to {lengths.max():,} in a series"
    )
    first = table.time_kind.to_series(table.times.min(keepdims=True), "first")[0]
    last = table.time_kind.to_series(table.times.max(keepdims=True), "last")[0]
    facts = {
        "shown": "all data" if whole else "the last steps, which the model keeps",
        "source": table.source,
        "series": f"{len(lengths):,}",
        "steps": steps,
        "from, to": f"{first} to {last}",
        "frequency": table.frequency.label,
        "gaps in time": f"{table.gaps.height:,}" if whole else "not kept in the model",
        "missing values of the target": f"{missing:,} of {total:,} ({100 * missing / total:.1f} %)",
    }
    for role in ("past", "future", "static"):
        if names := getattr(table.columns, role):
            facts[f"{role} columns"] = ", ".join(_with_categories(table, name) for name in names)
    if model.fitted_.calendar:
        facts["calendar features"] = ", ".join(model.fitted_.calendar)
    return facts


def _with_categories(table: SeriesTable, name: str) -> str:
    found = table.categories.get(name)
    return name if found is None else f"{name} ({len(found):,} categories)"


def list_settings(model: Forecaster) -> dict[str, str]:
    """Give every setting, and what was found in the data for those that were left open."""
    shape = model.fitted_.network.shape
    values: dict[str, Any] = model.get_params(deep=False)  # type: ignore[no-untyped-call]
    found = {
        "window": f"{shape.window} steps" + (" (found)" if model.window is None else ""),
        "season": (", ".join(map(str, shape.seasons)) or "none")
        + (" (found)" if model.season == "auto" else ""),
        "layers": ", ".join(f"{width}" for width in shape.widths) + " units, lowest first",
    }
    inner: dict[str, Any] = {}
    for name in ("architecture", "training"):
        value = values.pop(name)
        if value is not None:
            inner |= value.to_dict() if name == "architecture" else value.model_dump()
    values.pop("hidden_size")
    parameters = sum(tensor.numel() for tensor in model.fitted_.network.parameters())
    shown = {name: _text(value) for name, value in (inner | values).items()} | found
    return {name.replace("_", " "): text for name, text in sorted(shown.items())} | {
        "weights": f"{parameters:,}"
    }


def list_sums(model: CoherentForecaster) -> dict[str, str]:
    """Say which totals there are and how they are made to add up."""
    levels = Counter(model.hierarchy_.levels)
    return {
        "add up by": model.method,
        "levels": ", ".join(f"{level} ({count:,})" for level, count in levels.items()),
    }


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return (
        {True: "yes", False: "no", None: "none"}.get(value, str(value))
        if isinstance(value, bool | None)
        else str(value)
    )


def list_gaps(table: SeriesTable) -> dict[str, Any]:
    """Give the longest gaps, in order of time, and how many more there are."""
    if not table.gaps.height:
        return {"rows": [], "left": 0}
    longest = table.gaps.with_row_index().top_k(_MOST_GAPS, by="missing_steps").sort("index").drop("index")
    return {"rows": longest.rows(), "left": table.gaps.height - longest.height}


def check_recency(model: Forecaster) -> dict[str, Any]:
    """See whether the first step ahead moves with the last observation."""
    lags = min(3, int(np.diff(model.fitted_.tail.sequences.offsets).min()))
    found = recency(model, lags=lags)
    return {"reacts": found.reacts, "response": f"{found.response[0, 0]:.2f}"}
