"""The plain recurrent layer."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from gatestack.errors import check_choice
from gatestack.kernels.spec import LayerSpec
from gatestack.nn.hidden_state import HiddenStateLayer
from gatestack.nn.merge import Merge
from gatestack.nn.options import Regularisation
from gatestack.nn.recurrent import InitialState

__all__ = ["RNN", "Activation"]

Activation = Literal["tanh", "relu"]


class RNN(HiddenStateLayer):
    r"""One plain recurrent layer.

    For each step, with φ = tanh or relu:

        h = φ(W_ih x + b_ih + W_hh h + b_hh)

    With `layer_norm`, LN(a) = (a − mean a) / √(var a + 10⁻⁵), gain γ:

        h = φ(γ_ih ⊙ LN(W_ih x) + b_ih + γ_hh ⊙ LN(W_hh h) + b_hh)

    Parameters, named as in torch, the same again with `_reverse`: `weight_ih_l0` (H, C), `weight_hh_l0` (H,
    H), `bias_ih_l0` (H,), `bias_hh_l0` (H,). The `state_dict` of a `torch.nn.RNN` with one layer loads as it
    is.

    Args:
        hidden_size: H, at least 1.
        input_size: C, or None to take it from the first input.
        activation: φ, "tanh" (default) or "relu".
        bidirectional: run a second direction from each row's last real step to its first. Default False.
        merge: how the two directions become one output: "concat" (default), "sum", "mul", "average".
        return_sequences: output every step (default); otherwise only the final state h of each direction.
        initial_state: "zeros" (default), or "trained": a parameter `initial_h_l0` of shape (D, H).
        layer_norm: normalise both products; parameters `gain_ih_l0`, `gain_hh_l0` (H,). Default False.
        regularisation: recurrent dropout, zoneout and the like; None for none.
        dtype: of the parameters; None takes torch's default.

    Raises:
        ArgumentError: a value outside its range; at a call, a shape, dtype or device that does not fit.

    Note:
        With two directions the last step of the output is not the final state; see `LSTM`.

    Example:
        >>> import torch
        >>> from gatestack.nn import RNN
        >>> output, h = RNN(4, input_size=2, activation="relu")(torch.zeros(3, 5, 2))
        >>> output.shape, h.shape
        (torch.Size([3, 5, 4]), torch.Size([1, 3, 4]))

    Source:
        Elman 1990, "Finding Structure in Time"; layer normalisation: Ba, Kiros & Hinton 2016, "Layer
        Normalization".
    """

    gates = 1
    refused = ("zoneout_cell", "candidate_dropout")

    def __init__(
        self,
        hidden_size: int,
        input_size: int | None = None,
        *,
        activation: Activation = "tanh",
        bidirectional: bool = False,
        merge: Merge = "concat",
        return_sequences: bool = True,
        initial_state: InitialState = "zeros",
        layer_norm: bool = False,
        regularisation: Regularisation | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_choice("activation", activation, get_args(Activation), owner=type(self).__name__)
        self._activation = activation
        self._layer_norm = layer_norm
        super().__init__(
            hidden_size,
            input_size,
            bidirectional=bidirectional,
            merge=merge,
            return_sequences=return_sequences,
            initial_state=initial_state,
            regularisation=regularisation,
            dtype=dtype,
        )

    @property
    def activation(self) -> Activation:
        """φ."""
        return self._activation

    def _layer_spec(self, input_size: int) -> LayerSpec:
        return LayerSpec(
            "rnn_relu" if self._activation == "relu" else "rnn_tanh",
            input_size,
            self.hidden_size,
            layer_norm=self._layer_norm,
        )

    def _shown_options(self) -> list[str]:
        shown = [] if self._activation == "tanh" else [f"activation={self._activation!r}"]
        return [*shown, "layer_norm=True"] if self._layer_norm else shown
