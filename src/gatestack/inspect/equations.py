"""One step of each cell with its gates laid open, differentiable, over any leading axes.

The kernels compute the same and keep no gates. What is computed here is compared with the outputs of the
layer (`opening`), and tested against `gatestack.reference`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gatestack.kernels.spec import DirectionWeights, LayerSpec
from gatestack.nn.activations import ACTIVATIONS

__all__ = ["QUANTITIES", "Functions", "Gates", "cell_step", "lstm_gates", "quantities_of"]

Gates = dict[str, Tensor]

_EPSILON = 1e-5  # of the layer normalisation, as the layers have it

QUANTITIES = {
    "input": "input gate i: how much of the candidate is written",
    "forget": "forget gate f: how much of the cell state is kept",
    "reset": "reset gate r: how much of the old state the candidate sees",
    "update": "update gate z: how much of the old state is kept",
    "candidate": "candidate g or n: what would be written",
    "output": "output gate o: how much of the cell state is shown",
    "cell": "cell state c: what is carried from step to step",
    "hidden": "state h: what the unit shows",
}
"""Name of a quantity → what it is."""

_OF_CELLS = {
    "lstm": ("input", "forget", "candidate", "output", "cell", "hidden"),
    "gru": ("reset", "update", "candidate", "hidden"),
    "gru_reset_before": ("reset", "update", "candidate", "hidden"),
    "rnn_tanh": ("hidden",),
    "rnn_relu": ("hidden",),
}


class Functions(NamedTuple):
    """The functions of a cell, names in `gatestack.nn.ACTIVATIONS`.

    squash, of what enters the state and of the cell state; gate, of the gates.

    Example:
        >>> Functions()
        Functions(squash='tanh', gate='sigmoid')
    """

    squash: str = "tanh"
    gate: str = "sigmoid"


_USUAL = Functions()


def quantities_of(spec: LayerSpec) -> tuple[str, ...]:
    """Name what a unit of a layer has, in the order of computation.

    Example:
        >>> quantities_of(LayerSpec("gru", 3, 8))
        ('reset', 'update', 'candidate', 'hidden')
    """
    return _OF_CELLS[spec.cell]


def cell_step(
    spec: LayerSpec,
    weights: DirectionWeights,
    x: Tensor,
    state: tuple[Tensor, ...],
    functions: Functions = _USUAL,
) -> tuple[Gates, tuple[Tensor, ...]]:
    r"""Compute one step in eval mode, gates included.

    The equations are those of `gatestack.nn.LSTM`, `LSTMForm`, `GRU` and `RNN`. Zoneout, which in eval mode
    mixes the new state with the old one, is part of the state that is given.

    Args:
        spec: of the layer.
        weights: of one direction of it.
        x: (…, C), the input of the step.
        state: before the step, (h (…, P), c (…, H)), or (h (…, H),).
        functions: those of the cell; a plain layer has no gates, and `squash` alone counts.

    Returns:
        The quantities by name, (…, H) each; `hidden` is what each unit shows, before a projection. Then the
        state after the step.

    Example:
        >>> from gatestack.nn import RNN
        >>> layer = RNN(2, 1)
        >>> gates, (h,) = cell_step(layer.spec, layer.weights()[0], torch.ones(3, 1), (torch.zeros(3, 2),))
        >>> list(gates), h.shape
        (['hidden'], torch.Size([3, 2]))
    """
    h = state[0]
    wide = _normed(x @ weights.weight_ih.T, weights.gain_ih, weights.bias_ih)  # -> (…, G·H)
    if spec.cell == "lstm":
        sums = (wide + _recurrent(weights, h)).chunk(4, dim=-1)
        gates, new = lstm_gates(sums, state[1], weights, functions)
        if weights.weight_hr is not None:
            new = (new[0] @ weights.weight_hr.T, new[1])  # -> (…, P)
    elif spec.cell in ("gru", "gru_reset_before"):
        gates, new = _gru(spec, weights, wide, h, functions)
    else:
        shown = ACTIVATIONS[functions.squash](wide + _recurrent(weights, h))
        gates, new = {"hidden": shown}, (shown,)
    mixed = tuple(
        part if share == 0 else (1 - share) * part + share * old
        for part, old, share in zip(new, state, (spec.zoneout_hidden, spec.zoneout_cell), strict=False)
    )
    if spec.cell == "lstm":
        gates["cell"] = mixed[1]
    if not spec.projection_size:
        gates["hidden"] = mixed[0]
    return gates, mixed


def lstm_gates(
    sums: tuple[Tensor, ...],
    c: Tensor,
    weights: DirectionWeights,
    functions: Functions,
) -> tuple[Gates, tuple[Tensor, ...]]:
    """Compute a step of an LSTM from the sums of its gates.

    Args:
        sums: those of i, f, g and o, each of the shape of c, without what peepholes see.
        c: the cell state before the step.
        weights: whose peepholes and normalisation of the cell state are taken.
        functions: of the cell.

    Returns:
        The quantities by name, and (what the units show, the cell state) after the step.
    """
    squash, gate = ACTIVATIONS[functions.squash], ACTIVATIONS[functions.gate]
    i, f, g, o = sums
    if weights.peephole is not None:
        i, f = i + weights.peephole[0] * c, f + weights.peephole[1] * c
    i, f, g = gate(i), gate(f), squash(g)
    new = f * c + i * g
    if weights.peephole is not None:
        o = o + weights.peephole[2] * new
    o = gate(o)
    shown = o * squash(_normed(new, weights.gain_c, weights.bias_c))
    gates = {"input": i, "forget": f, "candidate": g, "output": o, "cell": new, "hidden": shown}
    return gates, (shown, new)


def _gru(
    spec: LayerSpec, weights: DirectionWeights, wide: Tensor, h: Tensor, functions: Functions
) -> tuple[Gates, tuple[Tensor, ...]]:
    squash, gate = ACTIVATIONS[functions.squash], ACTIVATIONS[functions.gate]
    r_x, z_x, n_x = wide.chunk(3, dim=-1)
    if spec.cell == "gru":
        r_h, z_h, n_h = _recurrent(weights, h).chunk(3, dim=-1)
        r, z = gate(r_x + r_h), gate(z_x + z_h)
        n = squash(n_x + r * n_h)
    else:
        W_r, W_z, W_n = weights.weight_hh.chunk(3)
        b_r, b_z, b_n = (0.0, 0.0, 0.0) if weights.bias_hh is None else weights.bias_hh.chunk(3)
        r, z = gate(r_x + h @ W_r.T + b_r), gate(z_x + h @ W_z.T + b_z)
        n = squash(n_x + (r * h) @ W_n.T + b_n)
    new = (1 - z) * n + z * h
    return {"reset": r, "update": z, "candidate": n, "hidden": new}, (new,)


def _recurrent(weights: DirectionWeights, h: Tensor) -> Tensor:
    return _normed(h @ weights.weight_hh.T, weights.gain_hh, weights.bias_hh)


def _normed(product: Tensor, gain: Tensor | None, bias: Tensor | None) -> Tensor:
    if gain is not None:
        return torch.nn.functional.layer_norm(product, product.shape[-1:], gain, bias, _EPSILON)
    return product if bias is None else product + bias
