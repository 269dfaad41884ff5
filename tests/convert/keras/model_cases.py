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
        if "bool" in str(tensor.dtype):
            x = rng.random((rows, *shape)) < 0.6
        elif "int" in str(tensor.dtype):
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
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):  # Normalization computes with copies of its weights
            layer.finalize_state()


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


def convolutions(keras: Any) -> Any:
    """Convolutions and pooling over time, masked and not, before recurrent layers."""
    layers = keras.layers
    x = keras.Input((STEPS, 4))
    masked = layers.Masking()(x)
    y = layers.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="relu", groups=2)(x)
    y = layers.MaxPooling1D(2)(layers.Conv1D(4, 4, padding="same", use_bias=False)(y))
    outputs = [
        layers.LSTM(3)(y),
        layers.Conv1D(2, 3, strides=2, padding="same")(x),
        layers.Conv1D(2, 2, strides=3)(x),
        layers.AveragePooling1D(4, strides=3)(x),
        layers.MaxPooling1D(3, strides=2, padding="same")(x),
        layers.GlobalAveragePooling1D()(masked),
        layers.GlobalAveragePooling1D(keepdims=True)(x),
        layers.GlobalMaxPooling1D()(masked),
    ]
    return keras.Model(x, outputs)


def images(keras: Any) -> Any:
    """Convolutions around recurrent layers: on every frame before them, over all frames after them."""
    layers = keras.layers
    x = keras.Input((4, 7, 6, 2))
    frames = layers.TimeDistributed(layers.Conv2D(3, (3, 2), strides=2, padding="same", activation="relu"))(x)
    pooled = layers.TimeDistributed(layers.MaxPooling2D(2))(frames)
    y = layers.ConvLSTM2D(2, 3, padding="same", return_sequences=True, activation="relu")(x)
    both = layers.Bidirectional(layers.ConvLSTM2D(2, (2, 3), return_sequences=True), name="both")(x)
    outputs = [
        layers.GRU(3)(layers.TimeDistributed(layers.Flatten())(pooled)),
        layers.Conv3D(1, 3, padding="same", activation="sigmoid")(layers.BatchNormalization()(y)),
        both,
        layers.Bidirectional(layers.ConvLSTM2D(2, 2, strides=2), merge_mode="sum")(both),
        layers.LSTM(3)(layers.TimeDistributed(layers.GlobalAveragePooling2D())(frames)),
        layers.GlobalMaxPooling3D()(y),
        layers.AveragePooling3D((2, 3, 2), strides=(1, 2, 2))(y),
    ]
    return keras.Model(x, outputs)


def averages(keras: Any) -> Any:
    """Means of windows that reach over the edge, which Keras' torch backend divides by another number."""
    layers = keras.layers
    row, image = keras.Input((STEPS, 4)), keras.Input((5, 6, 2))
    return keras.Model(
        [row, image],
        [
            layers.AveragePooling1D(4, strides=3, padding="same")(row),
            layers.AveragePooling2D((2, 3), strides=(1, 2), padding="same")(image),
        ],
    )


def attention(keras: Any) -> Any:
    """Attention between two sequences of words; features brought to a scale."""
    layers = keras.layers
    words, others = keras.Input((STEPS,), dtype="int32"), keras.Input((STEPS,), dtype="int32")
    x = keras.Input((5, 3))
    query = layers.GRU(4, return_sequences=True)(layers.Embedding(9, 4, mask_zero=True)(words))
    value = layers.LSTM(4, return_sequences=True)(layers.Embedding(9, 4, mask_zero=True)(others))
    scaled = layers.Normalization(name="scale")
    scaled.adapt(np.random.default_rng(3).normal(2, 3, (20, 5, 3)).astype("float32"))
    given = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0], name="given")
    outputs = [
        layers.GRU(3)(layers.Attention(name="dot")([query, value])),
        layers.Attention(use_scale=True)([value, query, query]),
        layers.Attention(score_mode="concat", use_scale=True)([query, value]),
        layers.AdditiveAttention(name="additive")([query, value]),
        layers.GlobalAveragePooling1D()(layers.AdditiveAttention(use_scale=False)([x, x])),
        layers.LSTM(2)(scaled(x)),
        given(layers.Rescaling(0.5, offset=-1.0)(x)),
    ]
    return keras.Model([words, others, x], outputs)


