"""Computing a foreign model in a process of its own, which ends when it asks for too much memory or time."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.errors import ModelFileError

__all__ = ["TIME_LIMIT_S", "answers_of_child"]

Array = npt.NDArray[Any]

TIME_LIMIT_S = 120
"""How long all calls together may take."""


def answers_of_child(
    worker: Path,
    file: str,
    content: bytes,
    calls: Sequence[Mapping[str, Array]],
    *,
    where: str,
    memory_bytes: int = 0,
    environment: Mapping[str, str] | None = None,
    hint: str | None = None,
) -> tuple[str, list[dict[str, Array]]]:
    """Run a worker on a model.

    The worker is started as `python -P WORKER FOLDER FILE CALLS MEMORY`. In FOLDER it finds the model as FILE
    and the inputs of each call as `in0.npz`, …; there it writes `out0.npz`, …, and on the last line of stdout
    what it is, for people.

    Args:
        worker: a Python file without Gatestack in it, so that it starts fast.
        file: name of the model for the worker, such as "model.onnx".
        content: of the model.
        calls: for each call, name to array of any shape.
        where: path of the model, for errors.
        memory_bytes: how much memory the worker may have; 0 for any. Where the system has no such limit, as
            on Windows, only the time is limited.
        environment: variables beside those of this process.
        hint: what to do where the worker fails.

    Returns:
        What the worker is, and for each call the outputs by name.

    Raises:
        ModelFileError: the worker fails, or takes too long; its last line says why.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / file).write_bytes(content)
        for number, call in enumerate(calls):
            _save(folder / f"in{number}.npz", call)
        # -P: the worker's own folder, with names such as `layers`, must not be searched for modules.
        command = [sys.executable, "-P", str(worker), name, file, str(len(calls)), str(memory_bytes)]
        try:
            done = subprocess.run(
                command,
                env={**os.environ, **(environment or {})},
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=TIME_LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            raise ModelFileError(
                f"computing its test vectors took more than {TIME_LIMIT_S} s", where=where
            ) from None
        if done.returncode != 0:
            raise ModelFileError(
                f"it cannot be computed{_limit(memory_bytes)}: {_reason(done)}", where=where, hint=hint
            )
        answers = [_load(folder / f"out{number}.npz") for number in range(len(calls))]
        return done.stdout.splitlines()[-1], answers


def _limit(memory_bytes: int) -> str:
    return f" with {memory_bytes / 2**30:.1f} GiB of memory" if memory_bytes else ""


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    ended = f"the process ended with {done.returncode}"
    return " ".join(lines[-1].split())[:300] if lines else ended


def _save(path: Path, arrays: Mapping[str, Array]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _load(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)
