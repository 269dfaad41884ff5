"""How the layers are written to files: as Keras' own."""

from __future__ import annotations

from typing import TypeVar

from keras.src import api_export

__all__ = ["written_as_keras"]

_Class = TypeVar("_Class", bound=type)


def written_as_keras(layer: _Class) -> _Class:
    """Let Keras write a layer under the name of the class of Keras that it is derived from.

    A file then knows nothing of Gatestack: it is the file that Keras' own layer would have written, and every
    Keras opens it, on any backend. Keras has no public way to say this of a class.

    Args:
        layer: a class derived from a layer of Keras, with the same configuration and the same weights.

    Returns:
        The same class.

    Example:
        >>> import keras
        >>> @written_as_keras
        ... class Faster(keras.layers.GRU):
        ...     pass
        >>> keras.saving.serialize_keras_object(Faster(2))["class_name"]
        'GRU'
    """
    names = api_export.REGISTERED_OBJS_TO_NAMES
    names[layer] = names[layer.__bases__[0]]
    return layer
