"""What the benchmark hands to a peer and what comes back: a JSON file beside an NPZ file. Needs NumPy only.

A peer is a script `<peer>_peer.py JOB_FOLDER`, run by the interpreter of the environment that the peer needs.
It reads `job.json` and `series.npz` from the folder, fits, forecasts, and leaves `answer.json` and
`forecasts.npz`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Job", "read_job", "write_answer"]


@dataclass(frozen=True)
class Job:
    """One fit followed by forecasts from fixed origins.

    Attributes:
        model: name of the model within the peer.
        options: settings of that model, as the peer spells them.
        horizon: steps to forecast.
        window: past steps a model may read.
        seasons: season lengths in steps, for models that can be told.
        hidden_size: width of each recurrent layer.
        layers: number of recurrent layers.
        updates: number of optimiser updates.
        batch_size: windows per update.
        seed: seed of everything random.
        threads: torch threads.
        flush_denormal: let the CPU take denormal numbers as zero.
        frequency: step of the clock, as pandas spells it.
        values: one float64 array per series, NaN where nothing was observed.
        train_ends: per series, how many values may be used for fitting.
        origins: int array (origins, 2) of (series index, position of the first forecast step).
    """

    model: str
    options: dict[str, Any]
    horizon: int
    window: int
    seasons: list[int]
    hidden_size: int
    layers: int
    updates: int
    batch_size: int
    seed: int
    threads: int
    flush_denormal: bool
    frequency: str
    values: list[np.ndarray]
    train_ends: list[int]
    origins: np.ndarray

    def history(self, index: int, end: int, steps: int | None = None) -> np.ndarray:
        """The values of series `index` before position `end`, gaps filled forward, or the last `steps`."""
        values = fill_forward(self.values[index][:end])
        return values if steps is None else values[-steps:]

    def observed(self, index: int, end: int, steps: int | None = None) -> np.ndarray:
        """True where `history` holds an observation and not a filling."""
        present = ~np.isnan(self.values[index][:end])
        return present if steps is None else present[-steps:]


def fill_forward(values: np.ndarray) -> np.ndarray:
    """Fill each gap with the last value before it (leading gaps with the first value)."""
    present = np.flatnonzero(~np.isnan(values))
    source = np.searchsorted(present, np.arange(len(values)), side="right") - 1
    return values[present[np.maximum(source, 0)]]


def read_job(folder: Path) -> Job:
    """Read the job that lies in `folder`."""
    settings = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with np.load(folder / "series.npz") as arrays:
        values = np.split(arrays["values"], arrays["offsets"][1:-1])
        return Job(
            **settings, values=values, train_ends=arrays["train_ends"].tolist(), origins=arrays["origins"]
        )


def write_answer(
    folder: Path,
    forecasts: np.ndarray,
    *,
    parameters: int,
    updates: int,
    fit_seconds: float,
    forecast_seconds: float,
    loss: str,
    packages: list[str],
    seconds_per_update: list[float] | None = None,
) -> None:
    """Leave the forecasts (origins, horizon) and the facts about the fit in `folder`."""
    np.savez_compressed(folder / "forecasts.npz", forecasts=forecasts.astype(np.float64))
    answer = {
        "parameters": parameters,
        "updates": updates,
        "fit_seconds": fit_seconds,
        "forecast_seconds": forecast_seconds,
        "loss": loss,
        "python": sys.version.split()[0],
        "packages": {name: version(name) for name in packages},
        "seconds_per_update": seconds_per_update or [],
    }
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
