"""The page of a detector: scores, the series with its alarms, the list of alarms, training."""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path
from typing import Any

import polars as pl

from gatestack.reports.changed import changed_fields
from gatestack.reports.detect.figures import MOST_CHANNELS, draw_alarms, series_shown
from gatestack.reports.learning_curve import draw_learning_curve, learning_caption
from gatestack.reports.svg import Picture, inline_svg, report_style
from gatestack.reports.template import NO_SCORES, Scored, fill_template
from gatestack.tasks.detect import AnomalyDetector, DetectionEvaluation
from gatestack.tasks.detect.alarms import CalibratedRule
from gatestack.tasks.detect.fitted import FittedDetector
from gatestack.tasks.evaluation import MODEL

__all__ = ["render_page"]

_MOST_ALARMS = 50
_PLACEHOLDER = "FILE"
_KINDS = {"architecture": "Architecture", "training": "gs.Training"}
_ON_THE_LINE = {
    "method", "layers", "hidden_size", "window", "false_alarms_per_day", "threshold", "quiet", "max_steps",
    "seed", "dropout", "variational_dropout", "recurrent_dropout", "zoneout", "layer_norm", "learning_rate",
    "weight_decay",
}  # fmt: skip
_BASELINES = {
    "moving_z_score": "distance from the mean of the last ten windows, in their deviations",
    "seasonal_residual": "difference from the value one season before, or from the last value",
    "isolation_forest": "isolation forest on windows of eight steps",
}


def render_page(
    model: AnomalyDetector,
    *,
    evaluation: DetectionEvaluation | None,
    data: Any,
    scored: Scored,  # noqa: ARG001  (a detector is always scored after its training part)
) -> str:
    """Make the page as text; see `gatestack.reports.report`."""
    fitted = model.fitted_
    found = None if data is None else model.predict_frame(data)
    raised = pl.DataFrame() if found is None else found.filter(pl.col("alarm"))
    source = str(data) if isinstance(data, str | Path) else None
    with report_style():
        series = None
        if found is not None:
            part = series_shown(fitted, found)
            caption = _caption(fitted, part)
            series = Picture(inline_svg(draw_alarms(fitted, part), name="alarms", label=caption), caption)
        curve = learning_caption(fitted.record)
        learning = Picture(
            inline_svg(draw_learning_curve(fitted.record, "loss"), name="learning", label=curve), curve
        )
    return fill_template(
        "detect/template.html.jinja",
        evaluation,
        title=f"{Path(fitted.source).stem}: anomalies in {', '.join(fitted.channels)}",
        verdict=_verdict(evaluation),
        baselines=_BASELINES,
        series=series,
        learning=learning,
        alarm_columns=[*([fitted.columns.series] if fitted.columns.series else []), "time", "score", "what"],
        alarms=_alarm_rows(raised, fitted.columns.series, fitted.columns.time),
        left=max(0, raised.height - _MOST_ALARMS),
        looked=found is not None,
        facts=_facts(model),
        record=fitted.record,
        settings=_settings(model),
        command=_command(model, source),
        python=_python(model, source),
    )


def _verdict(evaluation: DetectionEvaluation | None) -> dict[str, str]:
    if evaluation is None:
        return NO_SCORES
    scores = evaluation.scores
    own = scores.filter(pl.col("model") == MODEL)["nab"][0]
    best = max(scores.filter(pl.col("model") != MODEL)["nab"])
    kind, mark = ("open", "Above every baseline here") if own > best else ("loses", "The detector loses")
    return {"kind": kind, "mark": mark, "text": evaluation.sentence}


def _caption(fitted: FittedDetector, part: pl.DataFrame) -> str:
    key, channels = fitted.columns.series, len(fitted.channels)
    which = "" if key is None else f"series {part[key][0]}, the one with the most alarms: "
    some = (
        f"the first {MOST_CHANNELS} of {channels} channels" if channels > MOST_CHANNELS else "what was seen"
    )
    text = f"{which}{some}, with the alarms; below, the score of each step"
    threshold = " and the threshold" if isinstance(fitted.rule, CalibratedRule) else ""
    return text[0].upper() + text[1:] + threshold + "."


