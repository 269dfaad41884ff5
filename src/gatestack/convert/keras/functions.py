"""Activations: the names that Keras has for them, and ours."""

from __future__ import annotations

from gatestack.convert.keras.settings import Settings
from gatestack.errors import nearest_name, quote_value

__all__ = ["CELL_FUNCTIONS", "function_name", "keras_function"]

# Of Keras 3 -> ours; Keras 2 has the same but for hard_sigmoid, which is 0.2x + 0.5 there.
_NAMES = {
    "linear": "linear", "tanh": "tanh", "sigmoid": "sigmoid", "relu": "relu", "relu6": "relu6",
    "elu": "elu", "selu": "selu", "gelu": "gelu", "silu": "silu", "swish": "silu", "mish": "mish",
    "softplus": "softplus", "softsign": "softsign", "exponential": "exponential", "softmax": "softmax",
    "log_softmax": "log_softmax", "log_sigmoid": "log_sigmoid", "hard_sigmoid": "hard_sigmoid",
    "hard_silu": "hard_silu", "hard_swish": "hard_silu",
}  # fmt: skip
_BACK = {ours: theirs for theirs, ours in reversed(_NAMES.items())}

CELL_FUNCTIONS = {
    "linear", "tanh", "sigmoid", "relu", "relu6", "elu", "selu", "gelu", "silu", "softplus", "softsign",
    "exponential", "hard_sigmoid", "hard_sigmoid_2",
}  # fmt: skip
"""Ours that a recurrent cell may have."""


def function_name(settings: Settings, key: str, default: str, *, version: int, cell: bool = False) -> str:
    """Give our name of an activation in the settings of a layer.

    Args:
        settings: of the layer.
        key: such as "activation".
        default: Keras' own.
        version: 2 or 3, of Keras.
        cell: whether it is one within a recurrent cell.

    Raises:
        ModelFileError: it is none of Keras' own, or not one of those that are read here.

    Example:
        >>> settings = Settings({"recurrent_activation": "hard_sigmoid"}, "m.h5, layer 'lstm'")
        >>> function_name(settings, "recurrent_activation", "sigmoid", version=2)
        'hard_sigmoid_2'
    """
    found = settings.take(key, default)
    if found is None:
        return "linear"
    if isinstance(found, dict):
        raise settings.refused(
            f"its {key} is an object ({quote_value(found.get('class_name'))}), which would have to be run",
            expected="the name of one of Keras' activations",
        )
    ours = _NAMES.get(found) if isinstance(found, str) else None
    if ours is None or (cell and ours not in CELL_FUNCTIONS):
        known = [theirs for theirs, name in _NAMES.items() if not cell or name in CELL_FUNCTIONS]
        raise settings.refused(
            f"its {key} is {quote_value(found)}, which is not read here", hint=nearest_name(str(found), known)
        )
    return "hard_sigmoid_2" if ours == "hard_sigmoid" and version < 3 else ours


def keras_function(name: str) -> str | None:
    """Give the name that Keras 3 has for one of our activations, or None where it has none.

    Example:
        >>> keras_function("silu"), keras_function("hard_sigmoid_2")
        ('silu', None)
    """
    return _BACK.get(name)
