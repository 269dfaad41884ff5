"""One step of the plain recurrent layer."""

from __future__ import annotations

import torch
from torch import Tensor

from gatestack.kernels.spec import Cell as KernelCell
from gatestack.nn.activations import ACTIVATIONS
from gatestack.nn.gated_cell import GatedCell

__all__ = ["RNNCell"]


class RNNCell(GatedCell):
    r"""One step of a plain recurrent layer, with the activation that is asked for.

        h = φ(W_ih x + b_ih + W_hh h + b_hh)

    With tanh and relu it is a step of `RNN`, on the same kernels and to the same bits; any other choice is
    computed by torch's operators. Parameters have the names and shapes of `RNN`'s, whose `state_dict` loads
    as it is: `weight_ih_l0` (H, C), `weight_hh_l0` (H, H), `bias_ih_l0`, `bias_hh_l0` (H,).

    Args:
        hidden_size: H, at least 1.
        input_size: C, or None to take it from the first input.
        activation: φ, the name of a function in `gatestack.nn.activations.ACTIVATIONS`. Default "tanh".
        dtype: of the parameters; None takes torch's default.

    Raises:
        ArgumentError: a value outside its range, an unknown activation; at a call, x is not (N, C) or the
            state is not h (N, H).

    Example:
        >>> import torch
        >>> h, state = RNNCell(4, activation="elu")(torch.zeros(2, 3))
        >>> h.shape, state is h
        (torch.Size([2, 4]), True)

    Source:
        Elman 1990, "Finding Structure in Time".
    """

    gates = 1

    def __init__(
        self,
        hidden_size: int,
        input_size: int | None = None,
        *,
        activation: str = "tanh",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(hidden_size, input_size, activation=activation, dtype=dtype)

    def advance(self, x: Tensor, state: Tensor) -> Tensor:
        """Take a step: x (N, C), state h (N, H) -> h."""
        return ACTIVATIONS[self.activation](self._wide(x) + self._recurrent(state))

    def _kernel_cell(self) -> KernelCell | None:
        if self.activation == "tanh":
            return "rnn_tanh"
        return "rnn_relu" if self.activation == "relu" else None
