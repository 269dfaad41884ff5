"""The call of a layer that carries h alone: what `GRU` and `RNN` share."""

from __future__ import annotations

from torch import Tensor

from gatestack.nn.recurrent import Recurrent
from gatestack.nn.steps import Lengths, Mask

__all__ = ["HiddenStateLayer"]


class HiddenStateLayer(Recurrent):
    """Base of `GRU` and `RNN`: a layer whose state is one tensor h (D, N, H)."""

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
        output, (_, ((h_n,),), _) = self._run(x, state, lengths, mask)
        return output, h_n
