"""1-NN and MiniRocket on one problem of the archive, in an environment that has aeon.

    python ucr_peer.py DATA PROBLEM SEEDS        prints a line of JSON per fit

Series of unequal length are filled with zeros to the longest one for MiniRocket and the Euclidean distance,
which cannot take them as they are; DTW can.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import aeon
import numpy as np
from aeon.classification.convolution_based import MiniRocketClassifier
from aeon.datasets import load_from_ts_file
from aeon.distances import dtw_pairwise_distance

DTW_WINDOW = 0.1  # of the length
MOST_DTW_CELLS = 5e9  # beyond, DTW would take longer than everything else together


def filled(series: list[np.ndarray], steps: int) -> np.ndarray:
    """(n, channels, steps), zero after the end of a series."""
    return np.stack([np.pad(x, ((0, 0), (0, steps - x.shape[1]))) for x in series])


def emit(model: str, seed: int, right: np.ndarray, started: float, **more: Any) -> None:
    row = {"model": model, "seed": seed, "accuracy": float(right.mean()), "log_loss": None}
    row |= {"seconds": time.perf_counter() - started, "version": f"aeon {aeon.__version__}"}
    sys.stdout.write(json.dumps(row | more) + "\n")


def main() -> None:
    folder, problem, seeds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    x, y = load_from_ts_file(str(folder / problem / f"{problem}_TRAIN.ts"))
    new, truth = load_from_ts_file(str(folder / problem / f"{problem}_TEST.ts"))
    known, asked = list(x), list(new)
    longest = max(series.shape[1] for series in known + asked)
    train, test = filled(known, longest), filled(asked, longest)

    started = time.perf_counter()
    distance = ((train[None] - test[:, None]) ** 2).sum(axis=(2, 3)) if train.size * len(test) < 2e8 else None
    if distance is None:
        distance = np.stack([((train - case) ** 2).sum(axis=(1, 2)) for case in test])
    emit("1-NN Euclidean", 0, y[distance.argmin(axis=1)] == truth, started)

    cells = len(known) * len(asked) * DTW_WINDOW * 2 * float(np.mean([s.shape[1] for s in known])) ** 2
    if cells < MOST_DTW_CELLS:
        started = time.perf_counter()
        distance = dtw_pairwise_distance(asked, known, window=DTW_WINDOW)
        emit("1-NN DTW, window 10 %", 0, y[distance.argmin(axis=1)] == truth, started)

    for seed in range(seeds):
        started = time.perf_counter()
        model = MiniRocketClassifier(random_state=seed).fit(train, y)
        seconds = time.perf_counter() - started
        emit("MiniRocket (aeon)", seed, model.predict(test) == truth, started, seconds=seconds)


if __name__ == "__main__":
    main()
