"""The functions that a cell may have in the place of tanh and of the logistic function, with their slopes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from gatestack.reference.activations import relu, sigmoid
from gatestack.reference.cell import Array

_SELU_SCALE = 1.0507009873554805
_SELU_ALPHA = 1.6732632423543772


class Activation(NamedTuple):
    """A function of one number, applied element by element, and its derivative.

    Args:
        value: f(a), of the shape of a.
        slope: f'(a), of the shape of a; at a kink that of the side which torch takes.

    Example:
        >>> import numpy as np
        >>> ACTIVATIONS["relu"].slope(np.array([-1.0, 2.0]))
        array([0., 1.])
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def _between(a: Array, low: float, high: float) -> Array:
    """1 strictly between two bounds, 0 elsewhere."""
    return ((a > low) & (a < high)).astype(np.float64)


def _elu(a: Array) -> Array:
    return np.where(a > 0.0, a, np.expm1(np.minimum(a, 0.0)))


def _elu_slope(a: Array) -> Array:
    return np.exp(np.minimum(a, 0.0))


def _selu(a: Array) -> Array:
    value: Array = _SELU_SCALE * np.where(a > 0.0, a, _SELU_ALPHA * np.expm1(np.minimum(a, 0.0)))
    return value


def _selu_slope(a: Array) -> Array:
    return _SELU_SCALE * np.where(a > 0.0, 1.0, _SELU_ALPHA * np.exp(np.minimum(a, 0.0)))


def _normal_share(a: Array) -> Array:
    """Φ(a), the share of the normal distribution below a; NumPy has no error function."""
    share: Array = 0.5 * (1.0 + np.vectorize(math.erf, otypes=[np.float64])(a / math.sqrt(2.0)))
    return share


def _gelu_slope(a: Array) -> Array:
    return _normal_share(a) + a * np.exp(-0.5 * a**2) / math.sqrt(2.0 * math.pi)


def _sigmoid_slope(a: Array) -> Array:
    return sigmoid(a) * (1.0 - sigmoid(a))


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "elu": Activation(_elu, _elu_slope),
        "exponential": Activation(np.exp, np.exp),
        "gelu": Activation(lambda a: a * _normal_share(a), _gelu_slope),
        "hard_sigmoid": Activation(
            lambda a: np.clip(a / 6.0 + 0.5, 0.0, 1.0), lambda a: _between(a, -3.0, 3.0) / 6.0
        ),
        "hard_sigmoid_2": Activation(
            lambda a: np.clip(0.2 * a + 0.5, 0.0, 1.0), lambda a: 0.2 * _between(a, -2.5, 2.5)
        ),
        "hard_tanh": Activation(lambda a: np.clip(a, -1.0, 1.0), lambda a: _between(a, -1.0, 1.0)),
        "linear": Activation(lambda a: a, np.ones_like),
        "relu": Activation(relu, lambda a: (a > 0.0).astype(np.float64)),
        "relu6": Activation(lambda a: np.clip(a, 0.0, 6.0), lambda a: _between(a, 0.0, 6.0)),
        "selu": Activation(_selu, _selu_slope),
        "sigmoid": Activation(sigmoid, _sigmoid_slope),
        "silu": Activation(lambda a: a * sigmoid(a), lambda a: sigmoid(a) * (1.0 + a * (1.0 - sigmoid(a)))),
        "softplus": Activation(lambda a: np.logaddexp(a, 0.0), sigmoid),
        "softsign": Activation(lambda a: a / (1.0 + np.abs(a)), lambda a: (1.0 + np.abs(a)) ** -2.0),
        "tanh": Activation(np.tanh, lambda a: 1.0 - np.tanh(a) ** 2),
    }
)
