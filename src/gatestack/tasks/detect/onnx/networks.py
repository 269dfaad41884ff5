"""One step of a detector's network inside an ONNX graph: float32 in the layers, float64 around them.

Letters: N series, C channels, W window.
"""

from __future__ import annotations

import numpy as np
from torch import nn

from gatestack.convert.onnx.builder import Array, Tensor
from gatestack.convert.onnx.dispatch import Leaf, LeafTree, StateValues, state_leaves
from gatestack.convert.onnx.emit import emit_sequence_layer
from gatestack.convert.onnx.modules import emit_module
from gatestack.convert.onnx.terms import Term, concat, constant, where
from gatestack.nn import Stack
from gatestack.tasks.detect.networks import (
    LARGEST_REPEATED,
    LOG_SCALES,
    DetectorNetwork,
    EncoderDecoder,
    NetworkState,
    NextStep,
)

__all__ = ["network_arrays", "network_state", "network_step"]

_FORETOLD = {"last": "last", "foretold": "mean", "logscale": "log_scale"}
_ROWS = ("batch",)


def network_state(network: DetectorNetwork) -> tuple[Tensor, ...]:
    """Say what a network carries from step to step; names are without the way."""
    channels = network.shape.channels
    if isinstance(network, EncoderDecoder):
        return (Tensor("recent", "float64", (*_ROWS, network.shape.window - 1, channels)),)
    wide = tuple(Tensor(name, "float64", (*_ROWS, channels)) for name in _FORETOLD)
    return (*wide, *(Tensor(leaf.name, "float32", leaf.shape) for leaf in _leaves(_next_step(network).stack)))


def network_arrays(network: DetectorNetwork, states: list[NetworkState]) -> dict[str, Array]:
    """Give states as the graph takes them, one row for each."""
    if isinstance(network, EncoderDecoder):
        return {"recent": np.stack([state["recent"].numpy() for state in states])}
    found: dict[str, Array] = {
        name: np.stack([state[own].numpy() for state in states]) for name, own in _FORETOLD.items()
    }
    layers = [f"{part}_{number}" for number in range(len(network.shape.widths)) for part in "hc"]
    for leaf, name in zip(_leaves(_next_step(network).stack), layers, strict=True):
        rows = [state[name].numpy()[:, 0] for state in states]
        found[leaf.name] = np.stack(rows, axis=1).astype(np.float32)
    return found


def network_step(
    network: DetectorNetwork, values: Term, state: dict[str, Term], calendar: Term | None
) -> tuple[Term, Term, dict[str, Term]]:
    """Go on by one step; see `DetectorNetwork.run`.

    Args:
        network: in eval mode.
        values: float64 (N, C), standardised, NaN where missing.
        state: by the names of `network_state`.
        calendar: float32 (N, K), or None.

    Returns:
        What was expected (N, C), the deviations (N, C), both NaN where there is none, and the new state.
    """
    if isinstance(network, EncoderDecoder):
        return _repeated(network, values, state["recent"])
    expected = state["foretold"]
    away = (values - expected) / state["logscale"].op("Exp")
    return expected, away, _foretold(_next_step(network), values, state, calendar)


def _foretold(
    network: NextStep, values: Term, state: dict[str, Term], calendar: Term | None
) -> dict[str, Term]:
    """Foretell the step after this one; see `NextStep`."""
    last = state["last"]
    known, observed = last.observed(), values.observed()
    filled = where(observed, values, where(known, last, 0.0))
    change = where(known, filled - last, 0.0)
    parts = [part.to("float32").op("Asinh") for part in (filled, change)]
    parts += [] if calendar is None else [calendar]
    if network.shape.flags:
        parts.append(observed.to("float32"))
    leaves = [leaf.name for leaf in _leaves(network.stack)]
    pairs: StateValues = tuple(
        (state[h].name, state[c].name) for h, c in zip(leaves[::2], leaves[1::2], strict=True)
    )
    hidden, ended = _run(network.stack, concat(1, *parts).axes(1), pairs)
    told = _dense(network.head, hidden.without(1))
    channels = network.shape.channels
    lowest, highest = (np.float32(bound) for bound in LOG_SCALES)
    after = {
        "last": filled,
        "foretold": filled + told.cut(1, 0, channels).to("float64"),
        "logscale": told.cut(1, channels).op("Max", lowest).op("Min", highest).to("float64"),
    }
    ends = ended if isinstance(ended, tuple) else ()
    flat = [name for pair in ends if isinstance(pair, tuple) for name in pair if isinstance(name, str)]
    return after | {
        name: Term(values.graph, value, "float32") for name, value in zip(leaves, flat, strict=True)
    }


