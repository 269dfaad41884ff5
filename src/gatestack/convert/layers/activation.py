"""Functions between layers, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from gatestack.convert.layers.base import Axis, LayerOptions, NetworkLayer, Number, Signal
from gatestack.nn import ACTIVATIONS

__all__ = ["FUNCTIONS", "Activation", "ActivationOptions", "FunctionName", "function_of"]

FunctionName: TypeAlias = Literal[
    "linear", "tanh", "sigmoid", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "gelu_tanh", "silu",
    "mish", "softplus", "softsign", "hard_tanh", "hard_sigmoid", "hard_sigmoid_2", "hard_silu", "log_sigmoid",
    "exponential", "softmax", "log_softmax", "abs", "negative", "square_root", "logarithm", "erf",
]  # fmt: skip
"""The functions that a layer can name; `hard_sigmoid` is x/6 + 1/2 (Keras 3), `hard_sigmoid_2` Keras 2's."""

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **ACTIVATIONS,  # what a cell can have as well
    "abs": torch.abs,
    "erf": torch.erf,
    "gelu_tanh": lambda x: nn.functional.gelu(x, approximate="tanh"),
    "hard_silu": nn.functional.hardswish,
    "logarithm": torch.log,
    "log_sigmoid": nn.functional.logsigmoid,
    "mish": nn.functional.mish,
    "negative": torch.neg,
    "square_root": torch.sqrt,
}


class ActivationOptions(LayerOptions):
    """Options of `Activation`.

    Args:
        function: its name.
        axis: along which softmax and log_softmax sum to one. Default -1.
        slope: α of leaky_relu (below zero, αx) and elu (below zero, α(eˣ − 1)); None takes 0.01 and 1, which
            are torch's.
    """

    function: FunctionName
    axis: Axis = -1
    slope: Number | None = None


class Activation(NetworkLayer):
    """A function of each element, or along one axis: softmax and log_softmax.

        y = φ(x)

    One signal in, one out, of the same shape; the mask passes.

    Args:
        options: which function.

    Example:
        >>> layer = Activation(ActivationOptions(function="softmax"))
        >>> layer.run([Signal(torch.zeros(1, 4))])[0].value.tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    kind = "activation"
    Options = ActivationOptions

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Apply the function to a signal of any shape."""
        ((value, mask),) = signals
        options = self.options
        return (Signal(function_of(options.function, options.axis, options.slope)(value), mask),)


def function_of(name: str, axis: int = -1, slope: float | None = None) -> Callable[[Tensor], Tensor]:
    """Find a function by its name.

    Args:
        name: one of `FunctionName`.
        axis: of softmax and log_softmax.
        slope: of leaky_relu and elu.

    Example:
        >>> function_of("elu")(torch.tensor([-1.0, 2.0]))
        tensor([-0.6321,  2.0000])
    """
    if name == "softmax":
        return lambda x: torch.softmax(x, axis)
    if name == "log_softmax":
        return lambda x: torch.log_softmax(x, axis)
    if name == "leaky_relu":
        return lambda x: nn.functional.leaky_relu(x, 0.01 if slope is None else slope)
    if name == "elu":
        return lambda x: nn.functional.elu(x, 1.0 if slope is None else slope)
    return FUNCTIONS[name]