def _alarm_rows(raised: pl.DataFrame, series: str | None, time: str) -> list[list[str]]:
    rows = raised.head(_MOST_ALARMS).iter_rows(named=True)
    keys = [time] if series is None else [series, time]
    return [[*(str(row[key]) for key in keys), f"{row['score']:.1f}", row["explanation"]] for row in rows]


def _facts(model: AnomalyDetector) -> dict[str, str]:
    fitted = model.fitted_
    rule = fitted.rule
    level = (
        f"a score of {rule.threshold:.2f}: at most once in {10**rule.threshold:,.0f} usual steps"
        if isinstance(rule, CalibratedRule)
        else "dynamic: follows the errors"
    )
    return {
        "source": fitted.source,
        "channels": ", ".join(fitted.channels),
        "series": f"{len(fitted.series.keys)}",
        "step": fitted.frequency.label,
        "learned up to": str(max(fitted.ends.tolist())),
        "threshold": level,
        "one event": f"anomalous steps less than {rule.quiet} apart",
    }


def _settings(model: AnomalyDetector) -> dict[str, str]:
    values: dict[str, Any] = model.get_params(deep=False)  # type: ignore[no-untyped-call]
    weights = sum(tensor.numel() for tensor in model.fitted_.network.parameters())
    shown = {
        name.replace("_", " "): "none" if value is None else str(value)
        for name, value in sorted(values.items())
    }
    return shown | {"weights": f"{weights:,}"}


def _changed(model: AnomalyDetector) -> dict[str, Any]:
    """Give the arguments that differ from their defaults."""
    defaults = {name: given.default for name, given in inspect.signature(type(model)).parameters.items()}
    values: dict[str, Any] = model.get_params(deep=False)  # type: ignore[no-untyped-call]
    return {name: value for name, value in values.items() if value != defaults[name]}


def _command(model: AnomalyDetector, source: str | None) -> str | None:
    """Write the command that fits this model; None where a setting has no option on the command line."""
    changed = _changed(model)
    fitted = model.fitted_
    for name in ("architecture", "training"):
        changed |= changed_fields(changed.pop(name, None))
    if not _ON_THE_LINE.issuperset(changed):
        return None
    words = ["gatestack", "fit", "detect", source or _PLACEHOLDER, "--train", str(fitted.train)]
    words += [word for name in fitted.channels for word in ("--value", name)]
    words += ["--time", fitted.columns.time]
    words += [] if fitted.columns.series is None else ["--series", fitted.columns.series]
    for name, value in changed.items():
        text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
            continue
        option = "quiet-steps" if name == "quiet" else name.replace("_", "-")
        words += [f"--{option}", text]
    return shlex.join([*words, "--out", "MODEL"])


def _python(model: AnomalyDetector, source: str | None) -> str:
    arguments, fitted = [], model.fitted_
    changed = _changed(model)
    for name, value in changed.items():
        shown = repr(value)
        if name in ("architecture", "training"):
            inner = ", ".join(f"{key}={item!r}" for key, item in changed_fields(value).items())
            shown = f"{_KINDS[name]}({inner})"
        arguments.append(f"{name}={shown}")
    return "\n".join(
        [
            "import gatestack as gs",
            *(["from gatestack.tasks.detect import Architecture"] if "architecture" in changed else []),
            "",
            f"model = gs.AnomalyDetector({', '.join(arguments)})",
            f"model.fit({(source or _PLACEHOLDER)!r}, values={list(fitted.channels)!r}, "
            f"time={fitted.columns.time!r}, series={fitted.columns.series!r}, train={fitted.train!r})",
        ]
    )
