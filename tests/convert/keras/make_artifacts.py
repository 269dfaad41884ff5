"""Make the files of tests/artifacts/keras with TensorFlow's Keras, each with its inputs and predictions.

It runs in an environment with TensorFlow, not in that of Gatestack:

    python make_artifacts.py FOLDER keras        Keras 3, writes .keras, .h5 and .weights.h5
    python make_artifacts.py FOLDER tf_keras     Keras 2, the same
    python make_artifacts.py FOLDER keras --kept only those that are committed
    python make_artifacts.py FOLDER old_keras    Keras 2.12 to 2.14, of TensorFlow 2.12 to 2.14

For each model there is `<dialect>_<model>.npz`: `in0`, …, and `out0`, …; `again0`, … are the outputs of a
second call with the same inputs, which differ where a layer keeps its state.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from model_cases import CASES, draw_inputs, randomise

SUFFIXES = (".keras", ".h5", ".weights.h5")
KEPT = {
    "keras": [
        "words.keras", "words.weights.h5", "lstm_options.keras", "gru_options.h5", "simple_rnn_options.h5",
        "bidirectional_options.h5", "conv_lstm_options.keras", "shapes_and_sums.h5", "functions.h5",
        "stateful.h5", "bfloat16.h5", "convolutions.h5", "images.h5", "averages.keras", "attention.h5",
        "nested.h5", "cells.keras", "told_masks.keras", "masks.h5",
    ],
    "tf_keras": [
        "lstm_options.keras", "bidirectional_parts.h5", "conv_lstm_options.h5", "nested.keras", "masks.h5",
        "cells.h5", "told_masks.h5",
    ],
    "old_keras": ["gru_options.keras"],  # of TensorFlow 2.12.1
}  # fmt: skip


def outputs_of(model: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Compute a model -> its outputs, in float32 or float64."""
    found = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    listed = found if isinstance(found, list | tuple) else [found]
    arrays = [np.asarray(one) for one in listed]
    return [array if array.dtype == np.float64 else array.astype(np.float32) for array in arrays]


def make(folder: Path, dialect: str, *, kept: bool) -> None:
    """Write the files of one dialect."""
    keras = importlib.import_module("keras" if dialect == "old_keras" else dialect)
    for name, build in CASES.items():
        wanted = [name + suffix for suffix in SUFFIXES if not kept or name + suffix in KEPT[dialect]]
        if not wanted:
            continue
        keras.backend.clear_session()
        model = build(keras)
        randomise(model)
        inputs = draw_inputs(model)
        first, again = outputs_of(model, inputs), outputs_of(model, inputs)
        arrays = {f"in{number}": array for number, array in enumerate(inputs)}
        arrays |= {f"out{number}": array for number, array in enumerate(first)}
        if name == "stateful":
            arrays |= {f"again{number}": array for number, array in enumerate(again)}
        for file in wanted:
            path = folder / f"{dialect}_{file}"
            if file.endswith(".weights.h5"):
                model.save_weights(path)
            elif dialect == "old_keras" and file.endswith(".keras"):
                model.save(path, save_format="keras_v3")
            else:
                model.save(path)
        np.savez_compressed(folder / f"{dialect}_{name}.npz", **arrays)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("dialect", choices=sorted(KEPT))
    parser.add_argument("--kept", action="store_true", help="only those that are committed")
    chosen = parser.parse_args()
    make(chosen.folder, chosen.dialect, kept=chosen.kept)
