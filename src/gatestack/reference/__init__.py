"""The mathematics, in plain NumPy float64, forward and backward. Read this first.

Written to be checked against the papers line by line. Nothing is fused, cached or skipped, and
nothing of Gatestack is imported. Faster implementations are tested against these files.

- `lstm.py`, `gru.py`, `rnn.py`: a cell knows one step and its gradient.
- `activated_cells.py`, `activation_table.py`: these cells with other functions; their slopes.
- `deep_transition.py`: the plain cell with a network between one state and the next.
- `layer.py`: a layer runs a cell over time; it knows lengths, masks, direction and states.
- `stack.py`: a stack runs layers one over the other, in one or both directions.
- `conv_lstm.py`, `convolution.py`: a convolutional LSTM, one step and over time; what it convolves with.
- `affine.py`, `layer_norm.py`: the products of a cell, plain and normalised.
- `layer_masks.py`, `random_masks.py`: dropout and zoneout inside a layer: what a mask does, how it is drawn.

Letters: N batch, T time, C input features, H hidden, P the width of h (H where there is no projection),
L layers, D directions. Gate order: LSTM i f g o, GRU r z n. Weights have the layout of `torch.nn.LSTM`, `GRU`
and `RNN`, and their names where torch has them.
A state is always a tuple: `(h, c)` for the LSTM, `(h,)` for the GRU and the RNN.

Example:
    >>> import numpy as np
    >>> from gatestack.reference import LSTMCell, layer_forward
    >>> rng = np.random.default_rng(0)
    >>> cell = LSTMCell(
    ...     weight_ih=rng.normal(size=(20, 3)), weight_hh=rng.normal(size=(20, 5)),
    ...     bias_ih=rng.normal(size=20), bias_hh=rng.normal(size=20))
    >>> layer_forward(cell, rng.normal(size=(2, 7, 3)), lengths=[7, 4]).output.shape
    (2, 7, 5)
"""

from __future__ import annotations

from gatestack.reference.activated_cells import ActivatedGRUCell, ActivatedLSTMCell, ActivatedRNNCell
from gatestack.reference.activation_table import ACTIVATIONS, Activation
from gatestack.reference.activations import relu, sigmoid
from gatestack.reference.affine import affine, affine_backward
from gatestack.reference.cell import Cell, StepDropout, StepGradients
from gatestack.reference.conv_lstm import ConvLSTMCell, conv_lstm_backward, conv_lstm_forward
from gatestack.reference.convolution import Convolution
from gatestack.reference.deep_transition import DeepTransitionCell
from gatestack.reference.gru import GRUCell
from gatestack.reference.layer import LayerGradients, LayerResult, LayerTape, layer_backward, layer_forward
from gatestack.reference.layer_masks import LayerMasks
from gatestack.reference.layer_norm import normalise, normalise_backward
from gatestack.reference.lstm import LSTMCell
from gatestack.reference.random_masks import MaskKind, kept_units, step_positions
from gatestack.reference.real_steps import real_steps
from gatestack.reference.rnn import RNNCell
from gatestack.reference.stack import StackGradients, StackResult, stack_backward, stack_forward

__all__ = [
    "ACTIVATIONS",
    "ActivatedGRUCell",
    "ActivatedLSTMCell",
    "ActivatedRNNCell",
    "Activation",
    "Cell",
    "ConvLSTMCell",
    "Convolution",
    "DeepTransitionCell",
    "GRUCell",
    "LSTMCell",
    "LayerGradients",
    "LayerMasks",
    "LayerResult",
    "LayerTape",
    "MaskKind",
    "RNNCell",
    "StackGradients",
    "StackResult",
    "StepDropout",
    "StepGradients",
    "affine",
    "affine_backward",
    "conv_lstm_backward",
    "conv_lstm_forward",
    "kept_units",
    "layer_backward",
    "layer_forward",
    "normalise",
    "normalise_backward",
    "real_steps",
    "relu",
    "sigmoid",
    "stack_backward",
    "stack_forward",
    "step_positions",
]
