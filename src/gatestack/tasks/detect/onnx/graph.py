"""One step of a fitted detector as an ONNX graph: its inputs, its outputs, and what it says of itself."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version

import numpy as np

from gatestack.convert.onnx.builder import GraphBuilder, Tensor
from gatestack.convert.onnx.calendar import calendar
from gatestack.convert.onnx.layer_vectors import state_name
from gatestack.convert.onnx.terms import Term, constant, where
from gatestack.errors import ArgumentError
from gatestack.tasks.detect.alarms import CalibratedRule
from gatestack.tasks.detect.fitted import DetectorState, FittedDetector
from gatestack.tasks.detect.networks import NextStep
from gatestack.tasks.detect.onnx.networks import network_arrays, network_state, network_step
from gatestack.tasks.detect.onnx.scoring import SCORE_STATE, scored

__all__ = [
    "METADATA_KEY",
    "describe",
    "emit_detector",
    "reads_calendar",
    "state_arrays",
    "state_tensors",
]

METADATA_KEY = "gatestack.detector"
"""Where the model's metadata say, as JSON, what its channels and its state are."""

_ROWS = ("batch",)


def emit_detector(fitted: FittedDetector, graph: GraphBuilder) -> dict[str, str]:
    """Add one step of a detector to an empty graph, with its inputs and outputs.

    Inputs: `values` (batch, channels) float64 in the unit of the data, NaN where missing; `fresh` (batch,)
    bool, True where a series goes on from the end of the fit and its state is not read; `series` (batch,)
    int64, its number in the fit, where that had several; `times` (batch,) int64, microseconds since 1970 on
    the wall clock, where the detector reads the calendar; and each part of the state, such as `scale_in` and
    `h_in_l0`. A step that is missing is fed as NaN.

    Outputs: `score` (batch,) float32, NaN where nothing is known; `alarm` and `anomalous` (batch,) bool;
    `channel` (batch,) int64, the one that is furthest out; `expected` (batch, channels) float64; and each
    part of the state, such as `scale_out` and `h_out_l0`.

    Args:
        fitted: what fitting found.
        graph: empty.

    Returns:
        The metadata of the model.

    Raises:
        ArgumentError: its threshold is dynamic.
    """
    rule = fitted.rule
    if not isinstance(rule, CalibratedRule):
        raise ArgumentError(
            "there is no ONNX for threshold='dynamic'",
            where="export",
            expected="threshold='calibrated'",
            hint="it weighs runs among its last 2,100 errors at each step; `gatestack fit detect` has both",
        )
    channels = len(fitted.channels)
    values = Term(graph, graph.input("values", "float64", (*_ROWS, channels)), "float64")
    fresh = Term(graph, graph.input("fresh", "bool", _ROWS), "bool")
    series = _series(fitted, graph, values)
    state = _state(fitted, graph, fresh, series)
    mean, deviation = (
        constant(values, part).pick(0, series) for part in (fitted.series.mean, fitted.series.deviation)
    )
    standard = (values - mean) / deviation
    expected, away, after = network_step(fitted.network, standard, state, _calendar(fitted, graph))
    said = scored(fitted.usual, rule, away, standard, {name: state[name] for name in SCORE_STATE})
    after |= said.after
    graph.output(said.score.to("float32").name, "score", _ROWS)
    graph.output(said.alarm.name, "alarm", _ROWS, "bool")
    graph.output(said.above.name, "anomalous", _ROWS, "bool")
    graph.output(said.channel.name, "channel", _ROWS, "int64")
    graph.output((expected * deviation + mean).name, "expected", (*_ROWS, channels), "float64")
    for part in state_tensors(fitted):
        graph.output(after[part.name].name, state_name(part.name, "out"), part.shape, part.dtype)
    return {METADATA_KEY: json.dumps(describe(fitted), ensure_ascii=False)}


def state_tensors(fitted: FittedDetector) -> tuple[Tensor, ...]:
    """Say what the state of a series consists of; names are without the way, see `state_name`."""
    wide = (*_ROWS, len(fitted.channels))
    return (
        *(Tensor(name, "float64", wide) for name in ("scale", "level", "spread")),
        Tensor("evidence", "float64", _ROWS),
        *(Tensor(name, "int64", _ROWS) for name in ("since", "length")),
        *network_state(fitted.network),
    )


def state_arrays(fitted: FittedDetector, states: list[DetectorState]) -> dict[str, np.ndarray]:
    """Give states of the detector as the graph takes them, one row for each."""
    scores = [state.scores for state in states]
    found = {
        name: np.stack([getattr(part, name) for part in scores]) for name in ("scale", "level", "spread")
    }
    found["evidence"] = np.array([part.mean for part in scores])
    found |= {
        name: np.array([getattr(part.alarm, name) for part in scores], dtype=np.int64)
        for name in ("since", "length")
    }
    return found | network_arrays(fitted.network, [state.network for state in states])


def describe(fitted: FittedDetector) -> dict[str, object]:
    """Say what a server needs to know of a detector, as JSON values."""
    several = len(fitted.series.keys) > 1
    return {
        "gatestack": version("gatestack"),
        "channels": list(fitted.channels),
        "series": list(fitted.series.keys) if several else None,
        "frequency": asdict(fitted.frequency) | {"alias": fitted.frequency.alias},
        "calendar": list(fitted.calendar) if reads_calendar(fitted) else [],
        "zone": fitted.time_kind.zone,
        "last_times": [str(time) for time in fitted.last_times],
        "state": [
            {f"{way}put": state_name(part.name, way) for way in ("in", "out")}
            | {"dtype": part.dtype, "shape": list(part.shape)}
            for part in state_tensors(fitted)
        ],
    }


def reads_calendar(fitted: FittedDetector) -> bool:
    """Tell whether the network reads the time; one that repeats windows does not."""
    return isinstance(fitted.network, NextStep) and bool(fitted.calendar)


def _calendar(fitted: FittedDetector, graph: GraphBuilder) -> Term | None:
    if not reads_calendar(fitted):
        return None
    times = Term(graph, graph.input("times", "int64", _ROWS), "int64")
    return calendar(times.axes(1), fitted.calendar).without(1)


def _series(fitted: FittedDetector, graph: GraphBuilder, values: Term) -> Term:
    if len(fitted.series.keys) > 1:
        return Term(graph, graph.input("series", "int64", _ROWS), "int64")
    return constant(values, np.int64(0)).shared(values.size(0))


def _state(fitted: FittedDetector, graph: GraphBuilder, fresh: Term, series: Term) -> dict[str, Term]:
    """Declare the state, and put that of the end of the fit in the place of what a fresh row gives."""
    ends = state_arrays(fitted, list(fitted.states))
    found = {}
    for part in state_tensors(fitted):
        given = Term(graph, graph.input(state_name(part.name, "in"), part.dtype, part.shape), part.dtype)
        axis = part.shape.index("batch")
        others = [place for place in range(len(part.shape)) if place != axis]
        new = fresh.axes(*others) if others else fresh
        found[part.name] = where(new, constant(given, ends[part.name]).pick(axis, series), given)
    return found
