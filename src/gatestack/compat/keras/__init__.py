"""Recurrent layers with the signatures of Keras 3, on the compiled kernels; for Keras' torch backend.

They are Keras' own classes with another loop over time: arguments, configurations, weights, masks, states and
files are Keras'. `gatestack.accelerate` gives the layers of a finished model these classes.

The extra `keras` installs what they need; KERAS_BACKEND=torch in the environment chooses the backend.

Example:
    >>> import keras
    >>> from gatestack.compat.keras import GRU, Bidirectional
    >>> model = keras.Sequential([keras.Input((None, 3)), Bidirectional(GRU(8)), keras.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> history = model.fit(keras.ops.ones((4, 10, 3)), keras.ops.ones((4, 1)), verbose=0)
"""

from gatestack.compat.keras.requirement import check_keras as _check_keras

_check_keras()

from gatestack.compat.keras.bidirectional import Bidirectional  # noqa: E402 (the rest imports keras)
from gatestack.compat.keras.conv_lstm import ConvLSTM2D  # noqa: E402
from gatestack.compat.keras.layers import GRU, LSTM, SimpleRNN  # noqa: E402

__all__ = ["GRU", "LSTM", "Bidirectional", "ConvLSTM2D", "SimpleRNN"]
