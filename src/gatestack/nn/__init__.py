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

from gatestack.nn.dropout import VariationalDropout
from gatestack.nn.gru import GRU
from gatestack.nn.layer import SequenceLayer
from gatestack.nn.lstm import LSTM
from gatestack.nn.options import LSTMForm, Regularisation
from gatestack.nn.rnn import RNN
from gatestack.nn.stack import Stack

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "LSTMForm",
    "Regularisation",
    "SequenceLayer",
    "Stack",
    "VariationalDropout",
]
