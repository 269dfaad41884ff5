"""What proves an exported detector: its own answers, step by step from the end of the fit, to drawn ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gatestack.convert.onnx.builder import GraphBuilder
from gatestack.convert.onnx.layer_vectors import state_name
from gatestack.convert.onnx.parts import OnnxParts
from gatestack.convert.proof import ProofVector
from gatestack.data.zones import to_wall
from gatestack.tasks.detect.fitted import DetectorState, FittedDetector
from gatestack.tasks.detect.onnx.graph import emit_detector, reads_calendar, state_arrays, state_tensors

__all__ = ["onnx_parts", "step_vector"]

_STEPS, _ROWS = 5, 3
_MISSING, _OUTLIER = 0.2, 30.0


def onnx_parts(fitted: FittedDetector, graph: GraphBuilder) -> OnnxParts:
    """Build the graph of one step of a fitted detector, and say what proves it; see `emit_detector`.

    Args:
        fitted: what fitting found.
        graph: empty.
    """
    metadata = emit_detector(fitted, graph)
    return OnnxParts(_vectors(fitted), metadata=metadata)


def _vectors(fitted: FittedDetector) -> list[ProofVector]:
    """Give a series alone, then some side by side: values with gaps, the last ones far out."""
    random = np.random.default_rng(0)
    vectors = []
    for count in (1, _ROWS):
        rows = np.arange(count) % len(fitted.states)
        states = [fitted.states[row] for row in rows]
        for step in range(_STEPS):
            drawn = random.normal(size=(count, len(fitted.channels)))
            drawn += _OUTLIER * (step == _STEPS - 1)
            drawn[random.random(drawn.shape) < _MISSING * (step > 0)] = np.nan
            values = fitted.series.mean[rows] + fitted.series.deviation[rows] * drawn
            vector, states = step_vector(fitted, rows, values, states, step)
            vectors.append(vector)
    return vectors


def step_vector(
    fitted: FittedDetector,
    rows: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    states: list[DetectorState],
    step: int,
) -> tuple[ProofVector, list[DetectorState]]:
    """Feed one step to some series.

    Args:
        fitted: what fitting found.
        rows: (N,) number of each series.
        values: (N, C) in the user's unit, NaN where missing.
        states: N of them, after the step before.
        step: steps since the end of the fit, from 0; at 0 the rows are fresh.

    Returns:
        Inputs and answers, and the new states.
    """
    states = [_rounded(state) for state in states]
    before = state_arrays(fitted, states)
    if step == 0:  # what a fresh row gives is not read
        before = {name: np.zeros_like(array) for name, array in before.items()}
    inputs: dict[str, Any] = {"values": values, "fresh": np.full(len(rows), step == 0)}
    if len(fitted.series.keys) > 1:
        inputs["series"] = rows.astype(np.int64)
    times = np.concatenate(
        [fitted.frequency.advance(fitted.last_times[[row]], np.array([step + 1])) for row in rows]
    )
    if reads_calendar(fitted):
        wall = to_wall(np.asarray(times, dtype="datetime64[us]"), fitted.time_kind.zone)
        inputs["times"] = wall.astype("datetime64[us]").astype(np.int64)
    calendar = fitted.calendar_of(times)
    said = [
        fitted.run(int(row), values[[place]], calendar[[place]], states[place])
        for place, row in enumerate(rows)
    ]
    found = [detected for detected, _ in said]
    after = [state for _, state in said]
    outputs: dict[str, Any] = {
        "score": np.array([one.scored.score[0] for one in found], dtype=np.float32),
        "alarm": np.array([one.scored.alarm[0] for one in found]),
        "anomalous": np.array([one.scored.above[0] for one in found]),
        "channel": np.array([one.scored.channel[0] for one in found]),
        "expected": np.stack([one.expected[0] for one in found]),
    }
    ended = state_arrays(fitted, after)
    for part in state_tensors(fitted):
        inputs[state_name(part.name, "in")] = before[part.name]
        outputs[state_name(part.name, "out")] = ended[part.name]
    return ProofVector(inputs, outputs), after


def _rounded(state: DetectorState) -> DetectorState:
    """Give the states of layers the digits that the graph carries."""
    network = {
        name: tensor.float().double() if name[:2] in ("h_", "c_") else tensor
        for name, tensor in state.network.items()
    }
    return DetectorState({name: torch.as_tensor(tensor) for name, tensor in network.items()}, state.scores)
