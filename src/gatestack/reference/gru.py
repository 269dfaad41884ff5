"""The GRU cell, with the reset gate before or after the recurrent product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from gatestack.reference.activations import sigmoid
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

Reset: TypeAlias = Literal["after", "before"]


@dataclass(frozen=True, eq=False)
class GRUCell(CommonWeights):
    """Gated recurrent unit: one state h behind a reset and an update gate.

    One step, from h and x to h'; σ is the logistic function, * the product by element:

        r  = σ(W_ir x + b_ir + W_hr h + b_hr)
        z  = σ(W_iz x + b_iz + W_hz h + b_hz)
        n  = tanh(W_in x + b_in + r * (W_hn h + b_hn))       reset="after"
        n  = tanh(W_in x + b_in + W_hn (r * h) + b_hn)       reset="before"
        h' = (1 - z) * n + z * h

    With layer normalisation, which "after" alone has, the three products W x become LN(W x) * gain_ih, one
    mean and one variance for all 3*H entries, and W h likewise:

        n  = tanh(LN(W x)_n * gain_in + b_in + r * (LN(W h)_n * gain_hn + b_hn))

    "after": the gate acts on the finished product, its bias included. It lets one matrix product serve
    all three gates; `torch.nn.GRU` and cuDNN compute it.
    "before": the gate acts on the state, as in the paper; for models that were trained with it.

    Args:
        weight_ih: (W_ir|W_iz|W_in), (3*H, C).
        weight_hh: (W_hr|W_hz|W_hn), (3*H, H).
        bias_ih: (b_ir|b_iz|b_in), (3*H,).
        bias_hh: (b_hr|b_hz|b_hn), (3*H,). With "after", b_hn is no double of b_in: it is gated.
        reset: "after" (default) or "before".
        gain_ih: of LN(W x), (3*H,), or None (default) for no layer normalisation; both gains, or neither.
        gain_hh: of LN(W h), (3*H,).

    Raises:
        ValueError: `reset` is neither of the two, gains are given with "before", or a weight is not float64
            or its shape does not fit.

    Notes:
        The paper has no biases. Chung et al. 2014, arXiv 1412.3555, gives z the opposite sense,
        h' = (1 - z) * h + z * n; here z keeps the old state, as in Cho et al. and torch.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> cell = GRUCell(
        ...     weight_ih=rng.normal(size=(6, 3)), weight_hh=rng.normal(size=(6, 2)),
        ...     bias_ih=rng.normal(size=6), bias_hh=rng.normal(size=6), reset="before")
        >>> (h,), record = cell.step(rng.normal(size=(5, 3)), (np.zeros((5, 2)),))
        >>> h.shape
        (5, 2)

    Source:
        Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder", section 2.3, "Hidden
        Unit that Adaptively Remembers and Forgets": reset "before" in arXiv 1406.1078v3, the version that
        was published; "after" is the order of the first version, arXiv 1406.1078v1.
        Layer normalisation: Ba, Kiros & Hinton 2016, arXiv 1607.06450, the GRU of the supplement; it gates
        the finished product as well.
    """

    reset: Reset = "after"

    def __post_init__(self) -> None:
        if self.reset not in get_args(Reset):
            raise ValueError(f"GRUCell: reset is {self.reset!r} — expected 'after' or 'before'")
        check_weights("GRUCell", 3, self.weights)
        if self.reset == "before" and self.gain_ih is not None:
            raise ValueError("GRUCell: gains are given with reset='before' — expected them with 'after' only")

    def step(self, x: Array, state: State, dropout: StepDropout = NO_DROPOUT) -> tuple[State, Record]:
        """One step forward.

        Args:
            x: input of the step, (N, C).
            state: (h,) before the step, (N, H).
            dropout: its factors, `hidden` and `candidate`, (N, H) each; default none. With "before", the
                dropped h enters both products: W_hn (r * (hidden * h)).

        Returns:
            (h',), (N, H), and the record that `step_backward` takes.

        Example:
            >>> import numpy as np
            >>> cell = GRUCell(np.zeros((3, 1)), np.zeros((3, 1)), np.zeros(3), np.zeros(3))
            >>> (h,), record = cell.step(np.zeros((1, 1)), (np.ones((1, 1)),))
            >>> h  # the update gate is σ(0)
            array([[0.5]])
        """
        (h,) = state
        seen = dropout.hidden * h
        a_x, from_x = affine(self.weight_ih, self.bias_ih, self.gain_ih, x)
        x_r, x_z, x_n = np.split(a_x, 3, axis=1)  # each (N, H)
        if self.reset == "after":
            a_h, from_h = affine(self.weight_hh, self.bias_hh, self.gain_hh, seen)
            h_r, h_z, m = np.split(a_h, 3, axis=1)
            r = sigmoid(x_r + h_r)
            z = sigmoid(x_z + h_z)
            n = np.tanh(x_n + r * m)
        else:
            (W_rz, b_rz), (W_hn, b_hn) = self._gates_and_candidate()
            a_h, from_h = affine(W_rz, b_rz, None, seen)
            h_r, h_z = np.split(a_h, 2, axis=1)
            r = sigmoid(x_r + h_r)
            z = sigmoid(x_z + h_z)
            m = (r * seen) @ W_hn.T + b_hn
            n = np.tanh(x_n + m)
        h_new = (1.0 - z) * (dropout.candidate * n) + z * h
        return (h_new,), (dropout, from_x, from_h, h, seen, m, r, z, n)

    def _gates_and_candidate(self) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Give weight and bias of the recurrent product for r and z, (2*H, …), and for n, (H, …)."""
        H = self.hidden_size
        return (self.weight_hh[: 2 * H], self.bias_hh[: 2 * H]), (
            self.weight_hh[2 * H :],
            self.bias_hh[2 * H :],
        )

    def step_backward(self, record: Record, d_state: State) -> StepGradients:
        """One step backward; d_v is the gradient of the loss with respect to v.

            d_n = d_h' * (1 - z) * candidate                d_a_n = d_n * (1 - n²)
            d_z = d_h' * (h - candidate * n)                d_a_z = d_z * z * (1 - z)

            reset="after", with v = hidden * h and m = W_hn v + b_hn:
            d_m = d_a_n * r                 d_r = d_a_n * m              d_W_hn = d_m v^T
            d_b_hn = d_m                    from n to v: W_hn^T d_m

            reset="before", with s = r * v:
            d_s = W_hn^T d_a_n              d_r = d_s * v                d_W_hn = d_a_n s^T
            d_b_hn = d_a_n                  from n to v: d_s * r

            d_a_r = d_r * r * (1 - r)
            d_x = W_ir^T d_a_r + W_iz^T d_a_z + W_in^T d_a_n
            d_h = d_h' * z + hidden * (W_hr^T d_a_r + W_hz^T d_a_z + (from n to v))

        The other weights and biases are as in every layer: d_W = d_a x^T or d_a v^T, d_b = d_a.
        With layer normalisation, what stands beside the products is that of `affine_backward`.

        Args:
            record: what `step` returned.
            d_state: gradient of (h',), (N, H).

        Returns:
            Gradients of x (N, C), of (h,), (N, H), and of the weights, summed over the batch.

        Example:
            >>> import numpy as np
            >>> cell = GRUCell(np.zeros((3, 1)), np.zeros((3, 1)), np.zeros(3), np.zeros(3))
            >>> _, record = cell.step(np.zeros((1, 1)), (np.ones((1, 1)),))
            >>> cell.step_backward(record, (np.ones((1, 1)),)).state  # through z * h alone
            (array([[0.5]]),)

        Source:
            The chain rule applied to the equations of `GRUCell`;
            derived in docs/derivations/recurrent_cells.md.
        """
        (d_h_new,) = d_state
        dropout, from_x, from_h, h, seen, m, r, z, n = record
        d_n = d_h_new * (1.0 - z) * dropout.candidate
        d_z = d_h_new * (h - dropout.candidate * n)
        d_a_n = d_n * (1.0 - n**2)
        d_a_z = d_z * z * (1.0 - z)
        if self.reset == "after":
            d_m = d_a_n * r
            d_r = d_a_n * m
            d_a_r = d_r * r * (1.0 - r)
            d_a_h = np.concatenate([d_a_r, d_a_z, d_m], axis=1)  # -> (N, 3H)
            d_seen, d_hidden = affine_backward("hh", self.weight_hh, self.gain_hh, from_h, d_a_h)
        else:
            (W_rz, _), (W_hn, _) = self._gates_and_candidate()
            s = r * seen
            d_s = d_a_n @ W_hn
            d_r = d_s * seen
            d_a_r = d_r * r * (1.0 - r)
            d_a_h = np.concatenate([d_a_r, d_a_z], axis=1)  # -> (N, 2H)
            d_seen, d_gates = affine_backward("hh", W_rz, None, from_h, d_a_h)
            d_seen = d_seen + d_s * r
            d_hidden = {
                "weight_hh": np.concatenate([d_gates["weight_hh"], d_a_n.T @ s]),
                "bias_hh": np.concatenate([d_gates["bias_hh"], d_a_n.sum(axis=0)]),
            }
        d_h = d_h_new * z + dropout.hidden * d_seen
        d_a = np.concatenate([d_a_r, d_a_z, d_a_n], axis=1)  # -> (N, 3H)
        d_x, d_input = affine_backward("ih", self.weight_ih, self.gain_ih, from_x, d_a)
        return StepGradients(x=d_x, state=(d_h,), weights=d_input | d_hidden)
