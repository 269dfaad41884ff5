"""The plain cell with several layers between one state and the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatestack.reference.activation_table import ACTIVATIONS
from gatestack.reference.cell import NO_DROPOUT, Array, Record, State, StepDropout, StepGradients


@dataclass(frozen=True, eq=False)
class DeepTransitionCell:
    """A recurrent cell whose transition is a network of L layers.

        z_1 = φ(W_ih x + b_ih + W_1 h + b_1)
        z_k = φ(W_k z_{k-1} + b_k)                     k = 2 … L
        z_L = φ(W_L z_{L-1} + b_L + W_s h)             with a shortcut
        h'  = z_L

    Args:
        weight_ih: W_ih, (H, C).
        bias_ih: b_ih, (H,).
        transition: (W_1, b_1) … (W_L, b_L), (H, H) and (H,).
        shortcut: W_s, (H, H), or None (default).
        activation: φ, a name in `ACTIVATIONS`. Default "tanh".

    Raises:
        ValueError: no transition, a shape that does not fit, a shortcut with L = 1.

    Notes:
        The paper draws the shortcut and writes no equation for it.

    Example:
        >>> import numpy as np
        >>> one, zero = np.ones((1, 1)), np.zeros(1)
        >>> cell = DeepTransitionCell(one, zero, ((one, zero), (one, zero)), one, "linear")
        >>> cell.step(np.array([[2.0]]), (np.array([[3.0]]),))[0]
        (array([[8.]]),)

    Source:
        Pascanu, Gulcehre, Cho & Bengio 2013, "How to Construct Deep Recurrent Neural Networks", arXiv
        1312.6026: DT-RNN, DT(S)-RNN.
    """

    weight_ih: Array
    bias_ih: Array
    transition: tuple[tuple[Array, Array], ...]
    shortcut: Array | None = None
    activation: str = "tanh"

    def __post_init__(self) -> None:
        if not self.transition:
            raise ValueError("DeepTransitionCell: transition is empty — expected one pair or more")
        if self.shortcut is not None and len(self.transition) == 1:
            raise ValueError("DeepTransitionCell: a shortcut with L = 1 — expected L of 2 or more")
        H = self.hidden_size
        for name, weight in self.weights.items():
            expected = (H,) if name.startswith("bias") else (H, weight.shape[-1])
            if weight.shape != expected or (name.startswith("weight_hh") and weight.shape != (H, H)):
                raise ValueError(f"DeepTransitionCell: {name} has shape {weight.shape} — expected H = {H}")

    @property
    def input_size(self) -> int:
        """C, the number of input features."""
        return int(self.weight_ih.shape[1])

    @property
    def hidden_size(self) -> int:
        """H, the number of hidden units."""
        return int(self.weight_ih.shape[0])

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """One array is carried, h: (H,)."""
        return (self.hidden_size,)

    @property
    def weights(self) -> dict[str, Array]:
        """Every weight by its name in `gatestack.nn.DeepTransitionCell`, without `_l0`."""
        named = {"weight_ih": self.weight_ih, "bias_ih": self.bias_ih}
        for k, (weight, bias) in enumerate(self.transition, start=1):
            named |= {f"weight_hh_t{k}": weight, f"bias_hh_t{k}": bias}
        return named if self.shortcut is None else named | {"weight_hh_shortcut": self.shortcut}

    def step(self, x: Array, state: State, dropout: StepDropout = NO_DROPOUT) -> tuple[State, Record]:
        """One step forward, from x (N, C) and (h,), (N, H), to (h',) and the record.

        The mask `hidden` of dropout acts on h wherever it enters a product; there is no candidate.
        """
        squash = ACTIVATIONS[self.activation]
        fed = dropout.hidden * state[0]
        zs, totals = [fed], []
        for k, (weight, bias) in enumerate(self.transition, start=1):
            a = zs[-1] @ weight.T + bias
            if k == 1:
                a = a + x @ self.weight_ih.T + self.bias_ih
            if k == len(self.transition) and self.shortcut is not None:
                a = a + fed @ self.shortcut.T
            totals.append(a)
            zs.append(squash.value(a))
        return (zs[-1],), (dropout, x, zs, totals)

    def step_backward(self, record: Record, d_state: State) -> StepGradients:
        """One step backward, from the last layer to the first; d_v is the gradient with respect to v.

            d_a_k = d_z_k * φ'(a_k)        d_z_{k-1} = W_k^T d_a_k        d_W_k = d_a_k z_{k-1}^T
            d_W_s = d_a_L h^T              d_h = W_1^T d_a_1 + W_s^T d_a_L

        Returns:
            Gradients of x (N, C), of the state, and of the weights, summed over the batch.
        """
        dropout, x, zs, totals = record
        squash = ACTIVATIONS[self.activation]
        d_weights: dict[str, Array] = {}
        d_z, d_past = d_state[0], np.zeros_like(zs[0])
        for k in range(len(self.transition), 0, -1):
            d_a = d_z * squash.slope(totals[k - 1])
            d_weights |= {f"weight_hh_t{k}": d_a.T @ zs[k - 1], f"bias_hh_t{k}": d_a.sum(axis=0)}
            if k == len(self.transition) and self.shortcut is not None:
                d_weights["weight_hh_shortcut"] = d_a.T @ zs[0]
                d_past = d_a @ self.shortcut
            d_z = d_a @ self.transition[k - 1][0]
        d_weights |= {"weight_ih": d_a.T @ x, "bias_ih": d_a.sum(axis=0)}
        d_h = dropout.hidden * (d_z + d_past)
        return StepGradients(x=d_a @ self.weight_ih, state=(d_h,), weights=d_weights)
