"""What the writers of layers share: refusing what Keras has not, and naming functions."""

from __future__ import annotations

from gatestack.convert.keras.functions import CELL_FUNCTIONS, keras_function
from gatestack.convert.layers import NetworkLayer
from gatestack.errors import ArgumentError

__all__ = ["HINT", "keras_function_of", "refused"]

HINT = "export the network to ONNX, or save it as a Gatestack model folder"
"""What to do with a network that Keras cannot have."""


def refused(layer: NetworkLayer, what: str, expected: str) -> ArgumentError:
    """Make the error for an option that Keras has not.

    Example:
        >>> from gatestack.convert.layers import Flatten, FlattenOptions
        >>> refused(Flatten(FlattenOptions()), "it begins at axis 2", "axis 1").where
        'flatten layer'
    """
    return ArgumentError(what, where=f"{layer.kind} layer", expected=expected, hint=HINT)


def keras_function_of(layer: NetworkLayer, name: str, *, cell: bool = False) -> str:
    """Give Keras' name of an activation of a layer.

    Raises:
        ArgumentError: Keras 3 has none, or not in a cell.

    Example:
        >>> from gatestack.convert.layers import Flatten, FlattenOptions
        >>> keras_function_of(Flatten(FlattenOptions()), "silu")
        'silu'
    """
    found = keras_function(name)
    if found is None or (cell and name not in CELL_FUNCTIONS):
        raise refused(layer, f"its activation is {name!r}", "one that Keras 3 has")
    return found
