"""The convolutional LSTM: the cell, its gradient, and both over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatestack.reference.activations import sigmoid
from gatestack.reference.cell import Array, Record, StepGradients
from gatestack.reference.convolution import Convolution
from gatestack.reference.real_steps import real_steps

Images = tuple[Array, Array]
"""(H, C), each (N, F, *space_out)."""


@dataclass(frozen=True, eq=False)
class ConvLSTMCell:
    """A long short-term memory whose states are images and whose products are convolutions.

    One step, from (H, C) and X to (H', C'); ∗ is a convolution, ∘ the product by element, m the factors of
    recurrent dropout (1 without it):

        i  = σ(W_ii ∗ X + b_ii + W_hi ∗ (m ∘ H) + b_hi + p_i ∘ C)
        f  = σ(W_if ∗ X + b_if + W_hf ∗ (m ∘ H) + b_hf + p_f ∘ C)
        g  = tanh(W_ig ∗ X + b_ig + W_hg ∗ (m ∘ H) + b_hg)
        C' = f ∘ C + i ∘ g
        o  = σ(W_io ∗ X + b_io + W_ho ∗ (m ∘ H) + b_ho + p_o ∘ C')
        H' = o ∘ tanh(C')

    W_h ∗ has stride 1, dilation 1, and as many outputs as inputs.

    Args:
        weight_ih: (W_ii|W_if|W_ig|W_io), (4F, C, *k).
        weight_hh: (W_hi|W_hf|W_hg|W_ho), (4F, F, *k).
        bias_ih: (4F,).
        bias_hh: (4F,). One bias would do.
        input_convolution: of W_i ∗ X.
        peephole: (p_i, p_f, p_o), (3, F, *space_out) as in the paper, or (3, F, 1, …) for the same at all
            positions, or None (default) for none.

    Raises:
        ValueError: shapes of the weights do not fit together.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> cell = ConvLSTMCell(
        ...     rng.normal(size=(8, 1, 3, 3)), rng.normal(size=(8, 2, 3, 3)), np.zeros(8), np.zeros(8),
        ...     Convolution(stride=(2, 2), dilation=(1, 1), same=True))
        >>> X, zero = rng.normal(size=(5, 1, 7, 8)), np.zeros((5, 2, 4, 4))
        >>> (H, C), record = cell.step(X, (zero, zero))
        >>> H.shape
        (5, 2, 4, 4)

    Source:
        Shi et al. 2015, "Convolutional LSTM Network: A Machine Learning Approach for Precipitation
        Nowcasting", arXiv 1506.04214, Eq. 3, which has one bias for each gate, stride 1 and no dropout; m is
        that of Gal & Ghahramani 2016.
    """

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array
    bias_hh: Array
    input_convolution: Convolution
    peephole: Array | None = None

    def __post_init__(self) -> None:
        F, dimensions = self.weight_hh.shape[1], len(self.input_convolution.stride)
        kernel = self.weight_ih.shape[2:]
        expected = {"weight_ih": (4 * F, self.weight_ih.shape[1], *kernel), "weight_hh": (4 * F, F, *kernel)}
        expected |= {"bias_ih": (4 * F,), "bias_hh": (4 * F,)}
        if self.peephole is not None:
            expected["peephole"] = (3, F, *self.peephole.shape[2:])
        for name, weight in self.weights.items():
            if weight.shape != expected[name] or (weight.ndim > 1 and weight.ndim != 2 + dimensions):
                raise ValueError(
                    f"ConvLSTMCell: {name} has shape {weight.shape} "
                    f"— expected {expected[name]}, {dimensions} dimensions of space"
                )

    @property
    def weights(self) -> dict[str, Array]:
        """Every weight by its name."""
        named = {name: getattr(self, name) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        return named if self.peephole is None else named | {"peephole": self.peephole}

    @property
    def _hidden_convolution(self) -> Convolution:
        ones = (1,) * len(self.input_convolution.stride)
        return Convolution(stride=ones, dilation=ones, same=True)

    def step(self, X: Array, state: Images, factors: Array | float = 1.0) -> tuple[Images, Record]:
        """One step forward.

        Args:
            X: (N, C, *space).
            state: (H, C) before the step.
            factors: m, (N, F, *space_out).

        Returns:
            (H', C'), and the record that `step_backward` takes.
        """
        H, C = state
        p_i, p_f, p_o = np.zeros((3, 1)) if self.peephole is None else self.peephole
        ones = (1,) * (X.ndim - 2)
        bias = (self.bias_ih + self.bias_hh).reshape(-1, *ones)
        seen = factors * H
        a = self.input_convolution.forward(X, self.weight_ih) + bias
        a = a + self._hidden_convolution.forward(seen, self.weight_hh)
        a_i, a_f, a_g, a_o = np.split(a, 4, axis=1)  # each (N, F, *space_out)
        i = sigmoid(a_i + p_i * C)
        f = sigmoid(a_f + p_f * C)
        g = np.tanh(a_g)
        C_new = f * C + i * g
        o = sigmoid(a_o + p_o * C_new)
        return (o * np.tanh(C_new), C_new), (X, seen, C, i, f, g, o, C_new, factors)

    def step_backward(self, record: Record, d_state: Images) -> StepGradients:
        """One step backward; d_v is the gradient of the loss with respect to v.

            d_o  = d_H' ∘ tanh(C')                             d_a_o = d_o ∘ o ∘ (1 - o)
            d_C' = d_C' + d_H' ∘ o ∘ (1 - tanh²(C')) + d_a_o ∘ p_o
            d_i  = d_C' ∘ g                                    d_a_i = d_i ∘ i ∘ (1 - i)
            d_f  = d_C' ∘ C                                    d_a_f = d_f ∘ f ∘ (1 - f)
            d_g  = d_C' ∘ i                                    d_a_g = d_g ∘ (1 - g²)
            d_C  = d_C' ∘ f + d_a_i ∘ p_i + d_a_f ∘ p_f
            d_p_i = d_a_i ∘ C,   d_p_f = d_a_f ∘ C,   d_p_o = d_a_o ∘ C'

        d_X, d_H and d_W are those of the convolutions, the bias takes the sum of d_a over rows and positions.

        Args:
            record: what `step` returned.
            d_state: gradients of (H', C').

        Returns:
            Gradients of X, of (H, C) and of the weights, summed over the rows.

        Source:
            The chain rule applied to the equations of the class; docs/derivations/conv_lstm.md.
        """
        d_H_new, d_C_new = d_state
        X, seen, C, i, f, g, o, C_new, factors = record
        p_i, p_f, p_o = np.zeros((3, 1)) if self.peephole is None else self.peephole
        tanh_C = np.tanh(C_new)
        d_a_o = d_H_new * tanh_C * o * (1.0 - o)
        d_C_new = d_C_new + d_H_new * o * (1.0 - tanh_C**2) + d_a_o * p_o
        d_a_i = d_C_new * g * i * (1.0 - i)
        d_a_f = d_C_new * C * f * (1.0 - f)
        d_a_g = d_C_new * i * (1.0 - g**2)
        d_C = d_C_new * f + d_a_i * p_i + d_a_f * p_f
        d_a = np.concatenate([d_a_i, d_a_f, d_a_g, d_a_o], axis=1)  # -> (N, 4F, *space_out)
        d_X, d_weight_ih = self.input_convolution.backward(X, self.weight_ih, d_a)
        d_seen, d_weight_hh = self._hidden_convolution.backward(seen, self.weight_hh, d_a)
        d_bias = d_a.sum(axis=(0, *range(2, d_a.ndim)))
        weights = {"weight_ih": d_weight_ih, "weight_hh": d_weight_hh, "bias_ih": d_bias, "bias_hh": d_bias}
        if self.peephole is not None:
            d_p = np.stack([(d_a_i * C).sum(0), (d_a_f * C).sum(0), (d_a_o * C_new).sum(0)])
            shared = tuple(axis for axis, size in enumerate(self.peephole.shape) if size != d_p.shape[axis])
            weights["peephole"] = d_p.sum(axis=shared, keepdims=True)
        return StepGradients(x=d_X, state=(factors * d_seen, d_C), weights=weights)


@dataclass(frozen=True, eq=False)
class ConvLSTMTape:
    """What `conv_lstm_forward` keeps for `conv_lstm_backward`.

    Args:
        cell: the cell that ran.
        shape: of the input.
        real: mask (N, T), True where a step is real.
        records: what the cell kept at each step.
    """

    cell: ConvLSTMCell
    shape: tuple[int, ...]
    real: NDArray[np.bool_]
    records: tuple[Record, ...]


def conv_lstm_forward(
    cell: ConvLSTMCell,
    x: Array,
    state: Images,
    *,
    lengths: Sequence[int] | None = None,
    mask: NDArray[np.bool_] | None = None,
    factors: Array | float = 1.0,
) -> tuple[Array, Images, ConvLSTMTape]:
    """Run a cell over time; a step that is not real leaves the state as it was, and its output is zero.

    Args:
        cell: of the layer.
        x: (N, T, C, *space); where a step is not real it is never looked at.
        state: initial (H, C), each (N, F, *space_out).
        lengths: (N,), the number of real steps of each row, in [0, T]; default all.
        mask: (N, T), True where a step is real, anywhere in the row; instead of `lengths`.
        factors: m, (N, F, *space_out), the same at all steps.

    Returns:
        The output (N, T, F, *space_out), the final (H, C), and the tape.

    Example:
        >>> import numpy as np
        >>> plain = Convolution(stride=(1,), dilation=(1,), same=True)
        >>> cell = ConvLSTMCell(np.ones((4, 1, 1)), np.ones((4, 1, 1)), np.zeros(4), np.zeros(4), plain)
        >>> zero = np.zeros((1, 1, 2))
        >>> y, (H, C), tape = conv_lstm_forward(cell, np.ones((1, 3, 1, 2)), (zero, zero), lengths=[2])
        >>> bool((y[:, 1] == H).all()), float(abs(y[:, 2]).max())
        (True, 0.0)
    """
    N, T = x.shape[:2]
    real = real_steps(N, T, lengths, mask)
    apart = (slice(None), *(None,) * (x.ndim - 2))
    outputs, records = np.zeros((N, T, *state[0].shape[1:])), []
    for t in range(T):
        m = real[:, t][apart]  # -> (N, 1, 1, …)
        (H, C), record = cell.step(np.where(m, x[:, t], 0.0), state, factors)
        state = np.where(m, H, state[0]), np.where(m, C, state[1])
        outputs[:, t] = np.where(m, H, 0.0)
        records.append(record)
    return outputs, state, ConvLSTMTape(cell, x.shape, real, tuple(records))


def conv_lstm_backward(tape: ConvLSTMTape, d_output: Array, d_final: Images) -> StepGradients:
    """Backpropagation through time: from the gradients of all that came out to those of all that went in.

    Args:
        tape: of the forward pass.
        d_output: gradient of the output, (N, T, F, *space_out).
        d_final: gradients of the final (H, C).

    Returns:
        Gradients of x (N, T, C, *space), of the initial (H, C), and of the weights.

    Example:
        >>> import numpy as np
        >>> plain = Convolution(stride=(1,), dilation=(1,), same=True)
        >>> cell = ConvLSTMCell(np.zeros((4, 1, 1)), np.zeros((4, 1, 1)), np.zeros(4), np.zeros(4), plain)
        >>> zero = np.zeros((1, 1, 2))
        >>> y, _, tape = conv_lstm_forward(cell, np.ones((1, 3, 1, 2)), (zero, zero))
        >>> conv_lstm_backward(tape, np.zeros_like(y), (zero, np.ones((1, 1, 2)))).state[1]  # 0.5³
        array([[[0.125, 0.125]]])
    """
    cell, (d_H, d_C) = tape.cell, d_final
    d_x = np.zeros(tape.shape)
    d_weights = {name: np.zeros_like(weight) for name, weight in cell.weights.items()}
    apart = (slice(None), *(None,) * (d_H.ndim - 1))
    for t in reversed(range(len(tape.records))):
        m = tape.real[:, t][apart]
        d_state = np.where(m, d_H + d_output[:, t], 0.0), np.where(m, d_C, 0.0)
        step = cell.step_backward(tape.records[t], d_state)
        d_H = np.where(m, step.state[0], d_H)
        d_C = np.where(m, step.state[1], d_C)
        d_x[:, t] = step.x
        for name, gradient in step.weights.items():
            d_weights[name] += gradient
    return StepGradients(x=d_x, state=(d_H, d_C), weights=d_weights)
