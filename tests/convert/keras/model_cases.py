"""Models of Keras, one for each layer that Gatestack reads and writes, with their options.

Each takes the module `keras` (Keras 3, or `tf_keras`, which is Keras 2) and gives a model; the shapes of its
inputs tell what to feed it. Used by the script that makes the artifacts and by the tests that write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

STEPS = 6


def draw_inputs(model: Any, rows: int = 3) -> list[np.ndarray]:
    """Draw inputs: words, of which zeros fill up the rows, where a model takes whole numbers."""
    rng = np.random.default_rng(1)
    drawn = []
    for tensor in model.inputs:
        shape = [size or STEPS for size in tensor.shape[1:]]
        rows = tensor.shape[0] or rows
        if "int" in str(tensor.dtype):
            x = rng.integers(1, 9, (rows, *shape))
            x[1, shape[0] // 2 :] = 0
            x[2, 1] = 0
        else:
            x = rng.normal(size=(rows, *shape)).astype("float32")
            if shape[0] == STEPS:  # what Masking takes for steps that are not real
                x[1, STEPS // 2 :] = 0
                x[2, :2] = x[2, 3] = 0
        drawn.append(x)
    return drawn


def randomise(model: Any) -> None:
    """Draw all weights anew, those too that start as zeros and ones."""
    rng = np.random.default_rng(0)
    drawn = []
    for weight in model.weights:
        values = rng.normal(size=tuple(weight.shape)) * 0.4
        name = getattr(weight, "path", weight.name)
        drawn.append(np.abs(values) + 0.5 if "variance" in name else values)
    model.set_weights(drawn)


def words(keras: Any) -> Any:
    """Embedding with a mask through LSTM, TimeDistributed, GRU, Dense."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((STEPS,), dtype="int32"),
            layers.Embedding(9, 4, mask_zero=True),
            layers.SpatialDropout1D(0.1),
            layers.LSTM(3, return_sequences=True, dropout=0.1),
            layers.TimeDistributed(layers.Dense(5, activation="relu")),
            layers.Dropout(0.2),
            layers.GRU(4),
            layers.Dense(3, activation="softmax"),
        ]
    )


def lstm_options(keras: Any) -> Any:
    """LSTM with every option, masked; an encoder and a decoder that starts from its states."""
    layers = keras.layers
    x = keras.Input((None, 4))
    masked = layers.Masking()(x)
    y, h, c = layers.LSTM(3, return_sequences=True, return_state=True, name="encoder")(masked)
    decoded = layers.LSTM(3, return_sequences=True, name="decoder")(y, initial_state=[h, c])
    others = [
        layers.LSTM(2, go_backwards=True, return_sequences=True)(masked),
        layers.LSTM(2, go_backwards=True)(masked),
        layers.LSTM(2, activation="relu", recurrent_activation="hard_sigmoid")(x),
        layers.LSTM(2, use_bias=False, activation="softsign", unroll=False)(x),
    ]
    return keras.Model(x, [y, h, c, decoded, *others])


def gru_options(keras: Any) -> Any:
    """GRU with the reset before and after the product, masked and not."""
    layers = keras.layers
    x = keras.Input((None, 4))
    masked = layers.Masking(0.0)(x)
    y, h = layers.GRU(3, return_sequences=True, return_state=True)(masked)
    others = [
        layers.GRU(3, return_sequences=True, reset_after=False)(y, initial_state=h),
        layers.GRU(2, reset_after=False, use_bias=False, go_backwards=True)(masked),
        layers.GRU(2, activation="relu", recurrent_activation="hard_sigmoid", reset_after=False)(x),
        layers.GRU(2, activation="elu", use_bias=False, return_sequences=True, go_backwards=True)(masked),
    ]
    return keras.Model(x, [y, h, *others])


def simple_rnn_options(keras: Any) -> Any:
    """SimpleRNN, masked and not, relu and tanh."""
    layers = keras.layers
    x = keras.Input((STEPS, 4))
    masked = layers.Masking()(x)
    y, h = layers.SimpleRNN(3, return_sequences=True, return_state=True)(masked)
    others = [
        layers.SimpleRNN(2, activation="relu")(x),
        layers.SimpleRNN(2, activation="softplus", use_bias=False, go_backwards=True)(masked),
    ]
    return keras.Model(x, [y, h, *others])


def bidirectional_options(keras: Any) -> Any:
    """Bidirectional with each way of merging, masked."""
    layers = keras.layers
    x = keras.Input((STEPS, 4))
    masked = layers.Masking()(x)
    outputs = [
        layers.Bidirectional(layers.LSTM(2, return_sequences=True), merge_mode="concat")(masked),
        layers.Bidirectional(layers.GRU(2, return_sequences=True), merge_mode="sum")(masked),
        layers.Bidirectional(layers.SimpleRNN(2), merge_mode="mul")(masked),
        layers.Bidirectional(layers.LSTM(2), merge_mode="ave")(masked),
        *layers.Bidirectional(layers.GRU(2, return_sequences=True), merge_mode=None)(x),
    ]
    return keras.Model(x, outputs)


