"""Runs a `.keras` file in Keras; started by `replay.py` in a process of its own, without Gatestack.

    python -P replay_worker.py FOLDER CALLS

In FOLDER are `model.keras` and for each call `in0.npz`, … with `input.0`, `input.1`, …; `out0.npz`, … with
`output.0`, … are written. The last line on stdout is Keras with its version and backend.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

__all__ = ["main"]


def main(folder: Path, calls: int) -> None:
    """Load the model and compute each call."""
    import keras

    model = keras.models.load_model(folder / "model.keras", compile=False, safe_mode=True)
    for number in range(calls):
        with np.load(folder / f"in{number}.npz", allow_pickle=False) as stored:
            inputs = [stored[f"input.{place}"] for place in range(len(stored))]
        found = model(inputs if len(inputs) > 1 else inputs[0], training=False)
        outputs = found if isinstance(found, list | tuple) else [found]
        arrays = {f"output.{n}": keras.ops.convert_to_numpy(one) for n, one in enumerate(outputs)}
        np.savez(folder / f"out{number}.npz", **arrays)
    print(f"Keras {keras.__version__} on its {keras.backend.backend()} backend")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
