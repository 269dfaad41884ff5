"""Thousands of series of different lengths in one model: time and memory of one library, as JSON on stdout.

    python many_series_peer.py gatestack|neuralforecast COUNT UPDATES

The series, 200 to 1,000 steps of a daily season, are drawn from a fixed seed. Both libraries fit an LSTM of
two layers of 64 units with a window of 96 steps, 32 examples an update, and forecast 24 steps of every
series.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

HORIZON, WINDOW, SEASON = 24, 96, 24
WIDTH, LAYERS, BATCH = 64, 2, 32


def draw(count: int) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Give the table of the histories, and what followed each series."""
    random = np.random.default_rng(0)
    parts, truth = [], {}
    for number in range(count):
        steps = int(random.integers(200, 1001)) + HORIZON
        season = np.sin(2 * np.pi * (np.arange(steps) + random.integers(0, SEASON)) / SEASON)
        values = 10 * np.exp(random.normal()) * (2 + season + 0.3 * random.normal(size=steps))
        key = f"s{number:05d}"
        truth[key] = values[-HORIZON:]
        parts.append(
            pd.DataFrame({"unique_id": key, "ds": np.arange(steps - HORIZON), "y": values[:-HORIZON]})
        )
    return pd.concat(parts, ignore_index=True), truth


def gatestack(frame: pd.DataFrame, updates: int) -> tuple[pd.DataFrame, dict[str, float]]:
    """Fit, forecast from the end of the fit, and from the whole table again."""
    from gatestack.tasks.forecast import Forecaster

    clock = Clock()
    model = Forecaster(
        HORIZON, layers=LAYERS, hidden_size=WIDTH, window=WINDOW, max_steps=updates, season=SEASON
    ).fit(frame)
    clock.lap("fit")
    forecast = model.predict()
    clock.lap("predict")
    model.predict(frame)
    clock.lap("predict from the table")
    return forecast.to_pandas(), clock.laps


def neuralforecast(frame: pd.DataFrame, updates: int) -> tuple[pd.DataFrame, dict[str, float]]:
    """Fit, forecast from the end of the fit, and from the whole table again."""
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MAE
    from neuralforecast.models import LSTM

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    clock = Clock()
    model = LSTM(
        h=HORIZON,
        input_size=WINDOW,
        loss=MAE(),
        encoder_hidden_size=WIDTH,
        encoder_n_layers=LAYERS,
        max_steps=updates,
        val_check_steps=updates,
        batch_size=BATCH,
        windows_batch_size=BATCH,
        inference_windows_batch_size=1024,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    forecaster = NeuralForecast(models=[model], freq=1)
    forecaster.fit(frame)
    clock.lap("fit")
    forecast = forecaster.predict().rename(columns={"LSTM": "gatestack"})
    clock.lap("predict")
    forecaster.predict(df=frame)
    clock.lap("predict from the table")
    return forecast, clock.laps


class Clock:
    """Seconds of the processor, since the machine may be busy with other work."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._before = time.process_time()

    def lap(self, name: str) -> None:
        now = time.process_time()
        self.laps[name], self._before = now - self._before, now


def main() -> None:
    """Run one library and say what it took."""
    library, count, updates = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    run = {"gatestack": gatestack, "neuralforecast": neuralforecast}[library]
    warm, _ = draw(20)
    run(warm, 2)  # imports and first calls
    frame, truth = draw(count)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    forecast, laps = run(frame, updates)
    errors = [
        np.mean(np.abs(part["gatestack"].to_numpy() - truth[str(key)])) / np.mean(np.abs(truth[str(key)]))
        for key, part in forecast.groupby("unique_id")
    ]
    answer = {
        "library": library,
        "series": count,
        "rows": len(frame),
        "updates": updates,
        "processor_seconds": laps,
        "peak_mib": _status("VmHWM") - before,
        "error": float(np.mean(errors)),
    }
    print(json.dumps(answer))


def _status(name: str) -> float:
    """Memory of this process in MiB: now, or the highest since the mark was cleared."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


if __name__ == "__main__":
    main()
