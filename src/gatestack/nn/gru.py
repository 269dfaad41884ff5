"""The gated recurrent unit layer."""

from __future__ import annotations

from torch import Tensor

from gatestack.kernels.spec import Cell
from gatestack.nn.recurrent import Recurrent
from gatestack.nn.steps import Lengths, Mask

__all__ = ["GRU"]


class GRU(Recurrent):
    r"""One layer of gated recurrent units, the reset gate applied after the recurrent product.

    For each step, with σ the logistic function and ⊙ the product element by element:

        r = σ(W_ir x + b_ir + W_hr h + b_hr)
        z = σ(W_iz x + b_iz + W_hz h + b_hz)
        n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn))
        h = (1 − z) ⊙ n + z ⊙ h

    The paper resets before the product, `n = tanh(W x + U (r ⊙ h))`; torch, cuDNN and Keras' default reset
    after it, and so does this layer, because then all products with h are one. In the paper z and 1 − z are
    the other way round.

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
        dtype: of the parameters; None takes torch's default.

    Raises:
        ArgumentError: a value outside its range; at a call, a shape, dtype or device that does not fit.

    Note:
        With two directions the last step of the output is not the final state; see `LSTM`.

    Example:
        >>> import torch
        >>> from gatestack.nn import GRU
        >>> output, h = GRU(4, input_size=2, bidirectional=True)(torch.zeros(3, 5, 2))
        >>> output.shape, h.shape
        (torch.Size([3, 5, 8]), torch.Size([2, 3, 4]))

    Source:
        Cho et al. 2014, "Learning Phrase Representations using RNN Encoder–Decoder", section 2.3.
    """

    gates = 3

    def forward(
        self,
        x: Tensor,
        state: Tensor | None = None,
        *,
        lengths: Lengths | None = None,
        mask: Mask | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the layer over a batch.

        Args:
            x: (N, T, C), in the dtype and on the device of the parameters. N = 0 and T = 0 are fine.
            state: h (D, N, H); None starts from the initial state.
            lengths: (N,) whole numbers from 0 to T, the real steps of each row; None means all.
            mask: (N, T) bool, True where a step is real; instead of lengths.

        Returns:
            output (N, T, D·H), or (N, T, H) where the directions are merged into one, zero at steps that are
            not real; with `return_sequences=False` the merged final h, (N, D·H) or (N, H). Then h (D, N, H),
            after each row's last real step.

        Raises:
            ArgumentError: a shape, dtype or device that does not fit, a length outside 0 to T.
        """
        x, states, steps = self._enter(x, state, lengths, mask)
        output, ((h_n,),), _ = self._run(x, states, steps)
        return self._leave(output, h_n, steps), h_n

    def _cell(self) -> Cell:
        return "gru"
