"""The functions, by name, that a cell may have in the place of tanh and of the logistic function.

One table for layers, importers and exporters. Names are Keras' where Keras has the function; the two hard
sigmoids differ between its versions and have a name each. The same functions with their derivatives, in
NumPy, are in `gatestack.reference.ACTIVATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from gatestack.errors import check_choice

__all__ = ["ACTIVATIONS", "Activation", "check_activation"]

Activation: TypeAlias = Callable[[Tensor], Tensor]


def _hard_sigmoid(a: Tensor) -> Tensor:
    return (a / 6 + 0.5).clamp(0.0, 1.0)  # torch's own has a sixth in float32 only, 1e-8 off


def _hard_sigmoid_2(a: Tensor) -> Tensor:
    return (0.2 * a + 0.5).clamp(0.0, 1.0)


def _linear(a: Tensor) -> Tensor:
    return a


def _softplus(a: Tensor) -> Tensor:
    return torch.logaddexp(a, torch.zeros_like(a))  # torch's own turns linear above 20, 2e-9 off


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "elu": functional.elu,  # a, below zero exp(a) − 1
        "exponential": torch.exp,
        "gelu": functional.gelu,  # a Φ(a), Φ of the normal distribution, not approximated
        "hard_sigmoid": _hard_sigmoid,  # a/6 + 1/2 within 0 and 1: Keras 3, torch
        "hard_sigmoid_2": _hard_sigmoid_2,  # a/5 + 1/2 within 0 and 1: Keras 1 and 2, ONNX
        "hard_tanh": functional.hardtanh,  # a within −1 and 1
        "linear": _linear,
        "relu": torch.relu,
        "relu6": functional.relu6,  # a within 0 and 6
        "selu": functional.selu,  # Klambauer et al. 2017: scale · (a, below zero α (exp(a) − 1))
        "sigmoid": torch.sigmoid,
        "silu": functional.silu,  # a σ(a), also called swish
        "softplus": _softplus,  # log(1 + exp(a))
        "softsign": functional.softsign,  # a / (1 + |a|)
        "tanh": torch.tanh,
    }
)


def check_activation(name: str, value: object, *, owner: str) -> str:
    """Give the name of an activation back; raise an `ArgumentError` unless the table has it.

    Args:
        name: of the argument.
        value: that was given.
        owner: what the argument belongs to.

    Example:
        >>> check_activation("activation", "softsign", owner="LSTMCell")
        'softsign'
    """
    check_choice(name, value, list(ACTIVATIONS), owner=owner)
    return str(value)
