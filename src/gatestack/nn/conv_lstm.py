"""Convolutional LSTM layers over sequences of rows, images or volumes: three faces of one implementation."""

from __future__ import annotations

from gatestack.nn.conv_lstm_base import ConvLSTM
from gatestack.nn.conv_lstm_options import ConvLSTMForm

__all__ = ["ConvLSTM", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "ConvLSTMForm"]


class ConvLSTM1D(ConvLSTM):
    """A `ConvLSTM` over sequences of rows: x is (N, T, C, width). See there for everything else.

    Example:
        >>> import torch
        >>> output, state = ConvLSTM1D(4, 3)(torch.zeros(2, 5, 1, 10))
        >>> output.shape
        torch.Size([2, 5, 4, 10])
    """

    dimensions = 1


class ConvLSTM2D(ConvLSTM):
    """A `ConvLSTM` over sequences of images: x is (N, T, C, height, width). See there for everything else.

    Example:
        >>> import torch
        >>> output, state = ConvLSTM2D(4, (3, 5), return_sequences=False)(torch.zeros(2, 5, 1, 10, 12))
        >>> output.shape
        torch.Size([2, 4, 10, 12])
    """

    dimensions = 2


class ConvLSTM3D(ConvLSTM):
    """A `ConvLSTM` over sequences of volumes: x is (N, T, C, depth, height, width). See there for all else.

    Example:
        >>> import torch
        >>> output, state = ConvLSTM3D(4, 3, padding="valid")(torch.zeros(2, 5, 1, 6, 8, 8))
        >>> output.shape
        torch.Size([2, 5, 4, 4, 6, 6])
    """

    dimensions = 3
