"""The long short-term memory layer."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from gatestack.errors import ArgumentError
from gatestack.kernels.spec import LayerSpec
from gatestack.nn.checks import check_number
from gatestack.nn.merge import Merge
from gatestack.nn.options import LSTMForm, Regularisation
from gatestack.nn.recurrent import InitialState, Recurrent
from gatestack.nn.steps import Lengths, Mask

__all__ = ["LSTM", "LSTMState"]

LSTMState: TypeAlias = tuple[Tensor, Tensor]


class LSTM(Recurrent):
    r"""One layer of long short-term memory.

    For each step, with σ the logistic function and ⊙ the product element by element:

        i = σ(W_ii x + b_ii + W_hi h + b_hi)
        f = σ(W_if x + b_if + W_hf h + b_hf)
        g = tanh(W_ig x + b_ig + W_hg h + b_hg)
        o = σ(W_io x + b_io + W_ho h + b_ho)
        c = f ⊙ c + i ⊙ g
        h = o ⊙ tanh(c)

    Peepholes, a projection of h and layer normalisation are the matter of `LSTMForm`, which has their
    equations.

    Parameters, gates stacked in the order i f g o as torch has them, the same again with `_reverse`:
    `weight_ih_l0` = (W_ii|W_if|W_ig|W_io) of shape (4·H, C), `weight_hh_l0` (4·H, H), `bias_ih_l0` (4·H,),
    `bias_hh_l0` (4·H,); with a projection `weight_hh_l0` is (4·H, P) and there is `weight_hr_l0` (P, H). The
    `state_dict` of a `torch.nn.LSTM` with one layer loads as it is, with `proj_size` as well.

    Args:
        hidden_size: H, at least 1.
        input_size: C, or None to take it from the first input.
        bidirectional: run a second direction from each row's last real step to its first. Default False.
        merge: how the two directions become one output: "concat" (default), "sum", "mul", "average".
        return_sequences: output every step (default); otherwise only the final state h of each direction.
        forget_bias: b_if at the start; b_hf starts at zero, so that the sum is `forget_bias`. Default 1.0.
        initial_state: "zeros" (default), or "trained": parameters `initial_h_l0` (D, P), `initial_c_l0`
            (D, H).
        form: peepholes, projection, layer normalisation; None for none of them.
        regularisation: recurrent dropout, zoneout and the like; None for none.
        dtype: of the parameters; None takes torch's default.

    Raises:
        ArgumentError: a value outside its range; at a call, a shape, dtype or device that does not fit.

    Note:
        With two directions the last step of the output is not the final state: the reverse direction has read
        only one step there. `state` and `return_sequences=False` hold what each direction knows when it is
        done.

    Example:
        >>> import torch
        >>> from gatestack.nn import LSTM
        >>> layer = LSTM(4, input_size=2)
        >>> output, (h, c) = layer(torch.zeros(3, 5, 2), lengths=[5, 2, 0])
        >>> output.shape, h.shape, c.shape
        (torch.Size([3, 5, 4]), torch.Size([1, 3, 4]), torch.Size([1, 3, 4]))

    Source:
        Hochreiter & Schmidhuber 1997, "Long Short-Term Memory"; the forget gate from Gers, Schmidhuber &
        Cummins 2000, "Learning to Forget", and its bias of 1 from Jozefowicz et al. 2015, "An Empirical
        Exploration of Recurrent Network Architectures".
    """

    gates = 4
    state_names = ("h", "c")

    def __init__(
        self,
        hidden_size: int,
        input_size: int | None = None,
        *,
        bidirectional: bool = False,
        merge: Merge = "concat",
        return_sequences: bool = True,
        forget_bias: float = 1.0,
        initial_state: InitialState = "zeros",
        form: LSTMForm | None = None,
        regularisation: Regularisation | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if form is not None and not isinstance(form, LSTMForm):
            raise ArgumentError(
                f"form is of type {type(form).__name__}",
                where=type(self).__name__,
                expected="an LSTMForm, or None",
            )
        self.forget_bias = check_number("forget_bias", forget_bias, owner=type(self).__name__)
        self._form = form or LSTMForm()
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
    def form(self) -> LSTMForm:
        """What was given to the constructor."""
        return self._form

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights anew and set the forget gate's bias.

        Example:
            >>> from gatestack.nn import LSTM
            >>> LSTM(1, input_size=1).bias_ih_l0.tolist()
            [0.0, 1.0, 0.0, 0.0]
        """
        super().reset_parameters()
        for name in self._parameter_shapes():
            if name.startswith("bias_ih"):
                getattr(self, name)[self.hidden_size : 2 * self.hidden_size] = self.forget_bias

    def forward(
        self,
        x: Tensor,
        state: LSTMState | None = None,
        *,
        lengths: Lengths | None = None,
        mask: Mask | None = None,
        return_cell_states: bool = False,
    ) -> tuple[Tensor, LSTMState] | tuple[Tensor, LSTMState, Tensor]:
        """Run the layer over a batch.

        Args:
            x: (N, T, C), in the dtype and on the device of the parameters. N = 0 and T = 0 are fine.
            state: (h (D, N, P), c (D, N, H)); None starts from the initial state.
            lengths: (N,) whole numbers from 0 to T, the real steps of each row; None means all.
            mask: (N, T) bool, True where a step is real; instead of lengths.
            return_cell_states: also return the cell state of every step.

        Returns:
            output, state, and the cell states when asked for. `output` is (N, T, D·P), or (N, T, P) where the
            directions are merged into one, zero at steps that are not real; with `return_sequences=False` the
            merged final h, (N, D·P) or (N, P). `state` is (h (D, N, P), c (D, N, H)) after each row's last
            real step. The cell states are (N, T, D·H), directions side by side whatever `merge` is, zero at
            steps that are not real.

        Raises:
            ArgumentError: a shape, dtype or device that does not fit, a length outside 0 to T.
        """
        output, (_, ((h_n, c_n),), cells) = self._run(x, state, lengths, mask, cells=return_cell_states)
        return (output, (h_n, c_n)) if cells is None else (output, (h_n, c_n), cells[0])

    def _layer_spec(self, input_size: int) -> LayerSpec:
        return LayerSpec(
            "lstm",
            input_size,
            self.hidden_size,
            projection_size=self._form.projection_size or 0,
            peepholes=self._form.peepholes,
            layer_norm=self._form.layer_norm,
        )

    def _shown_options(self) -> list[str]:
        shown = [] if self.forget_bias == 1.0 else [f"forget_bias={self.forget_bias:g}"]
        return shown if self._form == LSTMForm() else [*shown, f"form={self._form!r}"]
