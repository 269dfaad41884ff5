"""The LSTM cell with a forget gate and, on request, peepholes, projection and layer normalisation."""

from __future__ import annotations

from dataclasses import dataclass, field

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
from gatestack.reference.layer_norm import normalise, normalise_backward


@dataclass(frozen=True, eq=False)
class LSTMCell(CommonWeights):
    """Long short-term memory: a cell state c behind an input, a forget and an output gate.

    One step, from (h, c) and x to (h', c'); σ is the logistic function, * the product by element:

        i  = σ(W_ii x + b_ii + W_hi h + b_hi + p_i * c)
        f  = σ(W_if x + b_if + W_hf h + b_hf + p_f * c)
        g  = tanh(W_ig x + b_ig + W_hg h + b_hg)
        c' = f * c + i * g
        o  = σ(W_io x + b_io + W_ho h + b_ho + p_o * c')
        h' = o * tanh(c')                            (1)
        h' = o * tanh(LN(c') * gain_c + bias_c)      (2)  with layer normalisation
        h' = W_hr (o * …)                            (3)  with a projection, after (1) or (2)

    The peepholes p_i and p_f see the cell state before the step, p_o sees the one after it.
    Without `peephole` all three are zero, and the cell is that of `torch.nn.LSTM`.
    With layer normalisation, the four products W x become LN(W x) * gain_ih, one mean and one variance
    for all 4*H entries, and W h likewise. c' itself is carried on as it is.
    With a projection h is P wide, and so are the columns of weight_hh.

    Args:
        weight_ih: (W_ii|W_if|W_ig|W_io), (4*H, C).
        weight_hh: (W_hi|W_hf|W_hg|W_ho), (4*H, P), with P = H where there is no projection.
        bias_ih: (b_ii|b_if|b_ig|b_io), (4*H,).
        bias_hh: (b_hi|b_hf|b_hg|b_ho), (4*H,). One bias would do; torch and cuDNN have two.
        peephole: (p_i, p_f, p_o), (3, H), or None (default) for none.
        weight_hr: W_hr, (P, H), or None (default) for no projection.
        gain_ih: of LN(W x), (4*H,), or None (default) for no layer normalisation; then all gains are None.
        gain_hh: of LN(W h), (4*H,).
        gain_c: of LN(c'), (H,).
        bias_c: beside gain_c, (H,).

    Raises:
        ValueError: a weight is not float64, its shape does not fit, or some of the four weights of layer
            normalisation are missing.

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
        Gers & Schmidhuber 2000, "Recurrent Nets that Time and Count" (p_i, p_f, p_o);
        Sak, Senior & Beaufays 2014, "Long Short-Term Memory Based Recurrent Neural Network Architectures
        for Large Vocabulary Speech Recognition", arXiv 1402.1128 (W_hr);
        Ba, Kiros & Hinton 2016, "Layer Normalization", arXiv 1607.06450, supplement, equations 20 to 22.
        All six equations together: Graves, Mohamed & Hinton 2013, "Speech Recognition with Deep Recurrent
        Neural Networks", arXiv 1303.5778.
    """

    peephole: Array | None = None
    weight_hr: Array | None = None
    gain_c: Array | None = field(default=None, kw_only=True)
    bias_c: Array | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        width = None if self.weight_hr is None else int(self.weight_hr.shape[0])
        check_weights("LSTMCell", 4, self.weights, width)
        H = self.hidden_size
        expected = {"peephole": (3, H), "weight_hr": (width, H), "gain_c": (H,), "bias_c": (H,)}
        for name, shape in expected.items():
            weight = self.weights.get(name)
            if weight is not None and weight.shape != shape:
                raise ValueError(f"LSTMCell: {name} has shape {weight.shape} — expected {shape}")
        if len({part is None for part in (self.gain_ih, self.gain_c, self.bias_c)}) == 2:
            raise ValueError("LSTMCell: some of the gains and bias_c are given — expected all four, or none")

    @property
    def hidden_size(self) -> int:
        """H, the number of hidden units, the width of c."""
        return int(self.weight_hh.shape[0]) // 4

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Two arrays are carried, h and c: (P, H)."""
        return int(self.weight_hh.shape[1]), self.hidden_size

    @property
    def weights(self) -> dict[str, Array]:
        """Every weight by its name, torch's where torch has it; those that are None are left out."""
        named = {
            "peephole": self.peephole,
            "weight_hr": self.weight_hr,
            "gain_c": self.gain_c,
            "bias_c": self.bias_c,
        }
        return super().weights | {name: weight for name, weight in named.items() if weight is not None}

    def _peepholes(self) -> Array:
        return np.zeros((3, self.hidden_size)) if self.peephole is None else self.peephole

    def step(self, x: Array, state: State, dropout: StepDropout = NO_DROPOUT) -> tuple[State, Record]:
        """One step forward.

        Args:
            x: input of the step, (N, C).
            state: (h, c) before the step, (N, P) and (N, H).
            dropout: its factors, `hidden` (N, P) and `candidate` (N, H); default none.

        Returns:
            (h', c'), (N, P) and (N, H), and the record that `step_backward` takes.

        Example:
            >>> import numpy as np
            >>> cell = LSTMCell(np.zeros((4, 1)), np.zeros((4, 1)), np.zeros(4), np.zeros(4))
            >>> (h, c), record = cell.step(np.zeros((1, 1)), (np.zeros((1, 1)), np.ones((1, 1))))
            >>> c  # the forget gate is σ(0)
            array([[0.5]])
        """
        h, c = state
        p_i, p_f, p_o = self._peepholes()
        a_x, from_x = affine(self.weight_ih, self.bias_ih, self.gain_ih, x)
        a_h, from_h = affine(self.weight_hh, self.bias_hh, self.gain_hh, dropout.hidden * h)
        a_i, a_f, a_g, a_o = np.split(a_x + a_h, 4, axis=1)  # each (N, H)
        i = sigmoid(a_i + p_i * c)
        f = sigmoid(a_f + p_f * c)
        g = np.tanh(a_g)
        c_new = f * c + i * (dropout.candidate * g)
        o = sigmoid(a_o + p_o * c_new)
        tanh_c, from_c = self._squash(c_new)
        y = o * tanh_c
        h_new = y if self.weight_hr is None else y @ self.weight_hr.T  # -> (N, P)
        return (h_new, c_new), (dropout, from_x, from_h, from_c, c, i, f, g, o, c_new, tanh_c)

    def _squash(self, c_new: Array) -> tuple[Array, Record]:
        """Compute tanh(c'), or tanh(LN(c') * gain_c + bias_c)."""
        if self.gain_c is None or self.bias_c is None:
            return np.tanh(c_new), ()
        normal, scale = normalise(c_new)
        return np.tanh(normal * self.gain_c + self.bias_c), (normal, scale)

    def step_backward(self, record: Record, d_state: State) -> StepGradients:
        """One step backward; d_v is the gradient of the loss with respect to v.

            d_y  = W_hr^T d_h', or d_h'                  d_W_hr = d_h' y^T, with y = o * tanh(…)
            d_o  = d_y * tanh(…)                         d_a_o = d_o * o * (1 - o)
            d_s  = d_y * o * (1 - tanh²(…))              with s = c', or s = LN(c') * gain_c + bias_c
            d_c' = d_c' + (d_s back to c') + d_a_o * p_o
            d_i  = d_c' * g * candidate                  d_a_i = d_i * i * (1 - i)
            d_f  = d_c' * c                              d_a_f = d_f * f * (1 - f)
            d_g  = d_c' * i * candidate                  d_a_g = d_g * (1 - g²)
            d_c  = d_c' * f + d_a_i * p_i + d_a_f * p_f
            d_x  = W_ih^T d_a                            d_h  = hidden * (W_hh^T d_a)
            d_W_ih = d_a x^T                             d_W_hh = d_a (hidden * h)^T
            d_b_ih = d_b_hh = d_a    d_p_i = d_a_i * c   d_p_f = d_a_f * c   d_p_o = d_a_o * c'
            d_gain_c = d_s * LN(c')                      d_bias_c = d_s

        With layer normalisation, what stands beside d_x, d_h, d_W_ih and d_W_hh is that of `affine_backward`.

        Args:
            record: what `step` returned.
            d_state: gradients of (h', c'), (N, P) and (N, H).

        Returns:
            Gradients of x (N, C), of (h, c), (N, P) and (N, H), and of the weights, summed over the batch.

        Example:
            >>> import numpy as np
            >>> cell = LSTMCell(np.zeros((4, 1)), np.zeros((4, 1)), np.zeros(4), np.zeros(4))
            >>> _, record = cell.step(np.zeros((1, 1)), (np.zeros((1, 1)), np.ones((1, 1))))
            >>> d_h, d_c = cell.step_backward(record, (np.zeros((1, 1)), np.ones((1, 1)))).state
            >>> d_c  # through the forget gate alone
            array([[0.5]])

        Source:
            The chain rule applied to the equations of `LSTMCell`;
            derived in docs/derivations/recurrent_cells.md, the options in docs/derivations/kernels.md.
        """
        d_h_new, d_c_new = d_state
        dropout, from_x, from_h, from_c, c, i, f, g, o, c_new, tanh_c = record
        p_i, p_f, p_o = self._peepholes()
        d_weights: dict[str, Array] = {}
        d_y = d_h_new
        if self.weight_hr is not None:
            d_y = d_h_new @ self.weight_hr
            d_weights["weight_hr"] = d_h_new.T @ (o * tanh_c)
        d_o = d_y * tanh_c
        d_a_o = d_o * o * (1.0 - o)
        d_s = d_y * o * (1.0 - tanh_c**2)
        if self.gain_c is not None:
            normal, scale = from_c
            d_weights["gain_c"] = (d_s * normal).sum(axis=0)
            d_weights["bias_c"] = d_s.sum(axis=0)
            d_s = normalise_backward(normal, scale, d_s * self.gain_c)
        d_c_new = d_c_new + d_s + d_a_o * p_o
        d_i = d_c_new * (dropout.candidate * g)
        d_f = d_c_new * c
        d_g = d_c_new * i * dropout.candidate
        d_a_i = d_i * i * (1.0 - i)
        d_a_f = d_f * f * (1.0 - f)
        d_a_g = d_g * (1.0 - g**2)
        d_c = d_c_new * f + d_a_i * p_i + d_a_f * p_f
        d_a = np.concatenate([d_a_i, d_a_f, d_a_g, d_a_o], axis=1)  # -> (N, 4H)
        d_x, d_input = affine_backward("ih", self.weight_ih, self.gain_ih, from_x, d_a)
        d_seen, d_hidden = affine_backward("hh", self.weight_hh, self.gain_hh, from_h, d_a)
        d_weights |= d_input | d_hidden
        if self.peephole is not None:
            d_p = [(d_a_i * c).sum(axis=0), (d_a_f * c).sum(axis=0), (d_a_o * c_new).sum(axis=0)]
            d_weights["peephole"] = np.stack(d_p)  # -> (3, H)
        return StepGradients(x=d_x, state=(dropout.hidden * d_seen, d_c), weights=d_weights)
