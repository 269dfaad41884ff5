"""The three cells with other functions than tanh and the logistic one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from gatestack.reference.activation_table import ACTIVATIONS
from gatestack.reference.affine import affine, affine_backward
from gatestack.reference.cell import (
    NO_DROPOUT,
    Array,
    CommonWeights,
    Record,
    State,
    StepDropout,
    StepGradients,
    check_weights,
)
from gatestack.reference.gru import Reset


@dataclass(frozen=True, eq=False)
class ActivatedLSTMCell(CommonWeights):
    """The LSTM with φ in the place of tanh and s in that of the logistic function.

        i, f, o = s(a_i), s(a_f), s(a_o)        g = φ(a_g)        a = W_ih x + b_ih + W_hh h + b_hh
        c' = f * c + i * g
        h' = o * φ(c')

    Args:
        weight_ih: (4*H, C); gates i f g o.
        weight_hh: (4*H, H).
        bias_ih: (4*H,).
        bias_hh: (4*H,).
        activation: φ, a name in `ACTIVATIONS`. Default "tanh".
        gate_activation: s. Default "sigmoid".

    Raises:
        ValueError: a weight is not float64, or its shape does not fit.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> weight_ih, weight_hh = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
        >>> cell = ActivatedLSTMCell(weight_ih, weight_hh, np.zeros(8), np.zeros(8), "elu", "hard_sigmoid")
        >>> (h, c), record = cell.step(rng.normal(size=(5, 3)), (np.zeros((5, 2)), np.zeros((5, 2))))
        >>> h.shape
        (5, 2)

    Source:
        As for `LSTMCell`; the choice of functions is that of Keras and ONNX.
    """

    activation: str = "tanh"
    gate_activation: str = "sigmoid"

    def __post_init__(self) -> None:
        check_weights("ActivatedLSTMCell", 4, self.weights)

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Two arrays are carried, h and c: (H, H)."""
        return self.hidden_size, self.hidden_size

    def step(self, x: Array, state: State, dropout: StepDropout = NO_DROPOUT) -> tuple[State, Record]:
        """One step forward, from x (N, C) and (h, c), each (N, H), to (h', c') and the record."""
        squash, gate = ACTIVATIONS[self.activation], ACTIVATIONS[self.gate_activation]
        h, c = state
        a_x, from_x = affine(self.weight_ih, self.bias_ih, None, x)
        a_h, from_h = affine(self.weight_hh, self.bias_hh, None, dropout.hidden * h)
        a_i, a_f, a_g, a_o = np.split(a_x + a_h, 4, axis=1)  # each (N, H)
        g = dropout.candidate * squash.value(a_g)
        c_new = gate.value(a_f) * c + gate.value(a_i) * g
        h_new = gate.value(a_o) * squash.value(c_new)
        return (h_new, c_new), (dropout, from_x, from_h, c, a_i, a_f, a_g, a_o, g, c_new)

    def step_backward(self, record: Record, d_state: State) -> StepGradients:
        """One step backward; d_v is the gradient of the loss with respect to v.

            d_a_o = d_h' * φ(c') * s'(a_o)              d_c' = d_c' + d_h' * s(a_o) * φ'(c')
            d_a_i = d_c' * g * s'(a_i)                  d_a_f = d_c' * c * s'(a_f)
            d_a_g = d_c' * s(a_i) * candidate * φ'(a_g) d_c = d_c' * s(a_f)

        Returns:
            Gradients of x (N, C), of the state, and of the weights, summed over the batch.
        """
        squash, gate = ACTIVATIONS[self.activation], ACTIVATIONS[self.gate_activation]
        d_h_new, d_c_new = d_state
        dropout, from_x, from_h, c, a_i, a_f, a_g, a_o, g, c_new = record
        d_a_o = d_h_new * squash.value(c_new) * gate.slope(a_o)
        d_c_new = d_c_new + d_h_new * gate.value(a_o) * squash.slope(c_new)
        d_a_i = d_c_new * g * gate.slope(a_i)
        d_a_f = d_c_new * c * gate.slope(a_f)
        d_a_g = d_c_new * gate.value(a_i) * dropout.candidate * squash.slope(a_g)
        d_c = d_c_new * gate.value(a_f)
        d_a = np.concatenate([d_a_i, d_a_f, d_a_g, d_a_o], axis=1)  # -> (N, 4H)
        d_x, d_input = affine_backward("ih", self.weight_ih, None, from_x, d_a)
        d_seen, d_hidden = affine_backward("hh", self.weight_hh, None, from_h, d_a)
        return StepGradients(x=d_x, state=(dropout.hidden * d_seen, d_c), weights=d_input | d_hidden)


