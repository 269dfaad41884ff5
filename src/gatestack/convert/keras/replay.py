"""What Keras itself computes of a `.keras` file, in a process of its own, so that its backend can be chosen.

Keras is given only what our reader has read: a file with anything outside of the allow-list is refused
before Keras sees it.
"""

from __future__ import annotations

import importlib.util
import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from gatestack.convert.child import answers_of_child
from gatestack.convert.keras.reader import read_keras_stream
from gatestack.errors import ArgumentError

__all__ = ["answers_of_keras", "keras_is_installed"]

_WORKER = Path(__file__).with_name("replay_worker.py")
_BACKEND = "torch"  # which Gatestack itself needs, so it is there


def keras_is_installed() -> bool:
    """Tell whether Keras is there; nothing of it is imported.

    Example:
        >>> keras_is_installed()
        True
    """
    return importlib.util.find_spec("keras") is not None


def answers_of_keras(
    content: bytes, inputs: Sequence[Mapping[str, npt.NDArray[Any]]], *, where: str
) -> tuple[str, list[dict[str, npt.NDArray[Any]]]]:
    """Load a `.keras` file in Keras and compute it.

    The backend is that of the environment variable KERAS_BACKEND, and torch's where it is not set.

    Args:
        content: of the file.
        inputs: for each call `input.0`, `input.1`, …, each with its batch, such as (N, T, C).
        where: the path of the file, for errors.

    Returns:
        Keras with its version and backend, for people; for each call `output.0`, `output.1`, ….

    Raises:
        ArgumentError: Keras is not installed.
        ModelFileError: the file is not one that Gatestack reads, or Keras cannot load or compute it.

    Example:
        >>> from gatestack.convert import Network, Node, Port, write_keras
        >>> from gatestack.convert.layers import Flatten, FlattenOptions
        >>> network = Network([Port("x", (3,))], [Node("f", Flatten(FlattenOptions()), ("x",))], ["f"])
        >>> write_keras(network, "model.keras")
        >>> import numpy as np
        >>> x = np.ones((1, 3), np.float32)
        >>> runner, found = answers_of_keras(Path("model.keras").read_bytes(), [{"input.0": x}], where="m")
        >>> found
        [{'output.0': array([[1., 1., 1.]], dtype=float32)}]
    """
    read_keras_stream(io.BytesIO(content), where)
    if not keras_is_installed():
        raise ArgumentError("Keras is not installed", where=where, hint="pip install 'gatestack[keras]'")
    backend = os.environ.get("KERAS_BACKEND") or _BACKEND
    with tempfile.TemporaryDirectory() as home:
        return answers_of_child(
            _WORKER,
            "model.keras",
            content,
            inputs,
            where=where,
            # KERAS_HOME: a file there could set another default of dtype or of the axis of channels.
            environment={"KERAS_BACKEND": backend, "KERAS_HOME": home},
            hint=f"Keras ran on its backend {backend}; KERAS_BACKEND chooses another that is installed",
        )
