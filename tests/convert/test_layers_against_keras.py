"""The layers of a network give Keras' own numbers: masks, holes in masks, states, directions, activations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from keras_weights import draw, fill

from gatestack.convert.layers import (
    BatchNorm,
    BatchNormOptions,
    BidirectionalLayer,
    BidirectionalOptions,
    Combine,
    CombineOptions,
    Concatenate,
    ConcatenateOptions,
    ConvLSTMLayer,
    ConvLSTMOptions,
    Dense,
    DenseOptions,
    Embedding,
    EmbeddingOptions,
    LayerNorm,
    LayerNormOptions,
    Masking,
    MaskingOptions,
    NetworkLayer,
    PerStepLayer,
    PerStepOptions,
    RecurrentLayer,
    RecurrentOptions,
    Signal,
)

keras = pytest.importorskip("keras")
# Keras' own conversion of arrays; nothing here could change it.

CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}
GATES = ["sigmoid", "hard_sigmoid", "softsign"]
SQUASHES = ["tanh", "relu", "linear", "softsign"]
CONFIGURATIONS = 24
CLOSE = {"rtol": 5e-6, "atol": 5e-6}  # Keras multiplies in float32, whatever dtype it is told


def drawn(seed: int) -> tuple[str, dict[str, Any], dict[str, Any], np.random.Generator]:
    """Draw a cell, options that one layer and two directions share as Keras says them, and as we do."""
    random = np.random.default_rng(seed)
    cell = ["lstm", "gru", "rnn"][seed % 3]
    usual = random.random() < 0.6
    theirs: dict[str, Any] = {
        "units": int(random.integers(1, 6)),
        "return_sequences": bool(random.integers(2)),
        "return_state": bool(random.integers(2)),
        "use_bias": bool(random.random() < 0.8),
        "activation": "tanh" if usual else str(random.choice(SQUASHES)),
    }
    ours: dict[str, Any] = {
        "cell": cell,
        "input_size": 3,
        "hidden_size": theirs["units"],
        "bias": theirs["use_bias"],
        **{name: theirs[name] for name in ("return_sequences", "return_state", "activation")},
    }
    if cell != "rnn":
        ours["gate_activation"] = "sigmoid" if usual else str(random.choice(GATES))
        theirs["recurrent_activation"] = ours["gate_activation"]
    if cell == "gru":
        theirs["reset_after"] = bool(random.integers(2))
        ours["reset"] = "after" if theirs["reset_after"] else "before"
    return cell, theirs, ours, random


def inputs(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
    """Draw x (4, 6, 3), and a mask with holes, a row without a real step and one with all; or none."""
    x = random.standard_normal((4, 6, 3))
    mask = random.random((4, 6)) < 0.6
    mask[0], mask[1] = False, True
    return x, None if random.random() < 0.3 else mask


def compared(layer: NetworkLayer, signals: list[Signal], expected: Any) -> None:
    found = layer.double().eval().run(signals)
    every = expected if isinstance(expected, list | tuple) else [expected]
    assert len(found) == len(every)
    for ours, theirs in zip(found, every, strict=True):
        np.testing.assert_allclose(ours.value.detach().numpy(), keras.ops.convert_to_numpy(theirs), **CLOSE)


def tensors(*arrays: np.ndarray) -> list[Signal]:
    return [Signal(torch.as_tensor(array)) for array in arrays]


@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_a_recurrent_layer(seed: int) -> None:
    cell, theirs, ours, random = drawn(seed)
    theirs["go_backwards"] = ours["reversed"] = bool(random.integers(2))
    zero = theirs["return_sequences"] and bool(random.integers(2))
    ours["masked_output"] = "zero" if zero else "hold"
    x, mask = inputs(random)
    given = [random.standard_normal((4, theirs["units"])) for _ in range(2 if cell == "lstm" else 1)]
    starts = bool(random.integers(2))
    their_layer = getattr(keras.layers, CELLS[cell])(**theirs, zero_output_for_mask=zero)
    their_layer.build(x.shape)
    draw(their_layer, random)
    layer = RecurrentLayer(RecurrentOptions(**ours, takes_state=starts)).double()
    fill(layer.weights, cell, their_layer.get_weights())
    expected = their_layer(
        x, mask=mask, initial_state=[torch.as_tensor(s) for s in given] if starts else None
    )
    x_signal = Signal(torch.as_tensor(x), None if mask is None else torch.as_tensor(mask))
    compared(layer, [x_signal, *tensors(*given)][: 1 + len(given) * starts], expected)


@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_two_directions(seed: int) -> None:
    cell, theirs, ours, random = drawn(seed + 1000)
    merge = ["concat", "sum", "mul", "ave", None][seed % 5]
    ours["masked_output"] = "zero" if theirs["return_sequences"] else "hold"
    x, mask = inputs(random)
    starts = bool(random.integers(2))
    given = [random.standard_normal((4, theirs["units"])) for _ in range(4 if cell == "lstm" else 2)]
    their_layer = keras.layers.Bidirectional(getattr(keras.layers, CELLS[cell])(**theirs), merge_mode=merge)
    their_layer.build(x.shape)
    draw(their_layer, random)
    forward = RecurrentOptions(**ours, takes_state=starts)
    layer = BidirectionalLayer(
        BidirectionalOptions(
            forward=forward,
            backward=forward.model_copy(update={"reversed": True}),
            merge={"ave": "average", None: "none"}.get(merge, merge),
        )
    ).double()
    fill(layer.forward_layer.weights, cell, their_layer.forward_layer.get_weights())
    fill(layer.backward_layer.weights, cell, their_layer.backward_layer.get_weights())
    expected = their_layer(
        x, mask=mask, initial_state=[torch.as_tensor(s) for s in given] if starts else None
    )
    x_signal = Signal(torch.as_tensor(x), None if mask is None else torch.as_tensor(mask))
    compared(layer, [x_signal, *tensors(*given)][: 1 + len(given) * starts], expected)


@pytest.mark.parametrize("seed", range(8))
def test_a_convolutional_layer(seed: int) -> None:
    random = np.random.default_rng(seed)
    theirs = {
        "filters": 2,
        "kernel_size": (3, 2),
        "strides": [(1, 1), (2, 1)][seed % 2],
        "padding": ["valid", "same"][seed // 2 % 2],
        "return_sequences": bool(random.integers(2)),
        "return_state": bool(random.integers(2)),
        "go_backwards": bool(random.integers(2)),
        "use_bias": bool(random.integers(2)),
        "recurrent_activation": GATES[seed % 2],
    }
    x = random.standard_normal((3, 4, 6, 5, 2))
    mask = None if seed < 2 else np.array([[True, False, True, True], [False] * 4, [True] * 4])
    their_layer = keras.layers.ConvLSTM2D(**theirs)
    their_layer.build(x.shape)
    draw(their_layer, random)
    layer = ConvLSTMLayer(
        ConvLSTMOptions(
            channels=2,
            input_channels=2,
            kernel_size=theirs["kernel_size"],
            stride=theirs["strides"],
            padding=theirs["padding"],
            gate_activation=theirs["recurrent_activation"],
            bias=theirs["use_bias"],
            channels_last=True,
            reversed=theirs["go_backwards"],
            masked_output="hold",
            **{name: theirs[name] for name in ("return_sequences", "return_state")},
        )
    ).double()
    kernel, recurrent, *bias = their_layer.get_weights()
    with torch.no_grad():  # the convolution's axes are (*k, C, 4F), gates i f c o as ours
        layer.weights.weight_ih_l0.copy_(torch.as_tensor(kernel.transpose(3, 2, 0, 1)))
        layer.weights.weight_hh_l0.copy_(torch.as_tensor(recurrent.transpose(3, 2, 0, 1)))
        layer.weights.bias_ih_l0.copy_(torch.as_tensor(bias[0] if bias else np.zeros(8)))
        layer.weights.bias_hh_l0.zero_()
    x_signal = Signal(torch.as_tensor(x), None if mask is None else torch.as_tensor(mask))
    compared(layer, [x_signal], their_layer(torch.as_tensor(x), mask=mask))


def test_masks_go_where_keras_sends_them() -> None:
    words = np.array([[1, 2, 0, 0], [3, 0, 4, 0]])
    embedding = Embedding(EmbeddingOptions(vocabulary_size=5, size=2, mask_zero=True))
    (a,) = embedding.run(tensors(words))
    (b,) = Masking(MaskingOptions()).run(tensors(np.array([[[0.0, 0]] * 3 + [[1.0, 0]]] * 2)))
    their_a = keras.layers.Embedding(5, 2, mask_zero=True)(words)
    their_b = keras.layers.Masking()(np.array([[[0.0, 0]] * 3 + [[1.0, 0]]] * 2))
    assert a.mask is not None
    assert b.mask is not None
    none = Signal(torch.zeros(2, 4, 2, dtype=torch.float64))
    their_none = keras.ops.zeros((2, 4, 2))
    joined = [
        (Combine(CombineOptions(operation="add")), keras.layers.Add(), (a, b), (their_a, their_b)),
        (Combine(CombineOptions(operation="add")), keras.layers.Add(), (a, none), (their_a, their_none)),
        (Concatenate(ConcatenateOptions()), keras.layers.Concatenate(), (a, b), (their_a, their_b)),
        (Concatenate(ConcatenateOptions()), keras.layers.Concatenate(), (a, none), (their_a, their_none)),
        (
            Concatenate(ConcatenateOptions(axis=1)),
            keras.layers.Concatenate(axis=1),
            (a, b),
            (their_a, their_b),
        ),
    ]
    for ours, theirs, signals, their_signals in joined:
        (found,) = ours.run([Signal(signal.value.double(), signal.mask) for signal in signals])
        expected = theirs.compute_mask(
            list(their_signals), [getattr(signal, "_keras_mask", None) for signal in their_signals]
        )
        if expected is None:
            assert found.mask is None
        else:
            assert found.mask is not None
            assert found.mask.tolist() == keras.ops.convert_to_numpy(expected).tolist()


@pytest.mark.parametrize("axis", [-1, 1])
def test_norms_and_per_step(axis: int) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((4, 3, 3))
    batch_norm = keras.layers.BatchNormalization(axis=axis)
    batch_norm.build(x.shape)
    gamma, beta, mean, variance = (random.uniform(0.5, 2, 3) for _ in range(4))
    batch_norm.set_weights([gamma, beta, mean, variance])
    ours = BatchNorm(BatchNormOptions(features=3, axis=axis, epsilon=1e-3)).double()
    tensors_of = {"weight": gamma, "bias": beta, "running_mean": mean, "running_var": variance}
    ours.norm.load_state_dict(
        {name: torch.as_tensor(array) for name, array in tensors_of.items()}
        | {"num_batches_tracked": torch.tensor(0)}
    )
    compared(ours, tensors(x), batch_norm(torch.as_tensor(x), training=False))
    layer_norm = keras.layers.LayerNormalization()
    layer_norm.build(x.shape)
    layer_norm.set_weights([gamma, beta])
    normed = LayerNorm(LayerNormOptions(shape=(3,), epsilon=1e-3)).double()
    with torch.no_grad():
        normed.norm.weight.copy_(torch.as_tensor(gamma))
        normed.norm.bias.copy_(torch.as_tensor(beta))
    compared(normed, tensors(x), layer_norm(torch.as_tensor(x)))
    step = keras.layers.TimeDistributed(keras.layers.Dense(2, activation="relu"))
    step.build(x.shape)
    draw(step, random)
    dense = Dense(DenseOptions(units=2, input_size=3, activation="relu"))
    per_step = PerStepLayer(PerStepOptions(layer=dense.to_data())).double()
    kernel, bias = step.get_weights()
    with torch.no_grad():
        per_step.layer.linear.weight.copy_(torch.as_tensor(kernel.T))
        per_step.layer.linear.bias.copy_(torch.as_tensor(bias))
    compared(per_step, tensors(x), step(torch.as_tensor(x)))