@dataclass(frozen=True, eq=False)
class ActivatedGRUCell(CommonWeights):
    """The GRU with φ in the place of tanh and s in that of the logistic function.

        r, z = s(a_r), s(a_z)
        n  = φ(W_in x + b_in + r * (W_hn h + b_hn))         reset="after"
        n  = φ(W_in x + b_in + W_hn (r * h) + b_hn)         reset="before"
        h' = (1 - z) * n + z * h

    Args:
        weight_ih: (3*H, C); gates r z n.
        weight_hh: (3*H, H).
        bias_ih: (3*H,).
        bias_hh: (3*H,).
        activation: φ, a name in `ACTIVATIONS`. Default "tanh".
        gate_activation: s. Default "sigmoid".
        reset: "after" (default) or "before" the product W_hn h.

    Raises:
        ValueError: `reset` is neither of the two, a weight is not float64, or its shape does not fit.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> cell = ActivatedGRUCell(
        ...     rng.normal(size=(6, 3)), rng.normal(size=(6, 2)), np.zeros(6), np.zeros(6), "softsign")
        >>> (h,), record = cell.step(rng.normal(size=(5, 3)), (np.zeros((5, 2)),))
        >>> h.shape
        (5, 2)

    Source:
        As for `GRUCell`; the choice of functions is that of Keras and ONNX.
    """

    activation: str = "tanh"
    gate_activation: str = "sigmoid"
    reset: Reset = "after"

    def __post_init__(self) -> None:
        if self.reset not in get_args(Reset):
            raise ValueError(f"ActivatedGRUCell: reset is {self.reset!r} — expected 'after' or 'before'")
        check_weights("ActivatedGRUCell", 3, self.weights)

    def step(self, x: Array, state: State, dropout: StepDropout = NO_DROPOUT) -> tuple[State, Record]:
        """One step forward, from x (N, C) and (h,), (N, H), to (h',) and the record."""
        squash, gate = ACTIVATIONS[self.activation], ACTIVATIONS[self.gate_activation]
        (h,) = state
        H, fed = self.hidden_size, dropout.hidden * h
        a_x, from_x = affine(self.weight_ih, self.bias_ih, None, x)
        x_r, x_z, x_n = np.split(a_x, 3, axis=1)  # each (N, H)
        a_gates, from_gates = affine(self.weight_hh[: 2 * H], self.bias_hh[: 2 * H], None, fed)
        a_r, a_z = x_r + a_gates[:, :H], x_z + a_gates[:, H:]
        r, z = gate.value(a_r), gate.value(a_z)
        product, from_n = affine(
            self.weight_hh[2 * H :], self.bias_hh[2 * H :], None, fed if self.reset == "after" else r * fed
        )
        a_n = x_n + (r * product if self.reset == "after" else product)
        n = dropout.candidate * squash.value(a_n)
        h_new = (1.0 - z) * n + z * h
        return (h_new,), (dropout, from_x, from_gates, from_n, h, a_r, a_z, r, z, product, a_n, n)

    def step_backward(self, record: Record, d_state: State) -> StepGradients:
        """One step backward; d_v is the gradient of the loss with respect to v.

            d_a_z = d_h' * (h - n) * s'(a_z)            d_a_n = d_h' * (1 - z) * candidate * φ'(a_n)
            d_p = d_a_n * r                             d_r = d_a_n * p,   with p = W_hn h + b_hn
            d_p = d_a_n                                 d_r = h * (W_hn^T d_a_n), resetting before
            d_a_r = d_r * s'(a_r)

        Returns:
            Gradients of x (N, C), of the state, and of the weights, summed over the batch.
        """
        squash, gate = ACTIVATIONS[self.activation], ACTIVATIONS[self.gate_activation]
        (d_h_new,) = d_state
        dropout, from_x, from_gates, from_n, h, a_r, a_z, r, z, product, a_n, n = record
        H, fed = self.hidden_size, dropout.hidden * h
        d_a_n = d_h_new * (1.0 - z) * dropout.candidate * squash.slope(a_n)
        d_product = d_a_n * r if self.reset == "after" else d_a_n
        d_read, d_candidate = affine_backward("hh", self.weight_hh[2 * H :], None, from_n, d_product)
        d_r = d_a_n * product if self.reset == "after" else d_read * fed
        d_gates = np.concatenate([d_r * gate.slope(a_r), d_h_new * (h - n) * gate.slope(a_z)], axis=1)
        d_fed, d_hidden = affine_backward("hh", self.weight_hh[: 2 * H], None, from_gates, d_gates)
        d_fed = d_fed + (d_read if self.reset == "after" else d_read * r)
        d_x, d_input = affine_backward(
            "ih", self.weight_ih, None, from_x, np.concatenate([d_gates, d_a_n], axis=1)
        )
        joined = {name: np.concatenate([part, d_candidate[name]]) for name, part in d_hidden.items()}
        d_h = dropout.hidden * d_fed + d_h_new * z
        return StepGradients(x=d_x, state=(d_h,), weights=d_input | joined)


