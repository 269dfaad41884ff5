"""One step of long short-term memory."""

from __future__ import annotations

import torch
from torch import Tensor

from gatestack.kernels.spec import Cell as KernelCell
from gatestack.nn.activations import ACTIVATIONS
from gatestack.nn.checks import check_number
from gatestack.nn.gated_cell import GatedCell

__all__ = ["LSTMCell"]


class LSTMCell(GatedCell):
    r"""One step of an LSTM, with the activations that are asked for.

    With s the gates' activation and φ the other one, ⊙ the product element by element:

        i = s(W_ii x + b_ii + W_hi h + b_hi)
        f = s(W_if x + b_if + W_hf h + b_hf)
        g = φ(W_ig x + b_ig + W_hg h + b_hg)
        o = s(W_io x + b_io + W_ho h + b_ho)
        c = f ⊙ c + i ⊙ g
        h = o ⊙ φ(c)

    With tanh and the logistic function it is a step of `LSTM`, on the same kernels and to the same bits; any
    other choice is computed by torch's operators. Parameters have the names and shapes of `LSTM`'s, whose
    `state_dict` loads as it is: `weight_ih_l0` = (W_ii|W_if|W_ig|W_io) of shape (4·H, C), `weight_hh_l0`
    (4·H, H), `bias_ih_l0`, `bias_hh_l0` (4·H,).

    Args:
        hidden_size: H, at least 1.
        input_size: C, or None to take it from the first input.
        activation: φ, the name of a function in `gatestack.nn.activations.ACTIVATIONS`. Default "tanh".
        gate_activation: s. Default "sigmoid".
        forget_bias: b_if at the start. Default 1.0.
        dtype: of the parameters; None takes torch's default.

    Raises:
        ArgumentError: a value outside its range, an unknown activation; at a call, x is not (N, C) or the
            state is not (h (N, H), c (N, H)).

    Example:
        >>> import torch
        >>> cell = LSTMCell(4, 3, gate_activation="hard_sigmoid")
        >>> h, (h, c) = cell(torch.zeros(2, 3))
        >>> h.shape, c.shape
        (torch.Size([2, 4]), torch.Size([2, 4]))

    Source:
        As for `LSTM`; the choice of activations is that of Keras and ONNX.
    """

    gates = 4
    state_count = 2

    def __init__(
        self,
        hidden_size: int,
        input_size: int | None = None,
        *,
        activation: str = "tanh",
        gate_activation: str = "sigmoid",
        forget_bias: float = 1.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.forget_bias = check_number("forget_bias", forget_bias, owner=type(self).__name__)
        super().__init__(
            hidden_size,
            input_size,
            activation=activation,
            gate_activation=gate_activation,
            dtype=dtype,
        )

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights anew and set the forget gate's bias."""
        super().reset_parameters()
        self.bias_ih_l0[self.hidden_size : 2 * self.hidden_size] = self.forget_bias

    def advance(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Take a step: x (N, C), state (h (N, H), c (N, H)) -> (h, c)."""
        squash, gate = ACTIVATIONS[self.activation], ACTIVATIONS[self.gate_activation]
        h, c = state
        i, f, g, o = (self._wide(x) + self._recurrent(h)).chunk(4, dim=1)
        c = gate(f) * c + gate(i) * squash(g)
        return gate(o) * squash(c), c

    def extra_repr(self) -> str:
        """Size first, then every setting that is not its default."""
        shown = super().extra_repr()
        return shown if self.forget_bias == 1.0 else f"{shown}, forget_bias={self.forget_bias:g}"

    def _kernel_cell(self) -> KernelCell | None:
        plain = (self.activation, self.gate_activation) == ("tanh", "sigmoid")
        return "lstm" if plain else None
