"""The gated recurrent unit layer."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from gatestack.errors import ArgumentError, check_choice
from gatestack.kernels.spec import LayerSpec
from gatestack.nn.hidden_state import HiddenStateLayer
from gatestack.nn.merge import Merge
from gatestack.nn.options import Regularisation
from gatestack.nn.recurrent import InitialState

__all__ = ["GRU", "Reset"]

Reset = Literal["after", "before"]


class GRU(HiddenStateLayer):
    r"""One layer of gated recurrent units, the reset gate applied after the recurrent product or before it.

    For each step, with σ the logistic function and ⊙ the product element by element:

        r = σ(W_ir x + b_ir + W_hr h + b_hr)
        z = σ(W_iz x + b_iz + W_hz h + b_hz)
        n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn))
        h = (1 − z) ⊙ n + z ⊙ h

    That is reset="after", as in torch, cuDNN and Keras' default; all products with h are one. The paper
    resets before the product, which is reset="before":

        n = tanh(W_in x + b_in + W_hn (r ⊙ h) + b_hn)

    In the paper z and 1 − z are the other way round.

    With `layer_norm`, LN(a) = (a − mean a) / √(var a + 10⁻⁵) over all gates together, gain γ:

        γ_ih ⊙ LN(W_ih x) in place of W_ih x,   γ_hh ⊙ LN(W_hh h) in place of W_hh h

    Parameters, gates stacked in the order r z n as torch has them, the same again with `_reverse`:
    `weight_ih_l0` = (W_ir|W_iz|W_in) of shape (3·H, C), `weight_hh_l0` (3·H, H), `bias_ih_l0` (3·H,),
    `bias_hh_l0` (3·H,). The `state_dict` of a `torch.nn.GRU` with one layer loads as it is.

    Args:
        hidden_size: H, at least 1.
        input_size: C, or None to take it from the first input.
        bidirectional: run a second direction from each row's last real step to its first. Default False.
        merge: how the two directions become one output: "concat" (default), "sum", "mul", "average".
        return_sequences: output every step (default); otherwise only the final state h of each direction.
        initial_state: "zeros" (default), or "trained": a parameter `initial_h_l0` of shape (D, H).
        reset: "after" (default) or "before".
        layer_norm: normalise both products; parameters `gain_ih_l0`, `gain_hh_l0` (3·H,). Default False.
        regularisation: recurrent dropout, zoneout and the like; None for none.
        dtype: of the parameters; None takes torch's default.

    Raises:
        ArgumentError: a value outside its range, layer_norm with reset="before"; at a call, a shape, dtype
            or device that does not fit.

    Note:
        With two directions the last step of the output is not the final state; see `LSTM`.

    Example:
        >>> import torch
        >>> from gatestack.nn import GRU
        >>> output, h = GRU(4, input_size=2, bidirectional=True)(torch.zeros(3, 5, 2))
        >>> output.shape, h.shape
        (torch.Size([3, 5, 8]), torch.Size([2, 3, 4]))

    Source:
        Cho et al. 2014, "Learning Phrase Representations using RNN Encoder–Decoder", section 2.3; layer
        normalisation: Ba, Kiros & Hinton 2016, "Layer Normalization".
    """

    gates = 3
    refused = ("zoneout_cell",)

    def __init__(
        self,
        hidden_size: int,
        input_size: int | None = None,
        *,
        bidirectional: bool = False,
        merge: Merge = "concat",
        return_sequences: bool = True,
        initial_state: InitialState = "zeros",
        reset: Reset = "after",
        layer_norm: bool = False,
        regularisation: Regularisation | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_choice("reset", reset, get_args(Reset), owner=type(self).__name__)
        if layer_norm and reset == "before":
            raise ArgumentError(
                "layer_norm=True with reset='before'",
                where=type(self).__name__,
                expected="reset='after': before, the candidate's recurrent product comes apart",
            )
        self._reset = reset
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

    def _layer_spec(self, input_size: int) -> LayerSpec:
        return LayerSpec(
            "gru" if self._reset == "after" else "gru_reset_before",
            input_size,
            self.hidden_size,
            layer_norm=self._layer_norm,
        )

    def _shown_options(self) -> list[str]:
        shown = [] if self._reset == "after" else [f"reset={self._reset!r}"]
        return [*shown, "layer_norm=True"] if self._layer_norm else shown
