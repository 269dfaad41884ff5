"""The activations of an ONNX recurrent node, as cells of ours name them."""

from __future__ import annotations

import numpy as np

from gatestack.convert.onnx_import.graph import NodeReader
from gatestack.errors import ModelFileError, quote_value

__all__ = ["read_activations"]

_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_PLAIN = ("relu", "sigmoid", "softplus", "softsign", "tanh")
# With their numbers alpha and beta, which default to the first line; Affine is αx + β.
_WITH_NUMBERS: dict[str, dict[tuple[float, ...], str]] = {
    "hardsigmoid": {(0.2, 0.5): "hard_sigmoid_2", (1 / 6, 0.5): "hard_sigmoid"},
    "elu": {(1.0,): "elu"},
    "affine": {(1.0, 0.0): "linear"},
    "leakyrelu": {(0.01,): ""},
    "thresholdedrelu": {(1.0,): ""},
    "scaledtanh": {(1.0, 1.0): "tanh"},
}
_NO_DEFAULT = ("affine", "scaledtanh")


def read_activations(node: NodeReader, directions: int) -> list[tuple[str, str]]:
    """Say for each direction what squashes the candidate, and what the gates have.

    Args:
        node: LSTM, GRU or RNN, whose names of activations were checked.
        directions: 1 or 2.

    Raises:
        ModelFileError: a function that cells do not have; an LSTM whose candidate and cell state differ.

    Returns:
        (activation, gate_activation) for each direction.
    """
    defaults = _DEFAULTS[node.operator]
    names = list(node.attributes.get("activations", [])) or defaults * directions
    alphas = [float(number) for number in node.attributes.get("activation_alpha", [])]
    betas = [float(number) for number in node.attributes.get("activation_beta", [])]
    if len(names) != len(defaults) * directions:
        raise ModelFileError(
            f"{len(names)} activations", where=node.where, expected=f"{len(defaults) * directions}"
        )
    found = [_named(node, name, alphas, betas) for name in names]
    if node.operator == "RNN":
        return [(name, "sigmoid") for name in found]
    each = len(defaults)
    pairs = []
    for number in range(directions):
        gate, squash, *last = found[number * each : (number + 1) * each]
        if last and last[0] != squash:
            raise ModelFileError(
                f"the activations {squash} of the candidate and {last[0]} of the cell state",
                where=node.where,
                expected="the same function for both",
            )
        pairs.append((squash, gate))
    return pairs


def _named(node: NodeReader, name: str, alphas: list[float], betas: list[float]) -> str:
    """Give our name; the functions that have numbers take theirs from the lists, in order."""
    lower = name.lower()
    if lower in _PLAIN:
        return lower
    known = _WITH_NUMBERS.get(lower, {})
    usual: tuple[float, ...] = next(iter(known), ())
    numbers = [*usual]
    if usual and alphas:
        numbers[0] = alphas.pop(0)
    elif lower in _NO_DEFAULT:
        numbers = []
    if len(usual) > 1 and betas:
        numbers[1] = betas.pop(0)
    for one, ours in known.items():
        same = len(numbers) == len(one) and np.allclose(numbers, one, rtol=0, atol=1e-6)
        if ours and same:
            return ours
    shown = f" with alpha and beta {numbers}" if numbers else ""
    raise ModelFileError(
        f"the activation {quote_value(name)}{shown}",
        where=node.where,
        expected="Tanh, Sigmoid, Relu, Softsign, Softplus, Elu with alpha 1, "
        "or HardSigmoid with alpha 0.2 or 1/6 and beta 0.5",
    )
