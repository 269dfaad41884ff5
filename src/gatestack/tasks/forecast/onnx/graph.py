"""A fitted forecaster as an ONNX graph: its inputs, its outputs, and what it says of itself."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version

from gatestack.convert.onnx.builder import GraphBuilder, Tensor
from gatestack.convert.onnx.calendar import calendar
from gatestack.convert.onnx.dispatch import Leaf, LeafTree, mapped, state_leaves
from gatestack.convert.onnx.layer_vectors import state_name
from gatestack.convert.onnx.terms import Term, concat, constant, where
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.onnx.distributions import graph_distribution
from gatestack.tasks.forecast.onnx.history import carried_arrays, nothing_yet
from gatestack.tasks.forecast.onnx.network import standard_static
from gatestack.tasks.forecast.onnx.paths import sampled_quantiles
from gatestack.tasks.forecast.onnx.steps import Constants, State, Steps, advance, forecast

__all__ = ["METADATA_KEY", "describe", "emit_forecaster", "state_tensors"]

METADATA_KEY = "gatestack.forecaster"
"""Where the model's metadata say, as JSON, what its inputs and outputs are."""

_ROWS = ("batch",)


def emit_forecaster(fitted: FittedForecast, graph: GraphBuilder) -> dict[str, str]:
    """Add a forecaster to an empty graph, with its inputs and outputs.

    Inputs, those that the model has: `target` (batch, time), NaN where missing; `lengths` (batch,), the real
    steps of each row; `past` and `future` (batch, time, columns), NaN where missing; `future_ahead` (batch,
    horizon, columns); `times` (batch, time) and `times_ahead` (batch, horizon), int64 microseconds since 1970
    on the wall clock of the series; `static` (batch, columns); `series` (batch,), the number of the series in
    the fit; and each part of the state, such as `values_in` and `h_in_l0`, zeros for a series that has not
    begun. A column of categories takes codes: the place of the name among `categories` in the metadata,
    counted from 1, and 0 for any other.

    Outputs: `quantiles` (batch, horizon, quantiles) after the last real step of each row, and each part of
    the state, such as `values_out` and `h_out_l0`. In the mode "windows" there is no state: each call reads
    the whole history.

    Args:
        fitted: what fitting found.
        graph: empty.

    Returns:
        The metadata of the model.

    Raises:
        ArgumentError: the distribution has no quantiles in ONNX's operators.
    """
    inputs = _Inputs(fitted, graph)
    streams = fitted.mode != "windows"
    steps, constants = inputs.steps(), inputs.constants()
    ahead = inputs.ahead()
    state = inputs.state() if streams else State(nothing_yet(fitted, steps.target.size(0)), None)
    after = advance(fitted, state, steps, constants)
    if fitted.mode == "recursive":
        quantiles = sampled_quantiles(fitted, after, ahead, constants)
    else:
        said = forecast(fitted, after, ahead, constants)
        quantiles = graph_distribution(fitted.network.distribution).quantiles(said)
    graph.output(quantiles.name, "quantiles", (*_ROWS, fitted.horizon, len(fitted.levels)))
    if streams:
        names = [part.name for part in state_tensors(fitted)]
        values = after.carried | dict(zip(names[len(after.carried) :], after.leaves(), strict=True))
        for part in state_tensors(fitted):
            name = state_name(part.name, "out")
            graph.output(values[part.name].name, name, part.shape, part.dtype)
    return {METADATA_KEY: json.dumps(describe(fitted), ensure_ascii=False)}


def state_tensors(fitted: FittedForecast) -> tuple[Tensor, ...]:
    """Say what the state consists of: first what `carried_arrays` names, then the states of the layers.

    The names are without the way, see `gatestack.convert.onnx.layer_vectors.state_name`.

    Layer states are (1, batch, width), the lowest layer first: `h_l0`, `c_l0`, `h_l1`, …
    """
    leaves = _leaves(state_leaves(fitted.network.stack))
    return (*carried_arrays(fitted), *(Tensor(leaf.name, "float32", leaf.shape) for leaf in leaves))