def bidirectional_parts(keras: Any) -> Any:
    """Bidirectional of two different layers, with states out and in."""
    layers = keras.layers
    x = keras.Input((STEPS, 4))
    masked = layers.Masking()(x)
    y, *states = layers.Bidirectional(layers.LSTM(2, return_state=True, return_sequences=True))(masked)
    outputs = [
        y,
        *states,
        layers.Bidirectional(layers.LSTM(2), merge_mode=None)(y, initial_state=states)[1],
        layers.Bidirectional(
            layers.LSTM(2, activation="relu"), backward_layer=layers.LSTM(2, go_backwards=True)
        )(masked),
    ]
    return keras.Model(x, outputs)


def conv_lstm_options(keras: Any) -> Any:
    """ConvLSTM2D with padding, strides and dilation, both activations."""
    layers = keras.layers
    x = keras.Input((4, 7, 6, 2))
    y = layers.ConvLSTM2D(3, 3, padding="same", strides=(2, 1), return_sequences=True)(x)
    y = layers.BatchNormalization()(y)
    others = [
        layers.ConvLSTM2D(2, (2, 3), return_state=True, go_backwards=True)(y)[0],
        layers.ConvLSTM2D(2, 2, dilation_rate=2, use_bias=False, activation="relu",
                          recurrent_activation="hard_sigmoid")(x),
        layers.TimeDistributed(layers.Flatten())(x),
    ]  # fmt: skip
    return keras.Model(x, [y, *others])


def conv_lstm_other_ranks(keras: Any) -> Any:
    """ConvLSTM1D and ConvLSTM3D."""
    layers = keras.layers
    row, volume = keras.Input((3, 8, 2)), keras.Input((3, 3, 4, 3, 2))
    return keras.Model(
        [row, volume],
        [
            layers.ConvLSTM1D(2, 3, padding="same", return_sequences=True)(row),
            layers.ConvLSTM3D(2, 2, strides=(1, 2, 1))(volume),
        ],
    )


def shapes_and_sums(keras: Any) -> Any:
    """What moves numbers, joins inputs and normalises; a layer that is called twice."""
    layers = keras.layers
    a, b = keras.Input((STEPS, 4), name="first"), keras.Input((STEPS, 4), name="second")
    shared = layers.Dense(4, activation="tanh", name="shared")
    one, two = shared(a), shared(b)
    normed = layers.LayerNormalization(epsilon=1e-2)(layers.BatchNormalization(scale=False)(one))
    flat = layers.Flatten()(layers.Permute((2, 1))(normed))
    many = [
        layers.Add()([one, two]),
        layers.Subtract()([one, two]),
        layers.Multiply()([one, two, normed]),
        layers.Average()([one, two]),
        layers.Maximum()([one, two]),
        layers.Minimum()([one, two]),
        layers.Concatenate()([one, normed]),
        layers.Concatenate(axis=1)([one, two]),
        layers.GlobalMaxPooling1D()(one),
        layers.Reshape((2, -1, 3))(flat),
        layers.RepeatVector(2)(layers.Dense(2, use_bias=False)(flat)),
        layers.LayerNormalization(axis=[1, 2], center=False)(two),
        layers.BatchNormalization(axis=1, center=False)(two),
    ]
    return keras.Model([a, b], many)


def functions(keras: Any) -> Any:
    """Activations, as layers and by name."""
    layers = keras.layers
    x = keras.Input((5,))
    names = ["relu", "elu", "selu", "softplus", "softsign", "tanh", "sigmoid", "hard_sigmoid", "exponential",
             "swish", "gelu", "linear", "softmax"]  # fmt: skip
    slope = {"alpha": 0.2} if is_old(keras) else {"negative_slope": 0.2}
    outputs = [layers.Activation(name)(x) for name in names]
    outputs += [layers.ReLU()(x), layers.ReLU(max_value=6.0)(x), layers.ELU(0.5)(x), layers.Softmax()(x)]
    return keras.Model(x, [*outputs, layers.LeakyReLU(**slope)(x)])


def stateful(keras: Any) -> Any:
    """A layer that keeps its state between calls."""
    layers = keras.layers
    x = keras.Input(batch_shape=(3, 4, 2))
    return keras.Model(
        x, layers.GRU(3, stateful=True)(layers.LSTM(3, stateful=True, return_sequences=True)(x))
    )


def _typed(policy: str) -> Callable[[Any], Any]:
    def build(keras: Any) -> Any:
        layers = keras.layers
        x = keras.Input((STEPS, 3))
        lstm = layers.LSTM(4, dtype=policy, recurrent_initializer="glorot_uniform")
        y = layers.Bidirectional(lstm, dtype=policy)(x)
        return keras.Model(x, layers.Dense(2, dtype=policy)(y))

    return build


def is_old(keras: Any) -> bool:
    """Whether it is Keras 2."""
    return str(keras.__version__).startswith("2.")


CASES: dict[str, Callable[[Any], Any]] = {
    "words": words,
    "lstm_options": lstm_options,
    "gru_options": gru_options,
    "simple_rnn_options": simple_rnn_options,
    "bidirectional_options": bidirectional_options,
    "bidirectional_parts": bidirectional_parts,
    "conv_lstm_options": conv_lstm_options,
    "conv_lstm_other_ranks": conv_lstm_other_ranks,
    "shapes_and_sums": shapes_and_sums,
    "functions": functions,
    "stateful": stateful,
    "float64": _typed("float64"),
    "float16": _typed("float16"),
    "bfloat16": _typed("bfloat16"),
}
# What arithmetic in half precision does to the numbers of Keras; ours are in float32.
TOLERANCES = {"float16": 2e-3, "bfloat16": 2e-2}
