"""One step of each cell with its gates laid open, differentiable, over any leading axes.

The kernels compute the same and keep no gates. What is computed here from the states that the kernels gave is
compared with their outputs (`recording`), and tested against `gatestack.reference`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gatestack.kernels.spec import DirectionWeights, LayerSpec

__all__ = ["QUANTITIES", "Gates", "cell_step", "quantities_of"]

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


def quantities_of(spec: LayerSpec) -> tuple[str, ...]:
    """Name what a unit of a layer has, in the order of computation.

    Example:
        >>> quantities_of(LayerSpec("gru", 3, 8))
        ('reset', 'update', 'candidate', 'hidden')
    """
    return _OF_CELLS[spec.cell]


def cell_step(
    spec: LayerSpec, weights: DirectionWeights, x: Tensor, state: tuple[Tensor, ...]
) -> tuple[Gates, tuple[Tensor, ...]]:
    r"""Compute one step in eval mode, gates included.

    The equations are those of `gatestack.nn.LSTM`, `LSTMForm`, `GRU` and `RNN`. Zoneout, which in eval mode
    mixes the new state with the old one, is part of the state that is given.

    Args:
        spec: of the layer.
        weights: of one direction of it.
        x: (…, C), the input of the step.
        state: before the step, (h (…, P), c (…, H)), or (h (…, H),).

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
        gates, new = _lstm(weights, wide, h, state[1])
    elif spec.cell in ("gru", "gru_reset_before"):
        gates, new = _gru(spec, weights, wide, h)
    else:
        total = wide + _recurrent(weights, h)
        shown = torch.tanh(total) if spec.cell == "rnn_tanh" else torch.relu(total)
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


def _lstm(weights: DirectionWeights, wide: Tensor, h: Tensor, c: Tensor) -> tuple[Gates, tuple[Tensor, ...]]:
    i, f, g, o = (wide + _recurrent(weights, h)).chunk(4, dim=-1)
    if weights.peephole is not None:
        i, f = i + weights.peephole[0] * c, f + weights.peephole[1] * c
    i, f, g = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g)
    new_c = f * c + i * g
    if weights.peephole is not None:
        o = o + weights.peephole[2] * new_c
    o = torch.sigmoid(o)
    shown = o * torch.tanh(_normed(new_c, weights.gain_c, weights.bias_c))
    new_h = shown if weights.weight_hr is None else shown @ weights.weight_hr.T  # -> (…, P)
    gates = {"input": i, "forget": f, "candidate": g, "output": o, "cell": new_c, "hidden": shown}
    return gates, (new_h, new_c)


def _gru(
    spec: LayerSpec, weights: DirectionWeights, wide: Tensor, h: Tensor
) -> tuple[Gates, tuple[Tensor, ...]]:
    r_x, z_x, n_x = wide.chunk(3, dim=-1)
    if spec.cell == "gru":
        r_h, z_h, n_h = _recurrent(weights, h).chunk(3, dim=-1)
        r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
        n = torch.tanh(n_x + r * n_h)
    else:
        W_r, W_z, W_n = weights.weight_hh.chunk(3)
        b_r, b_z, b_n = (0.0, 0.0, 0.0) if weights.bias_hh is None else weights.bias_hh.chunk(3)
        r, z = torch.sigmoid(r_x + h @ W_r.T + b_r), torch.sigmoid(z_x + h @ W_z.T + b_z)
        n = torch.tanh(n_x + (r * h) @ W_n.T + b_n)
    new = (1 - z) * n + z * h
    return {"reset": r, "update": z, "candidate": n, "hidden": new}, (new,)


def _recurrent(weights: DirectionWeights, h: Tensor) -> Tensor:
    return _normed(h @ weights.weight_hh.T, weights.gain_hh, weights.bias_hh)


def _normed(product: Tensor, gain: Tensor | None, bias: Tensor | None) -> Tensor:
    if gain is not None:
        return torch.nn.functional.layer_norm(product, product.shape[-1:], gain, bias, _EPSILON)
    return product if bias is None else product + bias
