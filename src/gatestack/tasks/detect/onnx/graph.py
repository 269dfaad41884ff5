"""One step of a fitted detector as an ONNX graph: its inputs, its outputs, and what it says of itself."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version

import numpy as np

from gatestack.convert.onnx.builder import GraphBuilder, Tensor
from gatestack.convert.onnx.dispatch import Leaf, LeafTree, StateValues, state_leaves
from gatestack.convert.onnx.emit import emit_sequence_layer
from gatestack.convert.onnx.layer_vectors import state_name
from gatestack.convert.onnx.modules import emit_module
from gatestack.errors import ArgumentError
from gatestack.tasks.detect.alarms import CalibratedRule
from gatestack.tasks.detect.fitted import DetectorState, FittedDetector
from gatestack.tasks.detect.networks import LOG_SCALES, NextStep
from gatestack.tasks.detect.onnx.scoring import SCORE_STATE, scored
from gatestack.tasks.forecast.onnx.calendar import calendar
from gatestack.tasks.forecast.onnx.terms import Term, concat, constant, where

__all__ = ["METADATA_KEY", "describe", "emit_detector", "state_arrays", "state_tensors"]

METADATA_KEY = "gatestack.detector"
"""Where the model's metadata say, as JSON, what its channels and its state are."""

_ROWS = ("batch",)
_FORETOLD = {"last": "last", "foretold": "mean", "logscale": "log_scale"}


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
        ArgumentError: the detector repeats windows, or its threshold is dynamic.
    """
    network, rule = fitted.network, fitted.rule
    if not isinstance(network, NextStep):
        raise ArgumentError(
            "there is no ONNX for method='reconstruction'",
            where="export",
            expected="method='forecast'",
            hint="a decoder that reads its own answers has no operator; fit a detector that foretells steps",
        )
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
    expected = state["foretold"]
    away = (standard - expected) / state["logscale"].op("Exp")
    after = _foretold(fitted, network, standard, state)
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
    shapes = dict.fromkeys((*_FORETOLD, "scale", "level", "spread"), wide) | {"evidence": _ROWS}
    counts = {name: Tensor(name, "int64", _ROWS) for name in ("since", "length")}
    return (
        *(Tensor(name, "float64", shape) for name, shape in shapes.items()),
        *counts.values(),
        *(Tensor(leaf.name, "float32", leaf.shape) for leaf in _leaves(fitted)),
    )


def state_arrays(fitted: FittedDetector, states: list[DetectorState]) -> dict[str, np.ndarray]:
    """Give states of the detector as the graph takes them, one row for each."""
    scores = [state.scores for state in states]
    found = {
        name: np.stack([state.network[own].numpy() for state in states]) for name, own in _FORETOLD.items()
    }
    found |= {
        name: np.stack([getattr(part, name) for part in scores]) for name in ("scale", "level", "spread")
    }
    found["evidence"] = np.array([part.mean for part in scores])
    found |= {
        name: np.array([getattr(part.alarm, name) for part in scores], dtype=np.int64)
        for name in ("since", "length")
    }
    layers = [f"{part}_{number}" for number in range(len(fitted.network.shape.widths)) for part in "hc"]
    for leaf, name in zip(_leaves(fitted), layers, strict=True):
        rows = [state.network[name].numpy()[:, 0] for state in states]
        found[leaf.name] = np.stack(rows, axis=1).astype(np.float32)
    return found


def describe(fitted: FittedDetector) -> dict[str, object]:
    """Say what a server needs to know of a detector, as JSON values."""
    several = len(fitted.series.keys) > 1
    return {
        "gatestack": version("gatestack"),
        "channels": list(fitted.channels),
        "series": list(fitted.series.keys) if several else None,
        "frequency": asdict(fitted.frequency) | {"alias": fitted.frequency.alias},
        "calendar": list(fitted.calendar),
        "zone": fitted.time_kind.zone,
        "last_times": [str(time) for time in fitted.last_times],
        "state": [
            {f"{way}put": state_name(part.name, way) for way in ("in", "out")}
            | {"dtype": part.dtype, "shape": list(part.shape)}
            for part in state_tensors(fitted)
        ],
    }


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


def _foretold(
    fitted: FittedDetector, network: NextStep, values: Term, state: dict[str, Term]
) -> dict[str, Term]:
    """Foretell the step after this one; see `NextStep.run`."""
    graph, last = values.graph, state["last"]
    known = last.observed()
    observed = values.observed()
    filled = where(observed, values, where(known, last, 0.0))
    change = where(known, filled - last, 0.0)
    parts = [part.to("float32").op("Asinh") for part in (filled, change)]
    if fitted.calendar:
        times = Term(graph, graph.input("times", "int64", _ROWS), "int64")
        parts.append(calendar(times.axes(1), fitted.calendar).without(1))
    if network.shape.flags:
        parts.append(observed.to("float32"))
    leaves = [leaf.name for leaf in _leaves(fitted)]
    pairs: StateValues = tuple(
        (state[h].name, state[c].name) for h, c in zip(leaves[::2], leaves[1::2], strict=True)
    )
    output, ended = emit_sequence_layer(graph, network.stack, concat(1, *parts).axes(1).name, state=pairs)
    if isinstance(output, tuple) or not isinstance(ended, tuple):
        raise RuntimeError("the stack of a detector has one direction and layers of two states")
    hidden = Term(graph, output, "float32").without(1)
    told = Term(graph, emit_module(network.head, graph, hidden.name), "float32")
    channels = len(fitted.channels)
    lowest, highest = (np.float32(bound) for bound in LOG_SCALES)
    after = {
        "last": filled,
        "foretold": filled + told.cut(1, 0, channels).to("float64"),
        "logscale": told.cut(1, channels).op("Max", lowest).op("Min", highest).to("float64"),
    }
    flat = [name for pair in ended if isinstance(pair, tuple) for name in pair if isinstance(name, str)]
    return after | {name: Term(graph, value, "float32") for name, value in zip(leaves, flat, strict=True)}


def _leaves(fitted: FittedDetector) -> list[Leaf]:
    """Give the states of the layers, the lowest first: h_l0, c_l0, h_l1, …"""
    if not isinstance(fitted.network, NextStep):
        raise RuntimeError("the network foretells no steps")
    return _flat(state_leaves(fitted.network.stack))


def _flat(tree: LeafTree) -> list[Leaf]:
    return [tree] if isinstance(tree, Leaf) else [leaf for part in tree for leaf in _flat(part)]