@dataclass(frozen=True, eq=False)
class ActivatedRNNCell(CommonWeights):
    """The plain cell with any φ: h' = φ(W_ih x + b_ih + W_hh h + b_hh).

    Args:
        weight_ih: (H, C).
        weight_hh: (H, H).
        bias_ih: (H,).
        bias_hh: (H,).
        activation: φ, a name in `ACTIVATIONS`. Default "tanh".

    Raises:
        ValueError: a weight is not float64, or its shape does not fit.

    Example:
        >>> import numpy as np
        >>> cell = ActivatedRNNCell(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.zeros(1), "linear")
        >>> cell.step(np.array([[2.0]]), (np.array([[3.0]]),))[0]
        (array([[5.]]),)

    Source:
        Elman 1990, "Finding Structure in Time".
    """

    activation: str = "tanh"

    def __post_init__(self) -> None:
        check_weights("ActivatedRNNCell", 1, self.weights)

    def step(self, x: Array, state: State, dropout: StepDropout = NO_DROPOUT) -> tuple[State, Record]:
        """One step forward, from x (N, C) and (h,), (N, H), to (h',) and the record."""
        (h,) = state
        a_x, from_x = affine(self.weight_ih, self.bias_ih, None, x)
        a_h, from_h = affine(self.weight_hh, self.bias_hh, None, dropout.hidden * h)
        return (ACTIVATIONS[self.activation].value(a_x + a_h),), (dropout, from_x, from_h, a_x + a_h)

    def step_backward(self, record: Record, d_state: State) -> StepGradients:
        """One step backward: d_a = d_h' * φ'(a)."""
        dropout, from_x, from_h, a = record
        d_a = d_state[0] * ACTIVATIONS[self.activation].slope(a)
        d_x, d_input = affine_backward("ih", self.weight_ih, None, from_x, d_a)
        d_seen, d_hidden = affine_backward("hh", self.weight_hh, None, from_h, d_a)
        return StepGradients(x=d_x, state=(dropout.hidden * d_seen,), weights=d_input | d_hidden)
