"""The plain recurrent cell, tanh or relu."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from gatestack.reference.activations import relu
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

Activation: TypeAlias = Literal["tanh", "relu"]


@dataclass(frozen=True, eq=False)
class RNNCell(CommonWeights):
    """Plain recurrent unit, without gates.

    One step, from h and x to h', with φ = tanh or relu:

        h' = φ(W_ih x + b_ih + W_hh h + b_hh)

    With layer normalisation, W_ih x becomes LN(W_ih x) * gain_ih, and W_hh h likewise.

    Args:
        weight_ih: W_ih, (H, C).
        weight_hh: W_hh, (H, H).
        bias_ih: b_ih, (H,).
        bias_hh: b_hh, (H,). One bias would do; torch and cuDNN have two.
        activation: φ, "tanh" (default) or "relu".
        gain_ih: of LN(W_ih x), (H,), or None (default) for no layer normalisation; both gains, or neither.
        gain_hh: of LN(W_hh h), (H,).

    Raises:
        ValueError: `activation` is neither of the two, or a weight is not float64 or its shape does not fit.

    Example:
        >>> import numpy as np
        >>> cell = RNNCell(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.zeros(1), activation="relu")
        >>> (h,), record = cell.step(np.array([[2.0]]), (np.array([[3.0]]),))
        >>> h
        array([[5.]])

    Source:
        Elman 1990, "Finding Structure in Time" (there with a logistic φ);
        Graves, Mohamed & Hinton 2013, arXiv 1303.5778, "Recurrent Neural Networks";
        relu: Le, Jaitly & Hinton 2015, "A Simple Way to Initialize Recurrent Networks of Rectified
        Linear Units", arXiv 1504.00941;
        gains: Ba, Kiros & Hinton 2016, "Layer Normalization", arXiv 1607.06450, with the two products
        normalised apart from each other, as in equation 20 of the supplement.
    """

    activation: Activation = "tanh"

    def __post_init__(self) -> None:
        if self.activation not in get_args(Activation):
            raise ValueError(f"RNNCell: activation is {self.activation!r} — expected 'tanh' or 'relu'")
        check_weights("RNNCell", 1, self.weights)

    def step(self, x: Array, state: State, dropout: StepDropout = NO_DROPOUT) -> tuple[State, Record]:
        """One step forward.

        Args:
            x: input of the step, (N, C).
            state: (h,) before the step, (N, H).
            dropout: its factors, of which `hidden` (N, H) is looked at; default none.

        Returns:
            (h',), (N, H), and the record that `step_backward` takes.

        Example:
            >>> import numpy as np
            >>> cell = RNNCell(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.zeros(1))
            >>> (h,), record = cell.step(np.array([[0.25]]), (np.array([[0.25]]),))
            >>> h.round(4)  # tanh(0.5)
            array([[0.4621]])
        """
        (h,) = state
        a_x, from_x = affine(self.weight_ih, self.bias_ih, self.gain_ih, x)
        a_h, from_h = affine(self.weight_hh, self.bias_hh, self.gain_hh, dropout.hidden * h)
        a = a_x + a_h
        h_new = np.tanh(a) if self.activation == "tanh" else relu(a)
        return (h_new,), (dropout, from_x, from_h, h_new)

    def step_backward(self, record: Record, d_state: State) -> StepGradients:
        """One step backward; d_v is the gradient of the loss with respect to v.

            d_a = d_h' * (1 - h'²)     tanh
            d_a = d_h' * [h' > 0]      relu
            d_x = W_ih^T d_a         d_h = hidden * (W_hh^T d_a)
            d_W_ih = d_a x^T         d_W_hh = d_a (hidden * h)^T         d_b_ih = d_b_hh = d_a

        With layer normalisation, what stands beside d_x, d_h, d_W_ih and d_W_hh is that of `affine_backward`.

        Args:
            record: what `step` returned.
            d_state: gradient of (h',), (N, H).

        Returns:
            Gradients of x (N, C), of (h,), (N, H), and of the weights, summed over the batch.

        Example:
            >>> import numpy as np
            >>> cell = RNNCell(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.zeros(1), "relu")
            >>> _, record = cell.step(np.array([[2.0]]), (np.array([[3.0]]),))
            >>> cell.step_backward(record, (np.ones((1, 1)),)).weights["weight_hh"]
            array([[3.]])

        Source:
            The chain rule applied to the equation of `RNNCell`;
            derived in docs/derivations/recurrent_cells.md.
        """
        (d_h_new,) = d_state
        dropout, from_x, from_h, h_new = record
        slope = 1.0 - h_new**2 if self.activation == "tanh" else np.where(h_new > 0.0, 1.0, 0.0)
        d_a = d_h_new * slope
        d_x, d_input = affine_backward("ih", self.weight_ih, self.gain_ih, from_x, d_a)
        d_seen, d_hidden = affine_backward("hh", self.weight_hh, self.gain_hh, from_h, d_a)
        return StepGradients(x=d_x, state=(dropout.hidden * d_seen,), weights=d_input | d_hidden)
