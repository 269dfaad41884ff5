"""What the cells of the LSTM, the GRU and the plain RNN share: parameters, activations, the fast path."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gatestack.errors import check_whole
from gatestack.kernels.spec import Cell as KernelCell
from gatestack.kernels.spec import DirectionWeights, LayerSpec
from gatestack.nn.activations import check_activation
from gatestack.nn.cell import Cell, KernelLayer
from gatestack.nn.parameters import check_size, declare_parameters, draw_parameter, make_parameters

__all__ = ["GatedCell"]


class GatedCell(Cell):
    """Base of `LSTMCell`, `GRUCell` and `RNNCell`: parameters with torch's names and shapes, activations.

    Args:
        hidden_size: H, at least 1.
        input_size: C, or None to take it from the first input.
        activation: the name of a function in `gatestack.nn.activations.ACTIVATIONS`, for what enters the
            state.
        gate_activation: the same for gates.
        dtype: of the parameters; None takes torch's default.

    Raises:
        ArgumentError: a value outside its range, an unknown activation.
    """

    gates: ClassVar[int]
    state_count: ClassVar[int] = 1
    input_size: int | None = None
    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter
    bias_ih_l0: nn.Parameter
    bias_hh_l0: nn.Parameter
    _like: Tensor

    def __init__(
        self,
        hidden_size: int,
        input_size: int | None = None,
        *,
        activation: str = "tanh",
        gate_activation: str = "sigmoid",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        self.hidden_size = check_whole("hidden_size", hidden_size, owner=owner)
        self._activation = check_activation("activation", activation, owner=owner)
        self._gate_activation = check_activation("gate_activation", gate_activation, owner=owner)
        self._spec: LayerSpec | None = None
        declare_parameters(self, self._shapes(1), dtype)
        if input_size is not None:
            self.build(input_size)

    @property
    def activation(self) -> str:
        """The name of what squashes what enters the state."""
        return self._activation

    @property
    def gate_activation(self) -> str:
        """The name of the function of the gates."""
        return self._gate_activation

    @property
    def output_size(self) -> int:
        """H, the width of h."""
        return self.hidden_size

    def build(self, input_size: int) -> GatedCell:
        """Make the parameters for inputs of `input_size` features; nothing happens where they exist already.

        Returns:
            The cell itself.

        Raises:
            ArgumentError: the cell was built for another input size.

        Example:
            >>> from gatestack.nn import GRUCell
            >>> GRUCell(4).build(2).weight_ih_l0.shape
            torch.Size([12, 2])
        """
        size = check_size(input_size, self.input_size, type(self).__name__)
        if self.input_size == size:
            return self
        make_parameters(self, self._like, self._shapes(size))
        self.input_size = size
        kernel_cell = self._kernel_cell()
        self._spec = None if kernel_cell is None else LayerSpec(kernel_cell, size, self.hidden_size)
        self._joined(self.kernel_layers() or [])
        self.reset_parameters()
        return self

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights anew from torch's random state, as the layer of this cell does."""
        for name in self._shapes(1):
            draw_parameter(name, getattr(self, name), self.gates)

    def start(self, x: Tensor) -> Any:
        """Give the state that a call without a state starts from: zeros (N, H) for the rows of x (N, …)."""
        zeros = tuple([x.new_zeros(len(x), self.hidden_size) for _ in range(self.state_count)])
        return zeros if self.state_count > 1 else zeros[0]

    def output(self, state: Any) -> Tensor:
        """Give h (N, H)."""
        h: Tensor = state[0] if isinstance(state, tuple) else state
        return h

    def kernel_layers(self) -> list[KernelLayer] | None:
        """Give the cell as a layer of the kernels; None where its activations are not theirs."""
        if self._spec is None:
            return None
        weights = DirectionWeights(self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0)
        return [KernelLayer(self._spec, weights)]

    def extra_repr(self) -> str:
        """Size first, then every setting that is not its default."""
        parts = [str(self.hidden_size), f"input_size={'?' if self.input_size is None else self.input_size}"]
        if self.activation != "tanh":
            parts.append(f"activation={self.activation!r}")
        if self.gate_activation != "sigmoid":
            parts.append(f"gate_activation={self.gate_activation!r}")
        return ", ".join(parts)

    def _kernel_cell(self) -> KernelCell | None:
        """Say which cell of the kernels this one is."""
        raise NotImplementedError

    def _shapes(self, input_size: int) -> dict[str, tuple[int, ...]]:
        rows = self.gates * self.hidden_size
        return {
            "weight_ih_l0": (rows, input_size),
            "weight_hh_l0": (rows, self.hidden_size),
            "bias_ih_l0": (rows,),
            "bias_hh_l0": (rows,),
        }

    def _wide(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)

    def _recurrent(self, h: Tensor) -> Tensor:
        return nn.functional.linear(h, self.weight_hh_l0, self.bias_hh_l0)