def _leaves(tree: LeafTree) -> list[Leaf]:
    return [tree] if isinstance(tree, Leaf) else [leaf for part in tree for leaf in _leaves(part)]


def describe(fitted: FittedForecast) -> dict[str, object]:
    """Say what a server needs to know of a forecaster, as JSON values."""
    tail = fitted.tail
    columns = tail.columns
    own_scales = fitted.series_scale is not None
    return {
        "gatestack": version("gatestack"),
        "mode": fitted.mode,
        "target": columns.target,
        "past": list(columns.past),
        "future": list(columns.future),
        "static": list(columns.static),
        "categories": {name: list(names) for name, names in tail.categories.items()},
        "quantiles": list(fitted.levels),
        "horizon": fitted.horizon,
        "window": fitted.network.shape.window,
        "frequency": asdict(tail.frequency) | {"alias": tail.frequency.alias},
        "calendar": list(fitted.calendar),
        "zone": tail.time_kind.zone,
        "series": list(tail.sequences.keys or ()) if own_scales else None,
        "seed": fitted.seed if fitted.mode == "recursive" else None,
        "state": [_described(part) for part in state_tensors(fitted)] if fitted.mode != "windows" else [],
    }


def _described(part: Tensor) -> dict[str, object]:
    names = {f"{way}put": state_name(part.name, way) for way in ("in", "out")}
    return names | {"dtype": part.dtype, "shape": list(part.shape)}


class _Inputs:
    """Declares the inputs of the graph that a fitted forecaster needs.

    Args:
        fitted: what fitting found.
        graph: where they are declared.
    """

    def __init__(self, fitted: FittedForecast, graph: GraphBuilder) -> None:
        self._fitted, self._graph = fitted, graph
        self._columns = fitted.tail.columns

    def steps(self) -> Steps:
        """The steps of a call."""
        target = self._input("target", "float32", "time")
        lengths = self._input("lengths", "int64")
        parts = self._columned({"past": self._columns.past, "future": self._columns.future}, "time")
        if self._fitted.calendar:
            parts.append(calendar(self._input("times", "int64", "time"), self._fitted.calendar))
        return Steps(target, lengths, concat(2, *parts) if parts else None)

    def ahead(self) -> Term | None:
        """What is known of the steps ahead."""
        horizon = self._fitted.horizon
        parts = self._columned({"future_ahead": self._columns.future}, horizon)
        if self._fitted.calendar:
            parts.append(calendar(self._input("times_ahead", "int64", horizon), self._fitted.calendar))
        return concat(2, *parts) if parts else None

    def constants(self) -> Constants:
        """What is fixed for each series."""
        static = None
        if self._columns.static:
            given = self._input("static", "float32", len(self._columns.static))
            static = standard_static(self._fitted.network, given)
        own_scales = self._fitted.series_scale is not None
        return Constants(static, self._input("series", "int64") if own_scales else None)

    def state(self) -> State:
        """What the call before has left."""
        carried = {
            array.name: self._input(state_name(array.name, "in"), array.dtype, *array.shape[1:])
            for array in carried_arrays(self._fitted)
        }

        def layer(leaf: Leaf, value: str | None) -> str:
            del value
            given = self._graph.input(state_name(leaf.name, "in"), "float32", leaf.shape)
            if leaf.trained is None:
                return given
            # (D, H) -> (D, 1, H), beside (D, N, H)
            fresh = carried["steps"].equals(0).axes(0, 2)
            state = Term(self._graph, given, "float32")
            return where(fresh, constant(state, leaf.trained[:, None]), state).name

        return State(carried, mapped(state_leaves(self._fitted.network.stack), None, layer))

    def _input(self, name: str, dtype: str, *axes: str | int) -> Term:
        return Term(self._graph, self._graph.input(name, dtype, (*_ROWS, *axes)), dtype)

    def _columned(self, groups: dict[str, tuple[str, ...]], steps: str | int) -> list[Term]:
        return [
            self._input(name, "float32", steps, len(columns)) for name, columns in groups.items() if columns
        ]
