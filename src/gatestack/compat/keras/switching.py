"""Which layers of Keras `accelerate` switches, and how they are found in a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
from torch import nn

from gatestack.compat.keras.bidirectional import Bidirectional
from gatestack.compat.keras.conv_lstm import ConvLSTM2D
from gatestack.compat.keras.layers import GRU, LSTM, SimpleRNN

__all__ = ["FASTER", "RECURRENT", "layers_of"]

FASTER: dict[type[nn.Module], type[nn.Module]] = {
    keras.layers.LSTM: LSTM,
    keras.layers.GRU: GRU,
    keras.layers.SimpleRNN: SimpleRNN,
    keras.layers.Bidirectional: Bidirectional,
    keras.layers.ConvLSTM2D: ConvLSTM2D,
}

# What a layer may be derived from that is left alone and named.
RECURRENT: tuple[type[Any], ...] = (keras.layers.RNN, keras.layers.Bidirectional)


def layers_of(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name every layer inside a module that is a layer of Keras; Keras does not list them as torch does.

    Example:
        >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(4, name="lower")])
        >>> "lower" in [name for name, _ in layers_of(model)]
        True
    """
    if isinstance(module, keras.layers.Layer):
        for layer in module._flatten_layers(include_self=False):  # type: ignore[no-untyped-call]
            yield layer.name, layer
