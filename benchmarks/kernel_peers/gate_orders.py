"""torch's weights in the gate orders of Keras and of ONNX, and gradients back. Needs NumPy only.

| | LSTM | GRU | bias |
| --- | --- | --- | --- |
| torch | i f g o | r z n | two, each (G·H,) |
| Keras | i f g o | z r n | LSTM one (4·H,), GRU (2, 3·H); matrices transposed |
| ONNX | i o f g | z r n | one after the other (2·G·H,) |
"""

from __future__ import annotations

import numpy as np

__all__ = ["from_keras_matrix", "keras_weights", "onnx_weights"]

Arrays = dict[str, np.ndarray]

_FROM_TORCH = {
    ("keras", "lstm"): (0, 1, 2, 3),
    ("keras", "gru"): (1, 0, 2),
    ("onnx", "lstm"): (0, 3, 1, 2),
    ("onnx", "gru"): (1, 0, 2),
}


def _reorder(array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Blocks of rows of (G·H, …) in another order."""
    blocks = np.split(array, len(order))
    return np.concatenate([blocks[number] for number in order])


def _suffixes(directions: int) -> tuple[str, ...]:
    return ("", "_reverse")[:directions]


def keras_weights(weights: Arrays, cell: str, layer: int, directions: int) -> list[np.ndarray]:
    """What `set_weights` of the Keras layer takes: kernel (C, G·H), recurrent kernel (H, G·H), bias."""
    order = _FROM_TORCH["keras", cell]
    given = []
    for suffix in _suffixes(directions):
        part = {
            name: _reorder(weights[f"{name}_l{layer}{suffix}"], order)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        both = np.stack((part["bias_ih"], part["bias_hh"]))
        bias = both.sum(0) if cell == "lstm" else both
        given += [part["weight_ih"].T, part["weight_hh"].T, bias]
    return [np.ascontiguousarray(array) for array in given]


def from_keras_matrix(kernel: np.ndarray, cell: str) -> np.ndarray:
    """A Keras kernel (C, G·H), or its gradient, as torch has it (G·H, C)."""
    order = _FROM_TORCH["keras", cell]
    back = tuple(order.index(number) for number in range(len(order)))
    return _reorder(kernel.T, back)


def onnx_weights(weights: Arrays, cell: str, layer: int, directions: int) -> dict[str, np.ndarray]:
    """The inputs W (D, G·H, C), R (D, G·H, H), B (D, 2·G·H) of ONNX's LSTM and GRU."""
    order = _FROM_TORCH["onnx", cell]
    parts: dict[str, list[np.ndarray]] = {"W": [], "R": [], "B": []}
    for suffix in _suffixes(directions):
        part = {
            name: _reorder(weights[f"{name}_l{layer}{suffix}"], order)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        parts["W"].append(part["weight_ih"])
        parts["R"].append(part["weight_hh"])
        parts["B"].append(np.concatenate((part["bias_ih"], part["bias_hh"])))
    return {name: np.ascontiguousarray(np.stack(arrays)) for name, arrays in parts.items()}