def nested(keras: Any) -> Any:
    """Models inside models: called twice, within each other, frozen, at every step."""
    layers = keras.layers

    def encoder(name: str) -> Any:
        return keras.Sequential(
            [
                keras.Input((STEPS, 4)),
                layers.LSTM(3, return_sequences=True),
                layers.BatchNormalization(),
                layers.Dense(2),
            ],
            name=name,
        )

    inside = keras.Input((STEPS, 4))
    joined = layers.Concatenate()([encoder("deep")(inside), layers.Dense(3, activation="tanh")(inside)])
    outer = keras.Model(inside, [layers.GRU(2)(joined), joined], name="outer")
    frozen = keras.Sequential([keras.Input((2,)), layers.Dense(2, trainable=False), layers.Dense(3)])
    step = keras.Sequential([keras.Input((2,)), layers.Dense(3), layers.BatchNormalization()])
    a, b = keras.Input((STEPS, 4), name="one"), keras.Input((STEPS, 4), name="two")
    masked = layers.Masking()(a)
    whole, parts = outer(masked)
    again, _ = outer(b)
    return keras.Model(
        [a, b],
        [
            whole,
            again,
            frozen(again),
            layers.LSTM(2)(layers.TimeDistributed(step)(encoder("flat")(a))),
            parts,
        ],
    )


def cells(keras: Any) -> Any:
    """RNN around a cell and around several, masked, with states out and in."""
    layers = keras.layers
    x = keras.Input((STEPS, 4))
    masked = layers.Masking()(x)
    many = [layers.LSTMCell(3), layers.GRUCell(2, reset_after=False), layers.SimpleRNNCell(2)]
    y, *states = layers.RNN(many, return_sequences=True, return_state=True)(masked)
    others = [layers.LSTMCell(3, activation="relu"), layers.LSTMCell(3)]
    flat = []
    for state in states:
        flat += state if isinstance(state, list | tuple) else [state]
    outputs = [
        y,
        *flat,
        layers.RNN(layers.GRUCell(3), go_backwards=True)(masked),
        layers.RNN(others)(x),
        layers.Bidirectional(layers.RNN(layers.SimpleRNNCell(2)), merge_mode="mul")(x),
    ]
    return keras.Model(x, outputs)


def masks(keras: Any) -> Any:
    """Inputs whose masks differ joined in each way; zeros where the last step is not real."""
    layers = keras.layers
    a, b = keras.Input((STEPS, 4)), keras.Input((STEPS, 4))
    one, two = layers.Masking()(a), layers.Masking()(layers.Reshape((STEPS, 4))(b))
    zeros = {"zero_output_for_mask": True}
    joined = [
        layers.Add()([one, two]),
        layers.Average()([one, two]),
        layers.Multiply()([one, two]),
        layers.Maximum()([one, two]),
        layers.Minimum()([one, two, one]),
        layers.Concatenate()([one, b]),
    ]
    shared = layers.LSTM(2)
    outputs = [layers.LSTM(2)(layers.Concatenate()([one, two])), *(shared(each) for each in joined[:-1])]
    outputs += [layers.LSTM(2)(joined[-1])]
    outputs += [
        layers.LSTM(3, **zeros)(one),
        layers.GRU(3, go_backwards=True, **zeros)(one),
        layers.Bidirectional(layers.GRU(2, **zeros))(one),
        layers.LSTM(2, return_sequences=True, **zeros)(two),
    ]
    return keras.Model([a, b], outputs)


def told_masks(keras: Any) -> Any:
    """Real steps as an input of the model."""
    layers = keras.layers
    x, real = keras.Input((STEPS, 4)), keras.Input((STEPS,), dtype="bool")
    y = layers.GRU(3, return_sequences=True)(x, mask=real)
    return keras.Model([x, real], [y, layers.LSTM(2)(y)])


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
    "convolutions": convolutions,
    "images": images,
    "averages": averages,
    "attention": attention,
    "nested": nested,
    "cells": cells,
    "masks": masks,
    "told_masks": told_masks,
    "float64": _typed("float64"),
    "float16": _typed("float16"),
    "bfloat16": _typed("bfloat16"),
}
# What arithmetic in half precision does to the numbers of Keras; ours are in float32.
TOLERANCES = {"float16": 2e-3, "bfloat16": 2e-2}
