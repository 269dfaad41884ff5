"""The GRU cell, with the reset gate before or after the recurrent product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from gatestack.reference.activations import sigmoid
from gatestack.reference.cell import Array, CommonWeights, Record, State, StepGradients, check_weights

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

    "after": the gate acts on the finished product, its bias included. It lets one matrix product serve
    all three gates; `torch.nn.GRU` and cuDNN compute it, and so do all layers of Gatestack.
    "before": the gate acts on the state. No fast implementation is at hand; it is here to read
    models that were trained with it.

    Args:
        weight_ih: (W_ir|W_iz|W_in), (3*H, C).
        weight_hh: (W_hr|W_hz|W_hn), (3*H, H).
        bias_ih: (b_ir|b_iz|b_in), (3*H,).
        bias_hh: (b_hr|b_hz|b_hn), (3*H,). With "after", b_hn is no double of b_in: it is gated.
        reset: "after" (default) or "before".

    Raises:
        ValueError: `reset` is neither of the two, or a weight is not float64 or its shape does not fit.

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
    """

    reset: Reset = "after"

    def __post_init__(self) -> None:
        if self.reset not in get_args(Reset):
            raise ValueError(f"GRUCell: reset is {self.reset!r} — expected 'after' or 'before'")
        check_weights("GRUCell", 3, self.weights)

    def step(self, x: Array, state: State) -> tuple[State, Record]:
        """One step forward.

        Args:
            x: input of the step, (N, C).
            state: (h,) before the step, (N, H).

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
        W_ir, W_iz, W_in = np.split(self.weight_ih, 3)
        W_hr, W_hz, W_hn = np.split(self.weight_hh, 3)
        b_ir, b_iz, b_in = np.split(self.bias_ih, 3)
        b_hr, b_hz, b_hn = np.split(self.bias_hh, 3)
        r = sigmoid(x @ W_ir.T + b_ir + h @ W_hr.T + b_hr)
        z = sigmoid(x @ W_iz.T + b_iz + h @ W_hz.T + b_hz)
        if self.reset == "after":
            n = np.tanh(x @ W_in.T + b_in + r * (h @ W_hn.T + b_hn))
        else:
            n = np.tanh(x @ W_in.T + b_in + (r * h) @ W_hn.T + b_hn)
        h_new = (1.0 - z) * n + z * h
        return (h_new,), (x, h, r, z, n)

    def step_backward(self, record: Record, d_state: State) -> StepGradients:
        """One step backward; d_v is the gradient of the loss with respect to v.

            d_n = d_h' * (1 - z)            d_a_n = d_n * (1 - n²)
            d_z = d_h' * (h - n)            d_a_z = d_z * z * (1 - z)

            reset="after", with m = W_hn h + b_hn:
            d_m = d_a_n * r                 d_r = d_a_n * m              d_W_hn = d_m h^T
            d_b_hn = d_m                    from n to h: W_hn^T d_m

            reset="before", with s = r * h:
            d_s = W_hn^T d_a_n              d_r = d_s * h                d_W_hn = d_a_n s^T
            d_b_hn = d_a_n                  from n to h: d_s * r

            d_a_r = d_r * r * (1 - r)
            d_x = W_ir^T d_a_r + W_iz^T d_a_z + W_in^T d_a_n
            d_h = d_h' * z + W_hr^T d_a_r + W_hz^T d_a_z + (from n to h)

        The other weights and biases are as in every layer: d_W = d_a x^T or d_a h^T, d_b = d_a.

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
        x, h, r, z, n = record
        W_hr, W_hz, W_hn = np.split(self.weight_hh, 3)
        b_hn = np.split(self.bias_hh, 3)[2]
        d_n = d_h_new * (1.0 - z)
        d_z = d_h_new * (h - n)
        d_a_n = d_n * (1.0 - n**2)
        d_a_z = d_z * z * (1.0 - z)
        if self.reset == "after":
            m = h @ W_hn.T + b_hn
            d_m = d_a_n * r
            d_r = d_a_n * m
            d_W_hn = d_m.T @ h
            d_b_hn = d_m.sum(axis=0)
            d_h_through_n = d_m @ W_hn
        else:
            s = r * h
            d_s = d_a_n @ W_hn
            d_r = d_s * h
            d_W_hn = d_a_n.T @ s
            d_b_hn = d_a_n.sum(axis=0)
            d_h_through_n = d_s * r
        d_a_r = d_r * r * (1.0 - r)
        d_h = d_h_new * z + d_a_r @ W_hr + d_a_z @ W_hz + d_h_through_n
        d_a = np.concatenate([d_a_r, d_a_z, d_a_n], axis=1)  # -> (N, 3H)
        d_weights = {
            "weight_ih": d_a.T @ x,
            "weight_hh": np.concatenate([d_a_r.T @ h, d_a_z.T @ h, d_W_hn]),
            "bias_ih": d_a.sum(axis=0),
            "bias_hh": np.concatenate([d_a_r.sum(axis=0), d_a_z.sum(axis=0), d_b_hn]),
        }
        return StepGradients(x=d_a @ self.weight_ih, state=(d_h,), weights=d_weights)
