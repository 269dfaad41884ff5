"""What Keras itself computes of a `.keras` file, in a process of its own, so that its backend can be chosen.

Keras is given only what our reader has read: a file with anything outside of the allow-list is refused
before Keras sees it.
"""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.convert.keras.reader import read_keras_stream
from gatestack.errors import ArgumentError, ModelFileError

__all__ = ["answers_of_keras", "keras_is_installed"]

_WORKER = Path(__file__).with_name("replay_worker.py")
_BACKEND = "torch"  # which Gatestack itself needs, so it is there
_TIME_LIMIT_S = 600


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
        >>> x = np.ones((1, 3), np.float32)
        >>> runner, found = answers_of_keras(Path("model.keras").read_bytes(), [{"input.0": x}], where="m")
        >>> found
        [{'output.0': array([[1., 1., 1.]], dtype=float32)}]
    """
    read_keras_stream(io.BytesIO(content), where)
    if not keras_is_installed():
        raise ArgumentError("Keras is not installed", where=where, hint="pip install 'gatestack[keras]'")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.keras").write_bytes(content)
        for number, call in enumerate(inputs):
            _save(folder / f"in{number}.npz", call)
        # -P: the worker's own folder, with names such as `layers`, must not be searched for modules.
        command = [sys.executable, "-P", str(_WORKER), name, str(len(inputs))]
        backend = os.environ.get("KERAS_BACKEND") or _BACKEND
        # KERAS_HOME: a file there could set another default of dtype or of the axis of channels.
        environment = {**os.environ, "KERAS_BACKEND": backend, "KERAS_HOME": name}
        try:
            done = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=_TIME_LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            raise ModelFileError(f"Keras took more than {_TIME_LIMIT_S} s", where=where) from None
        if done.returncode != 0:
            reason = ["no reason is given", *filter(str.strip, done.stderr.splitlines())][-1][:300]
            raise ModelFileError(
                f"Keras on its {backend} backend cannot compute it: {reason}",
                where=where,
                hint="set KERAS_BACKEND to a backend of Keras that is installed, or use another Keras",
            )
        runner = done.stdout.splitlines()[-1]
        return runner, [_load(folder / f"out{number}.npz") for number in range(len(inputs))]


def _save(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _load(path: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)
