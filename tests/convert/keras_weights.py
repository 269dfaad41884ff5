"""Keras' weights in our layout, written out once more for tests: gate by gate, by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

KERAS_GATES = {"lstm": "ifco", "gru": "zrh", "rnn": "h"}
OUR_GATES = {"lstm": "ifco", "gru": "rzh", "rnn": "h"}  # g is Keras' c, n its h


def in_our_order(cell: str, array: np.ndarray) -> np.ndarray:
    """Put the gates on the last axis into our order."""
    gates = dict(zip(KERAS_GATES[cell], np.split(array, len(KERAS_GATES[cell]), axis=-1), strict=True))
    return np.concatenate([gates[name] for name in OUR_GATES[cell]], axis=-1)


def fill(module: Any, cell: str, arrays: list[np.ndarray]) -> None:
    """Put Keras' kernel, recurrent kernel and bias, in this order, into a module with our names."""
    kernel, recurrent, *bias = arrays
    two = np.zeros((2, recurrent.shape[-1]))
    if bias:
        two[: bias[0].ndim] = bias[0]
    ours = {
        "weight_ih_l0": np.moveaxis(in_our_order(cell, kernel), (-1, -2), (0, 1)),
        "weight_hh_l0": np.moveaxis(in_our_order(cell, recurrent), (-1, -2), (0, 1)),
        "bias_ih_l0": in_our_order(cell, two[0]),
        "bias_hh_l0": in_our_order(cell, two[1]),
    }
    with torch.no_grad():
        for name, array in ours.items():
            parameter = module.get_parameter(name)
            assert parameter.shape == array.shape
            parameter.copy_(torch.as_tensor(np.ascontiguousarray(array)))


def draw(layer: Any, random: np.random.Generator) -> None:
    """Draw every weight of a Keras layer, biases included."""
    layer.set_weights([random.uniform(-0.7, 0.7, weight.shape) for weight in layer.get_weights()])
