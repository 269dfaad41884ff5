"""Recurrent layers with parameters, and stacks of them.

Inputs are (batch, time, features), states are h or (h, c) of shape (directions, batch, hidden), a mask is
True where a step is real. Parameters have torch's names, shapes and gate order.

Example:
    >>> import torch
    >>> from gatestack.nn import LSTM, Stack
    >>> stack = Stack(LSTM(16), LSTM(16, return_sequences=False))
    >>> output, states = stack(torch.zeros(8, 20, 3))
    >>> output.shape, len(states)
    (torch.Size([8, 16]), 2)
"""

from gatestack.nn.activations import ACTIVATIONS
from gatestack.nn.bidirectional import Bidirectional
from gatestack.nn.cell import Cell
from gatestack.nn.conv_lstm import ConvLSTM, ConvLSTM1D, ConvLSTM2D, ConvLSTM3D, ConvLSTMForm
from gatestack.nn.deep_output import DeepOutput
from gatestack.nn.deep_transition import DeepTransitionCell
from gatestack.nn.dropout import VariationalDropout
from gatestack.nn.gru import GRU
from gatestack.nn.gru_cell import GRUCell
from gatestack.nn.layer import SequenceLayer
from gatestack.nn.loop import Loop
from gatestack.nn.lstm import LSTM
from gatestack.nn.lstm_cell import LSTMCell
from gatestack.nn.options import LSTMForm, Regularisation
from gatestack.nn.per_step import PerStep
from gatestack.nn.rnn import RNN
from gatestack.nn.rnn_cell import RNNCell
from gatestack.nn.shortcut_stack import ShortcutStack
from gatestack.nn.stack import Stack
from gatestack.nn.stacked_cells import StackedCells
from gatestack.nn.stateful import Stateful

__all__ = [
    "ACTIVATIONS",
    "GRU",
    "LSTM",
    "RNN",
    "Bidirectional",
    "Cell",
    "ConvLSTM",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "ConvLSTMForm",
    "DeepOutput",
    "DeepTransitionCell",
    "GRUCell",
    "LSTMCell",
    "LSTMForm",
    "Loop",
    "PerStep",
    "RNNCell",
    "Regularisation",
    "SequenceLayer",
    "ShortcutStack",
    "Stack",
    "StackedCells",
    "Stateful",
    "VariationalDropout",
]
