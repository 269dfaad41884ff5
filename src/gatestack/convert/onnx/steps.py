"""One step of a recurrent cell out of elementary operators, for what ONNX's own operators lack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gatestack.convert.onnx.activations import activated
from gatestack.convert.onnx.builder import Array, GraphBuilder, Value

__all__ = ["CellWeights", "cell_step", "input_product"]

_EPSILON = 1e-5  # of the layer normalisation, as in torch


@dataclass(frozen=True)
class CellWeights:
    """The parameters of one direction in our layout and order: gates i f g o or r z n, peepholes i f o.

    Args:
        cell: "lstm", "gru", "gru_reset_before" or "rnn".
        weight_ih: (G·H, C).
        weight_hh: (G·H, P).
        bias_ih: (G·H,).
        bias_hh: (G·H,).
        weight_hr: (P, H), or None.
        peephole: (3, H), or None.
        gain_ih: (G·H,), or None without layer normalisation.
        gain_hh: (G·H,), or None.
        gain_c: (H,), or None.
        bias_c: (H,), or None.
        activation: φ, tanh unless said.
        gate_activation: σ.
        zoneout_hidden: share of h that stays, in expectation.
        zoneout_cell: share of c that stays.
    """

    cell: str
    weight_ih: Array
    weight_hh: Array
    bias_ih: Array
    bias_hh: Array
    weight_hr: Array | None = None
    peephole: Array | None = None
    gain_ih: Array | None = None
    gain_hh: Array | None = None
    gain_c: Array | None = None
    bias_c: Array | None = None
    activation: str = "tanh"
    gate_activation: str = "sigmoid"
    zoneout_hidden: float = 0.0
    zoneout_cell: float = 0.0

    @property
    def hidden_size(self) -> int:
        """H."""
        gates = {"lstm": 4, "gru": 3, "gru_reset_before": 3, "rnn": 1}[self.cell]
        return int(self.weight_ih.shape[0]) // gates

    @property
    def inner_bias(self) -> Array | None:
        """The second bias, where it cannot be added before the loop: beside what is normalised, or gated."""
        return self.bias_hh if self.cell == "gru" or self.gain_hh is not None else None


def input_product(b: GraphBuilder, name: str, weights: CellWeights, x: Value) -> Value:
    """Compute W_ih x with bias and normalisation for x (…, C) -> (…, G·H), outside the loop over time."""
    product = b.op("MatMul", x, b.matrix(name + "weight_ih", weights.weight_ih))
    bias = weights.bias_ih if weights.inner_bias is not None else weights.bias_ih + weights.bias_hh
    return _normed(b, name + "ih", product, weights.gain_ih, bias)


def cell_step(
    b: GraphBuilder, name: str, weights: CellWeights
) -> Callable[[GraphBuilder, Value, tuple[Value, ...]], tuple[Value, ...]]:
    """Make a function for the body of a loop: step(body, wide (N, G·H), state) -> the new state.

    Args:
        b: the graph around the loop, where the weights go.
        name: put before the names of the weights.
        weights: of the cell.
    """
    makers = {"lstm": _lstm, "gru": _gru_after, "gru_reset_before": _gru_before, "rnn": _rnn}
    step = makers[weights.cell](b, name, weights)

    def zoned(body: GraphBuilder, wide: Value, state: tuple[Value, ...]) -> tuple[Value, ...]:
        shares = (weights.zoneout_hidden, weights.zoneout_cell)
        return tuple(
            _mixed(body, new, old, share)
            for new, old, share in zip(step(body, wide, state), state, shares, strict=False)
        )

    return zoned


_Step = Callable[[GraphBuilder, Value, tuple[Value, ...]], tuple[Value, ...]]


def _lstm(b: GraphBuilder, name: str, w: CellWeights) -> _Step:
    recurrent = b.matrix(name + "weight_hh", w.weight_hh)
    project = None if w.weight_hr is None else b.matrix(name + "weight_hr", w.weight_hr)
    peephole = [] if w.peephole is None else [b.weight(name + "peephole", part) for part in w.peephole]

    def step(body: GraphBuilder, wide: Value, state: tuple[Value, ...]) -> tuple[Value, ...]:
        h, c = state
        product = _normed(body, name + "hh", body.op("MatMul", h, recurrent), w.gain_hh, w.inner_bias)
        i, f, g, o = _split(body, body.op("Add", wide, product), 4, w.hidden_size)
        if peephole:
            i = body.op("Add", i, body.op("Mul", peephole[0], c))
            f = body.op("Add", f, body.op("Mul", peephole[1], c))
        i, f = activated(body, w.gate_activation, i), activated(body, w.gate_activation, f)
        g = activated(body, w.activation, g)
        c = body.op("Add", body.op("Mul", f, c), body.op("Mul", i, g))
        if peephole:
            o = body.op("Add", o, body.op("Mul", peephole[2], c))
        o = activated(body, w.gate_activation, o)
        shown = c if w.gain_c is None else _normed(body, name + "c", c, w.gain_c, w.bias_c)
        h = body.op("Mul", o, activated(body, w.activation, shown))
        return (h if project is None else body.op("MatMul", h, project)), c

    return step


def _gru_after(b: GraphBuilder, name: str, w: CellWeights) -> _Step:
    recurrent = b.matrix(name + "weight_hh", w.weight_hh)

    def step(body: GraphBuilder, wide: Value, state: tuple[Value, ...]) -> tuple[Value, ...]:
        (h,) = state
        product = _normed(body, name + "hh", body.op("MatMul", h, recurrent), w.gain_hh, w.inner_bias)
        r_x, z_x, n_x = _split(body, wide, 3, w.hidden_size)
        r_h, z_h, n_h = _split(body, product, 3, w.hidden_size)
        r = activated(body, w.gate_activation, body.op("Add", r_x, r_h))
        z = activated(body, w.gate_activation, body.op("Add", z_x, z_h))
        n = activated(body, w.activation, body.op("Add", n_x, body.op("Mul", r, n_h)))
        return (_updated(body, z, n, h),)

    return step


def _gru_before(b: GraphBuilder, name: str, w: CellWeights) -> _Step:
    both = 2 * w.hidden_size
    gates = b.matrix(name + "weight_hh_rz", w.weight_hh[:both])
    candidate = b.matrix(name + "weight_hh_n", w.weight_hh[both:])

    def step(body: GraphBuilder, wide: Value, state: tuple[Value, ...]) -> tuple[Value, ...]:
        (h,) = state
        r_x, z_x, n_x = _split(body, wide, 3, w.hidden_size)
        r_h, z_h = _split(body, body.op("MatMul", h, gates), 2, w.hidden_size)
        r = activated(body, w.gate_activation, body.op("Add", r_x, r_h))
        z = activated(body, w.gate_activation, body.op("Add", z_x, z_h))
        seen = body.op("MatMul", body.op("Mul", r, h), candidate)
        n = activated(body, w.activation, body.op("Add", n_x, seen))
        return (_updated(body, z, n, h),)

    return step


def _rnn(b: GraphBuilder, name: str, w: CellWeights) -> _Step:
    recurrent = b.matrix(name + "weight_hh", w.weight_hh)

    def step(body: GraphBuilder, wide: Value, state: tuple[Value, ...]) -> tuple[Value, ...]:
        (h,) = state
        product = _normed(body, name + "hh", body.op("MatMul", h, recurrent), w.gain_hh, w.inner_bias)
        return (activated(body, w.activation, body.op("Add", wide, product)),)

    return step


def _updated(body: GraphBuilder, z: Value, n: Value, h: Value) -> Value:
    """(1 − z) ⊙ n + z ⊙ h."""
    one = body.number(1)
    return body.op("Add", body.op("Mul", body.op("Sub", one, z), n), body.op("Mul", z, h))


def _normed(b: GraphBuilder, name: str, a: Value, gain: Array | None, bias: Array | None) -> Value:
    """Normalise where there is a gain, then add the bias."""
    if gain is not None:
        shift = np.zeros_like(gain) if bias is None else bias
        scale = b.weight("gain_" + name, gain)
        return b.op(
            "LayerNormalization", a, scale, b.weight("bias_" + name, shift), axis=-1, epsilon=_EPSILON
        )
    return a if bias is None else b.op("Add", a, b.weight("bias_" + name, bias))


def _split(b: GraphBuilder, value: Value, parts: int, size: int) -> tuple[Value, ...]:
    return b.ops("Split", value, b.ints(*[size] * parts), outputs=parts, axis=-1)


def _mixed(b: GraphBuilder, new: Value, old: Value, share: float) -> Value:
    """(1 − p) new + p old, the expectation of zoneout."""
    if share == 0:
        return new
    kept = b.op("Mul", new, b.number(1 - share))
    return b.op("Add", kept, b.op("Mul", old, b.number(share)))
