"""The convolutional LSTM on torch's own operators: every activation, any device, gradients of any order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gatestack.kernels.conv_lstm.spec import ConvSpec, ConvWeights, convolve_state, odd_sized

__all__ = ["run_loop"]


def run_loop(
    spec: ConvSpec,
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: ConvWeights,
    factors: Tensor | None,
    sizes: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a layer over real steps; the arguments are those of `run_fused`."""
    weight = odd_sized(weights.weight_hh)
    p_i, p_f, p_o = (None,) * 3 if weights.peephole is None else weights.peephole
    activate, open_gate = spec.activation, spec.gate_activation
    outputs = []
    for sums in torch.split(spec.convolve_input(x, weights.weight_ih, weights.bias), list(sizes)):
        rows = sums.shape[0]
        h_before, c_before = h[:rows], c[:rows]
        seen = h_before if factors is None else h_before * factors[:rows]
        i, f, g, o = (sums + convolve_state(seen, weight)).chunk(4, dim=1)
        if p_i is not None and p_f is not None:
            i, f = i + p_i * c_before, f + p_f * c_before
        c_new = open_gate(f) * c_before + open_gate(i) * activate(g)
        if p_o is not None:
            o = o + p_o * c_new
        h_new = open_gate(o) * activate(c_new)
        outputs.append(h_new)
        # Rows that have ended keep their state.
        h, c = torch.cat((h_new, h[rows:])), torch.cat((c_new, c[rows:]))
    return torch.cat(outputs), h, c
