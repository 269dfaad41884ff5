"""A forecaster's steps inside an ONNX graph: `SeriesState.advance` and `forecast`, many steps at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gatestack.convert.onnx.dispatch import StateValues
from gatestack.convert.onnx.emit import emit_sequence_layer
from gatestack.convert.onnx.terms import Term, concat, zeros
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.onnx.history import Carried, read_history
from gatestack.tasks.forecast.onnx.network import said_ahead, stack_inputs

__all__ = ["Constants", "State", "Steps", "advance", "forecast"]


@dataclass(frozen=True)
class Steps:
    """The steps of a call: target (N, T), NaN where missing; lengths (N,); covariates (N, T, ·) or None."""

    target: Term
    lengths: Term
    covariates: Term | None


@dataclass(frozen=True)
class Constants:
    """What is fixed for each series: static columns (N, ·), standardised, and its number (N,), or None."""

    static: Term | None
    series: Term | None

    def rows(self, places: Term) -> Constants:
        """Take some rows, in this order."""
        parts = (None if part is None else part.pick(0, places) for part in (self.static, self.series))
        return Constants(*parts)


@dataclass(frozen=True)
class State:
    """What one call leaves to the next.

    Attributes:
        carried: see `gatestack.tasks.forecast.onnx.history.carried_arrays`.
        layers: the state of each layer, nested as the stack has it; None for the initial one.
        moments: float32 (N, 4), at the last step; found anew in each call from `carried`.
    """

    carried: Carried
    layers: StateValues
    moments: Term | None = None

    def leaves(self) -> list[Term]:
        """Give the layers' states one after the other, the lowest layer first."""
        graph = self.carried["begun"].graph
        return [Term(graph, name, "float32") for name in _flat(self.layers)]

    def terms(self) -> list[Term]:
        """Give everything, for a loop; `with_terms` is the way back."""
        return [*self.carried.values(), *self.leaves(), *([] if self.moments is None else [self.moments])]

    def with_terms(self, terms: Sequence[Term]) -> State:
        """Give a state like this one that holds other terms."""
        carried = dict(zip(self.carried, terms, strict=False))
        rest = iter(terms[len(carried) :])
        layers = _nested(self.layers, rest)
        return State(carried, layers, next(rest, None))

    def rows(self, places: Term) -> State:
        """Take some rows, in this order."""
        first = len(self.carried)
        leaves = len(self.leaves())
        return self.with_terms(
            [
                term.pick(1 if first <= number < first + leaves else 0, places)
                for number, term in enumerate(self.terms())
            ]
        )


def advance(fitted: FittedForecast, state: State, steps: Steps, constants: Constants) -> State:
    """Go on by the steps of a call.

    Args:
        fitted: what fitting found.
        state: before them. In the mode "windows" the layers start anew at the last window.
        steps: of the call; none of them need be real.
        constants: of each series.
    """
    network = fitted.network
    history = read_history(fitted, state.carried, steps.target, steps.lengths, constants.series)
    x = stack_inputs(network, history, steps.covariates, constants.static)
    lengths = steps.lengths
    if fitted.mode == "windows":
        x, lengths = _last_window(x, lengths, network.shape.window)
    output, layers = emit_sequence_layer(
        x.graph, network.stack, x.name, lengths=lengths.name, state=state.layers
    )
    if isinstance(output, tuple):
        raise RuntimeError("the stack of a forecaster has one direction, and so one output")
    joined = concat(1, state.carried["hidden"], Term(x.graph, output, "float32"))
    last = (lengths.axes(1) + np.arange(network.head.reach + 1)).axes(2)
    return State(
        history.after | {"hidden": joined.at(last)}, layers, history.moments.at(steps.lengths.axes(1))
    )


def forecast(fitted: FittedForecast, state: State, ahead: Term | None, constants: Constants) -> Term:
    """Forecast from a state that `advance` gave: parameters, float32 (N, horizon of the network, ·).

    Args:
        fitted: what fitting found.
        state: after the last step.
        ahead: what is known of the steps ahead, (N, horizon, ·), or None.
        constants: of each series.
    """
    if state.moments is None:
        raise RuntimeError("the state was not made by advance")
    return said_ahead(
        fitted.network,
        state.carried["values"],
        state.moments,
        state.carried["hidden"],
        ahead,
        constants.static,
    )


def _last_window(x: Term, lengths: Term, window: int) -> tuple[Term, Term]:
    """Take the last real steps of each row, a window of them at most, as (N, window, C)."""
    nothing = zeros(x.size(0), window, x.size(2), dtype="float32")
    inside = lengths.op("Min", np.int64(window))
    places = ((lengths - inside).axes(1) + np.arange(window)).axes(2)
    return concat(1, x, nothing).at(places), inside


def _flat(layers: StateValues) -> Iterator[str]:
    if isinstance(layers, tuple):
        for part in layers:
            yield from _flat(part)
    elif layers is not None:
        yield layers


def _nested(like: StateValues, terms: Iterator[Term]) -> StateValues:
    if isinstance(like, tuple):
        return tuple(_nested(part, terms) for part in like)
    return next(terms).name
