"""The LSTM cell with a forget gate and, on request, peepholes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatestack.reference.activations import sigmoid
from gatestack.reference.cell import Array, CommonWeights, Record, State, StepGradients, check_weights


@dataclass(frozen=True, eq=False)
class LSTMCell(CommonWeights):
    """Long short-term memory: a cell state c behind an input, a forget and an output gate.

    One step, from (h, c) and x to (h', c'); σ is the logistic function, * the product by element:

        i  = σ(W_ii x + b_ii + W_hi h + b_hi + p_i * c)
        f  = σ(W_if x + b_if + W_hf h + b_hf + p_f * c)
        g  = tanh(W_ig x + b_ig + W_hg h + b_hg)
        c' = f * c + i * g
        o  = σ(W_io x + b_io + W_ho h + b_ho + p_o * c')
        h' = o * tanh(c')

    The peepholes p_i and p_f see the cell state before the step, p_o sees the one after it.
    Without `peephole` all three are zero, and the cell is that of `torch.nn.LSTM`.

    Args:
        weight_ih: (W_ii|W_if|W_ig|W_io), (4*H, C).
        weight_hh: (W_hi|W_hf|W_hg|W_ho), (4*H, H).
        bias_ih: (b_ii|b_if|b_ig|b_io), (4*H,).
        bias_hh: (b_hi|b_hf|b_hg|b_ho), (4*H,). One bias would do; torch and cuDNN have two.
        peephole: (p_i, p_f, p_o), (3, H), or None (default) for none.

    Raises:
        ValueError: a weight is not float64 or its shape does not fit.

    Notes:
        The cell of 1997 has no forget gate (f = 1), and squashes with scaled logistic functions
        where tanh stands here. The paper of 1997 cuts the gradient where it leaves the memory cell;
        here, as everywhere today, it is exact and goes through every path.
        The peepholes are vectors: each cell sees its own gates only.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> cell = LSTMCell(
        ...     weight_ih=rng.normal(size=(8, 3)), weight_hh=rng.normal(size=(8, 2)),
        ...     bias_ih=rng.normal(size=8), bias_hh=rng.normal(size=8))
        >>> (h, c), record = cell.step(rng.normal(size=(5, 3)), (np.zeros((5, 2)), np.zeros((5, 2))))
        >>> h.shape, c.shape
        ((5, 2), (5, 2))

    Source:
        Hochreiter & Schmidhuber 1997, "Long Short-Term Memory" (i, g, o, c' = c + i * g);
        Gers, Schmidhuber & Cummins 2000, "Learning to Forget" (f);
        Gers & Schmidhuber 2000, "Recurrent Nets that Time and Count" (p_i, p_f, p_o).
        All six equations together: Graves, Mohamed & Hinton 2013, "Speech Recognition with Deep Recurrent
        Neural Networks", arXiv 1303.5778.
    """

    peephole: Array | None = None

    def __post_init__(self) -> None:
        check_weights("LSTMCell", 4, self.weights)
        if self.peephole is not None and self.peephole.shape != (3, self.hidden_size):
            shape = self.peephole.shape
            raise ValueError(f"LSTMCell: peephole has shape {shape} — expected (3, {self.hidden_size})")

    @property
    def state_count(self) -> int:
        """Two arrays are carried: h and c."""
        return 2

    @property
    def weights(self) -> dict[str, Array]:
        """Every weight by its name in torch; "peephole" only where there is one."""
        named = super().weights
        return named if self.peephole is None else {**named, "peephole": self.peephole}

    def _peepholes(self) -> Array:
        return np.zeros((3, self.hidden_size)) if self.peephole is None else self.peephole

    def step(self, x: Array, state: State) -> tuple[State, Record]:
        """One step forward.

        Args:
            x: input of the step, (N, C).
            state: (h, c) before the step, each (N, H).

        Returns:
            (h', c'), each (N, H), and the record that `step_backward` takes.

        Example:
            >>> import numpy as np
            >>> cell = LSTMCell(np.zeros((4, 1)), np.zeros((4, 1)), np.zeros(4), np.zeros(4))
            >>> (h, c), record = cell.step(np.zeros((1, 1)), (np.zeros((1, 1)), np.ones((1, 1))))
            >>> c  # the forget gate is σ(0)
            array([[0.5]])
        """
        h, c = state
        p_i, p_f, p_o = self._peepholes()
        a = x @ self.weight_ih.T + self.bias_ih + h @ self.weight_hh.T + self.bias_hh  # -> (N, 4H)
        a_i, a_f, a_g, a_o = np.split(a, 4, axis=1)
        i = sigmoid(a_i + p_i * c)
        f = sigmoid(a_f + p_f * c)
        g = np.tanh(a_g)
        c_new = f * c + i * g
        o = sigmoid(a_o + p_o * c_new)
        h_new = o * np.tanh(c_new)
        return (h_new, c_new), (x, h, c, i, f, g, o, c_new)

    def step_backward(self, record: Record, d_state: State) -> StepGradients:
        """One step backward; d_v is the gradient of the loss with respect to v.

            d_o  = d_h' * tanh(c')                       d_a_o = d_o * o * (1 - o)
            d_c' = d_c' + d_h' * o * (1 - tanh²(c')) + d_a_o * p_o
            d_i  = d_c' * g                              d_a_i = d_i * i * (1 - i)
            d_f  = d_c' * c                              d_a_f = d_f * f * (1 - f)
            d_g  = d_c' * i                              d_a_g = d_g * (1 - g²)
            d_c  = d_c' * f + d_a_i * p_i + d_a_f * p_f
            d_x  = W_ih^T d_a        d_h = W_hh^T d_a    d_W_ih = d_a x^T    d_W_hh = d_a h^T
            d_b_ih = d_b_hh = d_a    d_p_i = d_a_i * c   d_p_f = d_a_f * c   d_p_o = d_a_o * c'

        Args:
            record: what `step` returned.
            d_state: gradients of (h', c'), each (N, H).

        Returns:
            Gradients of x (N, C), of (h, c), each (N, H), and of the weights, summed over the batch.

        Example:
            >>> import numpy as np
            >>> cell = LSTMCell(np.zeros((4, 1)), np.zeros((4, 1)), np.zeros(4), np.zeros(4))
            >>> _, record = cell.step(np.zeros((1, 1)), (np.zeros((1, 1)), np.ones((1, 1))))
            >>> d_h, d_c = cell.step_backward(record, (np.zeros((1, 1)), np.ones((1, 1)))).state
            >>> d_c  # through the forget gate alone
            array([[0.5]])

        Source:
            The chain rule applied to the equations of `LSTMCell`;
            derived in docs/derivations/recurrent_cells.md.
        """
        d_h_new, d_c_new = d_state
        x, h, c, i, f, g, o, c_new = record
        p_i, p_f, p_o = self._peepholes()
        tanh_c = np.tanh(c_new)
        d_o = d_h_new * tanh_c
        d_a_o = d_o * o * (1.0 - o)
        d_c_new = d_c_new + d_h_new * o * (1.0 - tanh_c**2) + d_a_o * p_o
        d_i = d_c_new * g
        d_f = d_c_new * c
        d_g = d_c_new * i
        d_a_i = d_i * i * (1.0 - i)
        d_a_f = d_f * f * (1.0 - f)
        d_a_g = d_g * (1.0 - g**2)
        d_c = d_c_new * f + d_a_i * p_i + d_a_f * p_f
        d_a = np.concatenate([d_a_i, d_a_f, d_a_g, d_a_o], axis=1)  # -> (N, 4H)
        d_weights = {
            "weight_ih": d_a.T @ x,
            "weight_hh": d_a.T @ h,
            "bias_ih": d_a.sum(axis=0),
            "bias_hh": d_a.sum(axis=0),
        }
        if self.peephole is not None:
            d_p = [(d_a_i * c).sum(axis=0), (d_a_f * c).sum(axis=0), (d_a_o * c_new).sum(axis=0)]
            d_weights["peephole"] = np.stack(d_p)  # -> (3, H)
        return StepGradients(x=d_a @ self.weight_ih, state=(d_a @ self.weight_hh, d_c), weights=d_weights)
