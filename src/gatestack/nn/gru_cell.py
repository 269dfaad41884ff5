"""One step of a gated recurrent unit."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn

from gatestack.errors import check_choice
from gatestack.kernels.spec import Cell as KernelCell
from gatestack.nn.activations import ACTIVATIONS
from gatestack.nn.gated_cell import GatedCell
from gatestack.nn.gru import Reset

__all__ = ["GRUCell"]


class GRUCell(GatedCell):
    r"""One step of a GRU, with the activations that are asked for.

    With s the gates' activation and φ the other one, ⊙ the product element by element:

        r = s(W_ir x + b_ir + W_hr h + b_hr)
        z = s(W_iz x + b_iz + W_hz h + b_hz)
        n = φ(W_in x + b_in + r ⊙ (W_hn h + b_hn))          reset="after"
        n = φ(W_in x + b_in + W_hn (r ⊙ h) + b_hn)          reset="before"
        h = (1 − z) ⊙ n + z ⊙ h

    With tanh and the logistic function it is a step of `GRU`, on the same kernels and to the same bits; any
    other choice is computed by torch's operators. Parameters have the names and shapes of `GRU`'s, whose
    `state_dict` loads as it is: `weight_ih_l0` = (W_ir|W_iz|W_in) of shape (3·H, C), `weight_hh_l0` (3·H, H),
    `bias_ih_l0`, `bias_hh_l0` (3·H,).

    Args:
        hidden_size: H, at least 1.
        input_size: C, or None to take it from the first input.
        activation: φ, the name of a function in `gatestack.nn.activations.ACTIVATIONS`. Default "tanh".
        gate_activation: s. Default "sigmoid".
        reset: "after" (default) or "before".
        dtype: of the parameters; None takes torch's default.

    Raises:
        ArgumentError: a value outside its range, an unknown activation; at a call, x is not (N, C) or the
            state is not h (N, H).

    Example:
        >>> import torch
        >>> h, state = GRUCell(4, activation="softsign")(torch.zeros(2, 3))
        >>> h.shape, state is h
        (torch.Size([2, 4]), True)

    Source:
        As for `GRU`; the choice of activations is that of Keras and ONNX.
    """

    gates = 3

    def __init__(
        self,
        hidden_size: int,
        input_size: int | None = None,
        *,
        activation: str = "tanh",
        gate_activation: str = "sigmoid",
        reset: Reset = "after",
        dtype: torch.dtype | None = None,
    ) -> None:
        check_choice("reset", reset, get_args(Reset), owner=type(self).__name__)
        self._reset = reset
        super().__init__(
            hidden_size,
            input_size,
            activation=activation,
            gate_activation=gate_activation,
            dtype=dtype,
        )

    @property
    def reset(self) -> Reset:
        """Whether the gate resets after the recurrent product or before it."""
        return self._reset

    def advance(self, x: Tensor, state: Tensor) -> Tensor:
        """Take a step: x (N, C), state h (N, H) -> h."""
        squash, gate = ACTIVATIONS[self.activation], ACTIVATIONS[self.gate_activation]
        wide, h, rows = self._wide(x), state, 2 * self.hidden_size
        if self.reset == "after":
            r_h, z_h, n_h = self._recurrent(h).chunk(3, dim=1)
            r_x, z_x, n_x = wide.chunk(3, dim=1)
            z = gate(z_x + z_h)
            n = squash(n_x + gate(r_x + r_h) * n_h)
        else:
            weight, bias = self.weight_hh_l0, self.bias_hh_l0
            r, z = gate(wide[:, :rows] + nn.functional.linear(h, weight[:rows], bias[:rows])).chunk(2, dim=1)
            n = squash(wide[:, rows:] + nn.functional.linear(r * h, weight[rows:], bias[rows:]))
        return (1 - z) * n + z * h

    def extra_repr(self) -> str:
        """Size first, then every setting that is not its default."""
        shown = super().extra_repr()
        return shown if self.reset == "after" else f"{shown}, reset={self.reset!r}"

    def _kernel_cell(self) -> KernelCell | None:
        if (self.activation, self.gate_activation) != ("tanh", "sigmoid"):
            return None
        return "gru" if self.reset == "after" else "gru_reset_before"
