"""Runs a `.keras` file in Keras; started by `gatestack.convert.child`, without Gatestack.

    python -P replay_worker.py FOLDER FILE CALLS MEMORY

Inputs are called `input.0`, `input.1`, …, outputs `output.0`, …. There is no limit of memory: Keras' backends
take address space far beyond what they use.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

__all__ = ["main"]


def main(folder: Path, file: str, calls: int) -> None:
    """Load the model and compute each call."""
    import keras

    model = keras.models.load_model(folder / file, compile=False, safe_mode=True)
    for number in range(calls):
        with np.load(folder / f"in{number}.npz", allow_pickle=False) as stored:
            inputs = [stored[f"input.{place}"] for place in range(len(stored))]
        found = model(inputs if len(inputs) > 1 else inputs[0], training=False)
        outputs = found if isinstance(found, list | tuple) else [found]
        arrays = {f"output.{n}": keras.ops.convert_to_numpy(one) for n, one in enumerate(outputs)}
        np.savez(folder / f"out{number}.npz", **arrays)
    print(f"Keras {keras.__version__} on its {keras.backend.backend()} backend")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
