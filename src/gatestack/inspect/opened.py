"""Layers of every class with one face: what a layer is, how it starts, and one step of it, gates included.

A layer of the kernels, a cell in a `Loop`, which may have other functions than tanh and σ, and a
convolutional layer. In the last one a unit is a channel, and its states are images.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from gatestack.inspect.equations import Functions, Gates, cell_step, lstm_gates
from gatestack.kernels.conv_lstm.spec import convolve_state, odd_sized
from gatestack.kernels.spec import Cell as KernelCell
from gatestack.kernels.spec import DirectionWeights, LayerSpec
from gatestack.nn import RNN, ConvLSTM, GRUCell, Loop, LSTMCell, RNNCell, SequenceLayer
from gatestack.nn.gated_cell import GatedCell
from gatestack.nn.merge import Merge
from gatestack.nn.recurrent import Recurrent
from gatestack.nn.states import leaves

__all__ = ["OpenLayer", "can_be_opened", "open_layer"]


class OpenLayer(ABC):
    """A recurrent layer whose steps are laid open.

    Args:
        layer: built.

    Attributes:
        layer: what was given.
        spec: its cell, sizes and options; of a convolutional layer those of one position.
        functions: of its cell.
        state_names: of its state.
        directions: one or two, and by `merge` they become one output.
    """

    spec: LayerSpec
    functions: Functions
    state_names: tuple[str, ...]
    directions: int = 1
    merge: Merge = "concat"
    prefix: ClassVar[str] = ""

    def __init__(self, layer: SequenceLayer) -> None:
        self.layer = layer

    @property
    def cell(self) -> str:
        """What it is called in tables: lstm, gru, gru_reset_before, conv_lstm, or rnn_ with its function."""
        name = f"rnn_{self.functions.squash}" if self.spec.gates == 1 else self.spec.cell
        return self.prefix + name

    @property
    def carries_cell(self) -> bool:
        """Whether it carries a cell state beside what it shows."""
        return self.spec.cell == "lstm"

    def copied(self) -> Self:
        """Give a copy with weights of its own, which ask for gradients."""
        return type(self)(copy.deepcopy(self.layer).requires_grad_(True))

    def drawn_anew(self) -> None:
        """Draw the weights as at the start of training."""
        self.layer.reset_parameters()  # type: ignore[operator]

    def start(self, x: Tensor, state: Any) -> tuple[Tensor, ...]:
        """Give the state before the first step of x (N, T, …), each tensor (D, N, …)."""
        return tuple(leaves(self.layer.start(x) if state is None else state))

    @abstractmethod
    def step(self, number: int, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Gates, tuple[Tensor, ...]]:
        """Take a step of one direction: x (N, …), each tensor of the state (N, …) -> quantities, state."""

    @abstractmethod
    def plain(self) -> OpenLayer:
        """Give a plain tanh layer of the same size, drawn anew, which asks for gradients."""


class _OfKernels(OpenLayer):
    """An `LSTM`, `GRU` or `RNN`."""

    layer: Recurrent

    def __init__(self, layer: Recurrent) -> None:
        super().__init__(layer)
        self.spec, self.state_names = layer.spec, layer.state_names
        self.functions = Functions("relu" if layer.spec.cell == "rnn_relu" else "tanh")
        self.directions, self.merge = layer.num_directions, layer.merge

    def start(self, x: Tensor, state: Any) -> tuple[Tensor, ...]:
        """As the layer itself starts, from a trained state too."""
        given = self.layer._states(x, state)
        if given is not None:
            return given
        return tuple(x.new_zeros(self.directions, len(x), size) for size in self.spec.state_sizes)

    def step(self, number: int, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Gates, tuple[Tensor, ...]]:
        """Take a step."""
        return cell_step(self.spec, self.layer.weights()[number], x, state, self.functions)

    def plain(self) -> OpenLayer:
        """As wide as the output, with the same directions."""
        made = RNN(
            self.spec.output_size,
            self.layer.input_size,
            bidirectional=self.layer.bidirectional,
            merge=self.merge,
            return_sequences=self.layer.return_sequences,
            dtype=self.layer.dtype,
        )
        return _OfKernels(made.eval())


class _OfCell(OpenLayer):
    """A `Loop` around an `LSTMCell`, `GRUCell` or `RNNCell`."""

    layer: Loop

    def __init__(self, layer: Loop) -> None:
        super().__init__(layer)
        cell = layer.cell
        if not isinstance(cell, GatedCell) or cell.input_size is None:
            raise RuntimeError(f"{type(cell).__name__} cannot be opened, or is not built")
        self._cell = cell
        self.spec = LayerSpec(_kernel_name(cell), cell.input_size, cell.hidden_size)
        self.functions = Functions(cell.activation, cell.gate_activation)
        self.state_names = ("h", "c")[: cell.state_count]

    def drawn_anew(self) -> None:
        """Draw the weights of the cell."""
        self._cell.reset_parameters()

    def step(self, number: int, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Gates, tuple[Tensor, ...]]:  # noqa: ARG002
        """Take a step."""
        cell = self._cell
        weights = DirectionWeights(cell.weight_ih_l0, cell.weight_hh_l0, cell.bias_ih_l0, cell.bias_hh_l0)
        return cell_step(self.spec, weights, x, state, self.functions)

    def plain(self) -> OpenLayer:
        """As wide as the cell."""
        dtype = self._cell.weight_ih_l0.dtype
        made = RNN(
            self.spec.hidden_size,
            self.spec.input_size,
            return_sequences=self.layer.return_sequences,
            dtype=dtype,
        )
        return _OfKernels(made.eval())


class _OfImages(OpenLayer):
    """A convolutional LSTM; as a plain layer, its candidate alone: h = tanh(W ∗ x + U ∗ h + b)."""

    layer: ConvLSTM
    prefix = "conv_"

    def __init__(self, layer: ConvLSTM, *, plain: bool = False) -> None:
        super().__init__(layer)
        self._plain = plain
        if layer.input_size is None:
            raise RuntimeError("a layer that was run is built")
        peepholes = not plain and layer.peephole_l0 is not None
        self.spec = LayerSpec(
            "rnn_tanh" if plain else "lstm", layer.input_size, layer.channels, peepholes=peepholes
        )
        self.functions = (
            Functions() if plain else Functions(layer.form.activation, layer.form.gate_activation)
        )
        self.state_names = ("h",) if plain else ("h", "c")

    def start(self, x: Tensor, state: Any) -> tuple[Tensor, ...]:
        """Start from images of zeros, or from those that are given."""
        every = super().start(x, state)
        return every[: len(self.state_names)]

    def step(self, number: int, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Gates, tuple[Tensor, ...]]:  # noqa: ARG002
        """Take a step: x (N, C, *space), states and quantities (N, F, *space_out)."""
        weights, geometry = self.layer.weights(), self.layer._spec
        h, flat = state[0], self.layer.dimensions == 1
        if flat:  # the convolutions know two dimensions or three
            x, h, weights, geometry = x.unsqueeze(-2), h.unsqueeze(-2), weights.raised(), geometry.raised()
        sums = geometry.convolve_input(x, weights.weight_ih, weights.bias)
        sums = sums + convolve_state(h, odd_sized(weights.weight_hh))  # -> (N, 4F, *space_out)
        if flat:
            sums = sums.squeeze(-2)
        parts = sums.chunk(4, dim=1)
        if self._plain:
            shown = torch.tanh(parts[2])
            return {"hidden": shown}, (shown,)
        # Of the weights only the peepholes are read, (3, F, …), which fit the images as they are.
        peephole = self.layer.weights().peephole
        only = DirectionWeights(weights.weight_ih, weights.weight_hh, None, None, peephole=peephole)
        return lstm_gates(parts, state[1], only, self.functions)

    def plain(self) -> OpenLayer:
        """With as many channels and kernels of the same size."""
        made = copy.deepcopy(self.layer).requires_grad_(True)
        made.reset_parameters()
        return _OfImages(made, plain=True)


def can_be_opened(module: nn.Module) -> bool:
    """Tell whether the gates of a layer can be opened."""
    if isinstance(module, Loop):
        return isinstance(module.cell, LSTMCell | GRUCell | RNNCell)
    return isinstance(module, Recurrent | ConvLSTM)


def open_layer(layer: nn.Module) -> OpenLayer:
    """Lay a layer open.

    Args:
        layer: one that `can_be_opened`, built.

    Example:
        >>> from gatestack.nn import GRUCell
        >>> open_layer(Loop(GRUCell(4, 2, gate_activation="hard_sigmoid"))).functions.gate
        'hard_sigmoid'
    """
    if isinstance(layer, Recurrent):
        return _OfKernels(layer)
    if isinstance(layer, ConvLSTM):
        return _OfImages(layer)
    if isinstance(layer, Loop):
        return _OfCell(layer)
    raise RuntimeError(f"{type(layer).__name__} cannot be opened")


def _kernel_name(cell: GatedCell) -> KernelCell:
    """Name the cell of the kernels that has the same sums, whatever its functions."""
    if isinstance(cell, LSTMCell):
        return "lstm"
    if isinstance(cell, GRUCell):
        return "gru" if cell.reset == "after" else "gru_reset_before"
    return "rnn_tanh"
