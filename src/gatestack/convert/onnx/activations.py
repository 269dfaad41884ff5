"""Functions of one element, and softmax, as operators."""

from __future__ import annotations

import math

from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.errors import ArgumentError

__all__ = ["FUNCTIONS", "activated"]

_OPERATORS: dict[str, tuple[str, dict[str, float]]] = {
    "abs": ("Abs", {}),
    "erf": ("Erf", {}),
    "exponential": ("Exp", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "hard_sigmoid_2": ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
    "hard_silu": ("HardSwish", {}),
    "logarithm": ("Log", {}),
    "negative": ("Neg", {}),
    "relu": ("Relu", {}),
    "selu": ("Selu", {}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "square_root": ("Sqrt", {}),
    "tanh": ("Tanh", {}),
}
_COMPOSED = (
    "elu", "gelu", "gelu_tanh", "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish",
    "relu6", "silu", "softmax",
)  # fmt: skip
FUNCTIONS = (*_OPERATORS, *_COMPOSED)
"""What `activated` can compute, by the names of `gatestack.nn.ACTIVATIONS` and of a network's layers."""


def activated(b: GraphBuilder, name: str, a: Value, *, axis: int = -1, slope: float | None = None) -> Value:
    """Apply a function by its name.

    Args:
        b: the graph.
        name: one of `FUNCTIONS`.
        a: a value of any shape.
        axis: of softmax and log_softmax.
        slope: of leaky_relu (default 0.01) and elu (default 1).

    Raises:
        ArgumentError: there is no such function.

    Example:
        >>> b = GraphBuilder()
        >>> activated(b, "linear", "a")
        'a'
    """
    if name in _OPERATORS:
        operator, attributes = _OPERATORS[name]
        return b.ops(operator, a, outputs=1, domain="", **attributes)[0]
    if name == "linear":
        return a
    if name in ("softmax", "log_softmax"):
        return b.op("Softmax" if name == "softmax" else "LogSoftmax", a, axis=axis)
    if name == "elu":
        return b.op("Elu", a, alpha=1.0 if slope is None else slope)
    if name == "leaky_relu":
        return b.op("LeakyRelu", a, alpha=0.01 if slope is None else slope)
    if name in ("relu6", "hard_tanh"):
        low, high = (0, 6) if name == "relu6" else (-1, 1)
        return b.op("Clip", a, b.number(low), b.number(high))
    if name == "silu":
        return b.op("Mul", a, b.op("Sigmoid", a))
    if name == "mish":
        return b.op("Mul", a, b.op("Tanh", b.op("Softplus", a)))
    if name == "log_sigmoid":
        return b.op("Neg", b.op("Softplus", b.op("Neg", a)))
    if name in ("gelu", "gelu_tanh"):
        return _gelu(b, a, exact=name == "gelu")
    raise ArgumentError(f"there is no ONNX for the function {name!r}", expected=", ".join(sorted(FUNCTIONS)))


def _gelu(b: GraphBuilder, a: Value, *, exact: bool) -> Value:
    """Give a Φ(a), or its approximation by tanh (Hendrycks & Gimpel 2016, "Gaussian Error Linear Units")."""
    if exact:
        inner = b.op("Erf", b.op("Mul", a, b.number(0.5**0.5)))
    else:
        cube = b.op("Mul", b.op("Mul", a, b.op("Mul", a, a)), b.number(0.044715))
        inner = b.op("Tanh", b.op("Mul", b.op("Add", a, cube), b.number((2 / math.pi) ** 0.5)))
    return b.op("Mul", b.op("Mul", a, b.number(0.5)), b.op("Add", b.number(1), inner))
