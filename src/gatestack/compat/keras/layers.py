"""`LSTM`, `GRU` and `SimpleRNN` of Keras with another loop over time, and nothing else of their own."""

from __future__ import annotations

from typing import Any

import keras

from gatestack.compat.keras.files import written_as_keras
from gatestack.compat.keras.layer_call import run_layer

__all__ = ["GRU", "LSTM", "SimpleRNN"]


@written_as_keras
class LSTM(keras.layers.LSTM):
    """`keras.layers.LSTM` on the compiled kernels: arguments, weights, masks, states, results are Keras'.

    What runs on Keras' own code, and says so in the log once: activations other than tanh and sigmoid,
    `recurrent_dropout` in training, `use_cudnn=True`, `implementation=1` with dropout in training, another
    device than the CPU, float16.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((10, 3)), keras.layers.Masking(), LSTM(8)])
        >>> model(keras.ops.ones((4, 10, 3))).shape
        torch.Size([4, 8])
        >>> isinstance(model.layers[1], keras.layers.LSTM)
        True
    """

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: Any = False) -> Any:
        """Run over sequences (N, T, C) from the initial state -> last output, outputs, states."""
        return run_layer(self, keras.layers.LSTM.inner_loop, sequences, initial_state, mask, training)


@written_as_keras
class GRU(keras.layers.GRU):
    """`keras.layers.GRU` on the compiled kernels, with `reset_after` True or False.

    What runs on Keras' own code is as in `LSTM`.

    Example:
        >>> import keras
        >>> GRU(8, return_sequences=True)(keras.ops.ones((4, 10, 3))).shape
        torch.Size([4, 10, 8])
    """

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: Any = False) -> Any:
        """Run over sequences (N, T, C) from the initial state -> last output, outputs, states."""
        return run_layer(self, keras.layers.GRU.inner_loop, sequences, initial_state, mask, training)


@written_as_keras
class SimpleRNN(keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN` on the compiled kernels, with the activation tanh or relu.

    What runs on Keras' own code is as in `LSTM`, other activations here being those but tanh and relu.

    Example:
        >>> import keras
        >>> SimpleRNN(8, activation="relu")(keras.ops.ones((4, 10, 3))).shape
        torch.Size([4, 8])
    """

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: Any = False) -> Any:
        """Run over sequences (N, T, C) from the initial state -> last output, outputs, states."""
        return run_layer(self, keras.layers.SimpleRNN.inner_loop, sequences, initial_state, mask, training)
