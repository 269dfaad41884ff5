"""What must be installed and chosen before Keras' layers can run on the kernels."""

from __future__ import annotations

import importlib

from gatestack.errors import ArgumentError

__all__ = ["check_keras"]

_WHERE = "gatestack.compat.keras"
_CHOOSE = "set KERAS_BACKEND=torch in the environment, before anything imports keras"


def check_keras() -> None:
    """Refuse to go on without Keras 3 on its torch backend.

    Raises:
        ArgumentError: Keras is not installed, is older than 3, or runs on another backend.

    Example:
        >>> check_keras()
    """
    try:
        keras = importlib.import_module("keras")
    except ModuleNotFoundError as error:
        if error.name == "keras":
            raise ArgumentError(
                "Keras is not installed", where=_WHERE, hint="pip install 'gatestack[keras]'"
            ) from error
        raise ArgumentError(
            f"Keras cannot be imported: {error}", where=_WHERE, expected="its torch backend", hint=_CHOOSE
        ) from error
    if int(keras.__version__.partition(".")[0]) < 3:
        raise ArgumentError(
            f"Keras is of version {keras.__version__}",
            where=_WHERE,
            expected="3 or later",
            hint="pip install 'gatestack[keras]'",
        )
    backend = keras.backend.backend()
    if backend != "torch":
        raise ArgumentError(
            f"Keras runs on its {backend} backend", where=_WHERE, expected="the torch backend", hint=_CHOOSE
        )
