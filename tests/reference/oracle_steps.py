"""Single steps of one row, written by hand in torch, for cells that torch does not have."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from .problems import Variant

Step = Callable[[Tensor, tuple[Tensor, ...], dict[str, Tensor]], tuple[Tensor, ...]]
"""From x (C,), the state and the masks of this step to the new state."""


def lstm_with_peepholes(leaves: dict[str, Tensor]) -> Step:
    """Unit by unit, as the paper draws it: unit k of the four gates, and the three peepholes of cell k."""
    w_x, w_h, b_x, b_h = (leaves[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    p, H = leaves["peephole"], w_h.shape[1]

    def step(x: Tensor, state: tuple[Tensor, ...], _: dict[str, Tensor]) -> tuple[Tensor, ...]:
        h, c = state
        new_h, new_c = [], []
        for k in range(H):
            i_k, f_k, g_k, o_k = (
                w_x[gate * H + k].dot(x) + b_x[gate * H + k] + w_h[gate * H + k].dot(h) + b_h[gate * H + k]
                for gate in range(4)
            )
            in_gate = 1 / (1 + torch.exp(-i_k - p[0, k] * c[k]))
            forget_gate = 1 / (1 + torch.exp(-f_k - p[1, k] * c[k]))
            cell = c[k] * forget_gate + torch.tanh(g_k) * in_gate
            out_gate = 1 / (1 + torch.exp(-o_k - p[2, k] * cell))
            new_h.append(torch.tanh(cell) * out_gate)
            new_c.append(cell)
        return torch.stack(new_h), torch.stack(new_c)

    return step


def gru_reset_before(leaves: dict[str, Tensor]) -> Step:
    """Unit by unit, as Cho et al. 2014 write it, section 2.3."""
    w_x, w_h, b_x, b_h = (leaves[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    H = w_h.shape[1]

    def step(x: Tensor, state: tuple[Tensor, ...], _: dict[str, Tensor]) -> tuple[Tensor, ...]:
        (h,) = state
        r = [1 / (1 + torch.exp(-w_x[k].dot(x) - b_x[k] - w_h[k].dot(h) - b_h[k])) for k in range(H)]
        new_h = []
        for k in range(H):
            u, n = H + k, 2 * H + k
            z = 1 / (1 + torch.exp(-w_x[u].dot(x) - b_x[u] - w_h[u].dot(h) - b_h[u]))
            seen = sum(w_h[n, j] * r[j] * h[j] for j in range(H))
            new_h.append(z * h[k] + (1 - z) * torch.tanh(w_x[n].dot(x) + b_x[n] + seen + b_h[n]))
        return (torch.stack(new_h),)

    return step


def regularised_step(variant: Variant, leaves: dict[str, Tensor]) -> Step:
    """All options of a cell, with torch's own layer norm; an option that is off does nothing.

    Where the reference adds up the two products, the paper's formulas stand here gate by gate.
    """
    w_x, w_h, b_x, b_h = (leaves[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    G = variant.gates
    H = len(w_x) // G

    def product(weight: Tensor, bias: Tensor, gain: Tensor | None, v: Tensor) -> tuple[Tensor, ...]:
        a = torch.mv(weight, v)
        a = a + bias if gain is None else layer_norm(a, (G * H,), gain, bias, eps=1e-5)
        return a.chunk(G)

    def lstm(x: Tensor, state: tuple[Tensor, ...], masks: dict[str, Tensor]) -> tuple[Tensor, ...]:
        h, c = state
        xi, xf, xg, xo = product(w_x, b_x, leaves.get("gain_ih"), x)
        hi, hf, hg, ho = product(w_h, b_h, leaves.get("gain_hh"), h * masks.get("hidden", 1.0))
        pi, pf, po = leaves["peephole"] if variant.peephole else torch.zeros(3, H, dtype=x.dtype)
        candidate = masks.get("candidate", 1.0) * torch.tanh(xg + hg)
        new_c = torch.sigmoid(xf + hf + pf * c) * c + torch.sigmoid(xi + hi + pi * c) * candidate
        shown = (
            layer_norm(new_c, (H,), leaves["gain_c"], leaves["bias_c"], eps=1e-5) if variant.norm else new_c
        )
        new_h = torch.sigmoid(xo + ho + po * new_c) * torch.tanh(shown)
        if variant.projection:
            new_h = torch.mv(leaves["weight_hr"], new_h)
        return _zoned(h, new_h, masks.get("zoneout_hidden")), _zoned(c, new_c, masks.get("zoneout_cell"))

    def gru(x: Tensor, state: tuple[Tensor, ...], masks: dict[str, Tensor]) -> tuple[Tensor, ...]:
        (h,) = state
        dropped = h * masks.get("hidden", 1.0)
        xr, xz, xn = product(w_x, b_x, leaves.get("gain_ih"), x)
        hr, hz, hn = product(w_h, b_h, leaves.get("gain_hh"), dropped)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
        gated = r * hn if variant.form == "after" else torch.mv(w_h[2 * H :], r * dropped) + b_h[2 * H :]
        n = masks.get("candidate", 1.0) * torch.tanh(xn + gated)
        return (_zoned(h, n + z * (h - n), masks.get("zoneout_hidden")),)

    def rnn(x: Tensor, state: tuple[Tensor, ...], masks: dict[str, Tensor]) -> tuple[Tensor, ...]:
        (h,) = state
        (a,) = product(w_x, b_x, leaves.get("gain_ih"), x)
        (b,) = product(w_h, b_h, leaves.get("gain_hh"), h * masks.get("hidden", 1.0))
        return (_zoned(h, torch.tanh(a + b), masks.get("zoneout_hidden")),)

    return {"lstm": lstm, "gru": gru, "rnn": rnn}[variant.cell]


def _zoned(old: Tensor, new: Tensor, share: Tensor | None) -> Tensor:
    return new if share is None else torch.lerp(old, new, share)
