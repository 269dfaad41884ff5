"""The recurrent layer of a network: one LSTM, GRU or plain layer, as any of the libraries means it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from torch import nn

from gatestack.convert.layers.base import Flag, Size
from gatestack.convert.layers.sequence import OverTime, OverTimeOptions
from gatestack.nn import (
    ACTIVATIONS,
    GRU,
    LSTM,
    RNN,
    Cell,
    GRUCell,
    Loop,
    LSTMCell,
    LSTMForm,
    Regularisation,
    RNNCell,
    SequenceLayer,
)

__all__ = ["RecurrentLayer", "RecurrentOptions"]


class RecurrentOptions(OverTimeOptions):
    """Options of `RecurrentLayer`; those of every layer over time come on top.

    Args:
        cell: "lstm", "gru", "rnn".
        input_size: C.
        hidden_size: H.
        reset: of a GRU: "after" the recurrent product (default; torch, Keras' reset_after=True, ONNX'
            linear_before_reset=1), or "before" it.
        activation: of the candidate, and of the cell state; "tanh" (default), or another of
            `gatestack.nn.ACTIVATIONS`.
        gate_activation: "sigmoid" (default), or another of them; a plain layer has no gates.
        bias: default True. Without it both biases are zero and stay so.
        projection_size: P, of an LSTM; None for none.
        peepholes: of an LSTM. Default False.
    """

    cell: Literal["lstm", "gru", "rnn"]
    input_size: Size
    hidden_size: Size
    reset: Literal["after", "before"] = "after"
    activation: str = "tanh"
    gate_activation: str = "sigmoid"
    bias: Flag = True
    projection_size: Size | None = Field(default=None)
    peepholes: Flag = False

    @model_validator(mode="after")
    def _fits_the_cell(self) -> RecurrentOptions:
        if self.cell != "lstm" and (self.projection_size or self.peepholes):
            raise ValueError(f"an LSTM where there are peepholes or a projection, not {self.cell}")
        if self.cell != "gru" and self.reset != "after":
            raise ValueError(f"a GRU where reset is 'before', not {self.cell}")
        for name in (self.activation, self.gate_activation):
            if name not in ACTIVATIONS:
                raise ValueError(f"an activation of gatestack.nn.ACTIVATIONS, not {name!r}")
        if not self.plain and (self.projection_size or self.peepholes or self.recurrent_dropout):
            raise ValueError(
                "tanh and sigmoid where there are peepholes, a projection or recurrent dropout, "
                f"not {self.activation} and {self.gate_activation}"
            )
        return self

    @property
    def output_size(self) -> int:
        """P, or H without a projection."""
        return self.projection_size or self.hidden_size

    @property
    def plain(self) -> bool:
        """Whether the kernels compute the cell as it is."""
        if self.cell == "rnn":
            return self.activation in ("tanh", "relu")
        return self.activation == "tanh" and self.gate_activation == "sigmoid"


class RecurrentLayer(OverTime):
    """One layer of LSTM, GRU or plain recurrent cells, in one direction.

    Signals: see `OverTime`; x (N, T, C), y (N, T, P) or (N, P), states h (N, P) and, of an LSTM, c (N, H).

    Args:
        options: see `RecurrentOptions`.

    Attributes:
        core: a `gatestack.nn.LSTM`, `GRU` or `RNN`; where it has other activations, a `gatestack.nn.Loop`.
        weights: the module with the parameters: `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`,
            `weight_hr_l0`, `peephole_l0`; gates in the order i f g o, r z n; peepholes i f o.

    Example:
        >>> import torch
        >>> from gatestack.convert.layers import Signal
        >>> options = RecurrentOptions(cell="lstm", input_size=3, hidden_size=4, return_state=True)
        >>> layer = RecurrentLayer(options)
        >>> [tuple(signal.value.shape) for signal in layer.run([Signal(torch.zeros(2, 5, 3))])]
        [(2, 5, 4), (2, 4), (2, 4)]
    """

    kind = "recurrent"
    Options = RecurrentOptions

    def __init__(self, options: RecurrentOptions) -> None:
        super().__init__(options, _core(options))
        self.state_count = 2 if options.cell == "lstm" else 1
        if not options.bias:
            for name in ("bias_ih_l0", "bias_hh_l0"):
                bias = self.weights.get_parameter(name)
                bias.requires_grad_(False).zero_()

    @property
    def weights(self) -> nn.Module:
        """The module that has the parameters."""
        return self.core.cell if isinstance(self.core, Loop) else self.core


def _core(options: RecurrentOptions) -> SequenceLayer:
    if not options.plain:
        return Loop(_cell(options))
    regularisation = Regularisation(recurrent_dropout=options.recurrent_dropout)
    size, features = options.hidden_size, options.input_size
    if options.cell == "lstm":
        form = LSTMForm(peepholes=options.peepholes, projection_size=options.projection_size)
        return LSTM(size, features, form=form, regularisation=regularisation)
    if options.cell == "gru":
        return GRU(size, features, reset=options.reset, regularisation=regularisation)
    activation: Literal["tanh", "relu"] = "relu" if options.activation == "relu" else "tanh"
    return RNN(size, features, activation=activation, regularisation=regularisation)


def _cell(options: RecurrentOptions) -> Cell:
    size, features = options.hidden_size, options.input_size
    squash, gate = options.activation, options.gate_activation
    if options.cell == "lstm":
        return LSTMCell(size, features, activation=squash, gate_activation=gate)
    if options.cell == "gru":
        return GRUCell(size, features, activation=squash, gate_activation=gate, reset=options.reset)
    return RNNCell(size, features, activation=squash)