def _repeated(network: EncoderDecoder, values: Term, recent: Term) -> tuple[Term, Term, dict[str, Term]]:
    """Repeat the window that ends at this step, last step first; see `EncoderDecoder.run`.

    The decoder reads its own answers, which no operator does: its steps stand in the graph one by one.
    """
    window = concat(1, recent, values.axes(1))  # -> (N, W, C)
    observed = window.observed()
    filled = _filled(window, observed, network.shape.window)
    read = [filled.to("float32").op("Asinh")]
    if network.shape.flags:
        read.append(observed.to("float32"))
    hidden, state = _run(network.encoder, concat(2, *read), None)
    value = _dense(network.head, hidden.cut(1, -1))  # -> (N, 1, C)
    newest, error = _back(value.without(1)), values * 0.0
    error = where(error.observed(), error, 0.0)
    for step in reversed(range(network.shape.window)):
        away = (_back(value.without(1)) - filled.pick(1, step)).op("Abs")
        error = error + where(observed.pick(1, step), away, 0.0)
        if step:
            hidden, state = _run(network.decoder, value, state)
            value = _dense(network.head, hidden)
    error = error / observed.to("float64").total(1).without(1).op("Max", 1.0)
    # A window that begins with a gap says nothing, and nothing is off where nothing was seen.
    whole = observed.pick(1, 0)
    nothing = constant(error, np.float64(np.nan))
    return (
        where(whole, newest, nothing),
        where(whole & values.observed(), error, nothing),
        {"recent": window.cut(1, 1)},
    )


def _filled(window: Term, observed: Term, steps: int) -> Term:
    """Fill gaps with the value before them, the first ones with 0."""
    parts = [where(observed.pick(1, 0), window.pick(1, 0), 0.0)]
    for step in range(1, steps):
        parts.append(where(observed.pick(1, step), window.pick(1, step), parts[-1]))
    return concat(1, *(part.axes(1) for part in parts))


def _back(repeated: Term) -> Term:
    """Undo asinh -> float64."""
    bound = np.float32(LARGEST_REPEATED)
    return repeated.op("Max", -bound).op("Min", bound).op("Sinh").to("float64")


def _run(stack: Stack, x: Term, state: StateValues) -> tuple[Term, StateValues]:
    output, ended = emit_sequence_layer(x.graph, stack, x.name, state=state)
    if isinstance(output, tuple):
        raise RuntimeError("a stack gives one output")
    return Term(x.graph, output, "float32"), ended


def _dense(module: nn.Module, x: Term) -> Term:
    return Term(x.graph, emit_module(module, x.graph, x.name), "float32")


def _next_step(network: DetectorNetwork) -> NextStep:
    if not isinstance(network, NextStep):
        raise RuntimeError(f"there is no graph for {type(network).__name__}")
    return network


def _leaves(stack: Stack) -> list[Leaf]:
    """Give the states of the layers, the lowest first: h_l0, c_l0, h_l1, …"""
    return _flat(state_leaves(stack))


def _flat(tree: LeafTree) -> list[Leaf]:
    return [tree] if isinstance(tree, Leaf) else [leaf for part in tree for leaf in _flat(part)]
