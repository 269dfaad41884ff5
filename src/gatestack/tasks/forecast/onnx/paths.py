"""Recursive forecasts inside an ONNX graph: the sampled paths of `paths.py`, as a loop over the steps ahead.

The random numbers of the paths follow from the model's seed and are the same for all series: they are
constants of the graph, which therefore answers as `predict` does. Letters: N series, P paths of each, F steps
ahead, Q quantiles.
"""

from __future__ import annotations

import numpy as np

from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.convert.onnx.terms import Term, constant
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.onnx.distributions import graph_distribution
from gatestack.tasks.forecast.onnx.steps import Constants, State, Steps, advance, forecast
from gatestack.tasks.forecast.paths import PATHS, levels_of_paths

__all__ = ["sampled_quantiles"]


def sampled_quantiles(fitted: FittedForecast, state: State, ahead: Term | None, constants: Constants) -> Term:
    """Give the quantiles over the sampled paths; see `gatestack.tasks.forecast.paths.sample_quantiles`.

    Args:
        fitted: what fitting found, with a network of horizon 1.
        state: after the last step.
        ahead: what is known of the steps ahead, (N, F, ·), or None.
        constants: of each series.

    Returns:
        float32 (N, F, Q).
    """
    paths = _drawn(fitted, state, ahead, constants)  # (F, N · P)
    paths = paths.shaped(0, -1, PATHS).op("Transpose", perm=(1, 0, 2))  # -> (N, F, P)
    graph = paths.graph
    count = constant(paths, np.array([PATHS]))
    ascending, _ = graph.ops("TopK", paths.name, count.name, outputs=2, axis=2, largest=0)
    place = np.array(fitted.levels) * (PATHS - 1)
    below = np.floor(place).astype(np.int64)
    paths = Term(graph, ascending, "float64")
    low, high = paths.pick(2, below), paths.pick(2, np.minimum(below + 1, PATHS - 1))
    found: Term = low + (high - low) * (place - below)
    return found.to("float32")


def _drawn(fitted: FittedForecast, state: State, ahead: Term | None, constants: Constants) -> Term:
    """Draw paths step by step, float64 (F, N · P)."""
    rows = state.carried["begun"].size(0)
    number = (rows * PATHS).upto()
    row, path = number / PATHS, number % PATHS
    face = graph_distribution(fitted.network.distribution)
    levels = levels_of_paths(fitted.seed, fitted.horizon, PATHS)
    prepared = fitted.network.distribution.prepared(levels)
    graph = number.graph
    over = {graph.constant(part): str(part.dtype) for part in prepared}
    if ahead is not None:
        over[ahead.op("Transpose", perm=(1, 0, 2)).name] = "float32"
    going = state.rows(row)
    terms, constant_rows = going.terms(), constants.rows(row)
    one = number - number + 1

    def step(
        body: GraphBuilder, states: tuple[Value, ...], inputs: tuple[Value, ...]
    ) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
        before = going.with_terms([Term(body, *both) for both in zip(states, kinds, strict=True)])
        drawn = zip(inputs, prepared, strict=False)
        at = [Term(body, name, str(part.dtype)).pick(0, path) for name, part in drawn]
        known = Term(body, inputs[-1], "float32").pick(0, row).axes(1) if ahead is not None else None
        said = forecast(fitted, before, known, constant_rows).pick(1, 0).to("float64")  # (N · P, ·)
        value = face.value(said, *at)
        steps = Steps(value.to("float32").axes(1), one, known)
        after = advance(fitted, before, steps, constant_rows)
        return tuple(term.name for term in after.terms()), (value.name,)

    kinds = [term.dtype for term in terms]
    _, (drawn,) = graph.scan(step, [term.name for term in terms], over, kinds=[*kinds, "float64"])
    return Term(graph, drawn, "float64")
