"""NeuralForecast's LSTM and NHITS on one job of the benchmark.

One update sees `batch_size` windows in all: NeuralForecast first draws `batch_size` series (all of them when
there are fewer) and then `windows_batch_size` windows out of those series together. Each origin is handed to
`predict` as a series of its own that ends there, so the model reads exactly its window.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from job_io import Job, read_job, write_answer
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE
from neuralforecast.models import LSTM, NHITS
from step_clock import StepClock


def _frame(rows: list[tuple[int, np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """Nixtla's long table of (key, values, observed) rows, on an integer clock."""
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat([key for key, _, _ in rows], [len(values) for _, values, _ in rows]),
            "ds": np.concatenate([np.arange(len(values)) for _, values, _ in rows]),
            "y": np.concatenate([values for _, values, _ in rows]).astype(np.float32),
        }
    )
    observed = np.concatenate([present for _, _, present in rows])
    if not observed.all():
        # The library's own way to say that a value is a filling: neither the scaler nor the loss counts it.
        frame["available_mask"] = observed.astype(np.float32)
    return frame


def _model(job: Job) -> LSTM | NHITS:
    common = {
        "h": job.horizon,
        "input_size": job.window,
        "loss": MAE(),
        "max_steps": job.updates,
        "val_check_steps": job.updates,
        "batch_size": min(job.batch_size, len(job.values)),
        "valid_batch_size": 256,
        "windows_batch_size": job.batch_size,
        "inference_windows_batch_size": 1024,
        "random_seed": job.seed,
        "callbacks": [StepClock()],
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    if job.model == "LSTM":
        return LSTM(
            encoder_hidden_size=job.hidden_size,
            encoder_n_layers=job.layers,
            decoder_hidden_size=job.hidden_size,
            **common,
            **job.options,
        )
    return NHITS(**common, **job.options)


def run(folder: Path) -> None:
    """Fit the model of the job in `folder` and leave its answer there."""
    job = read_job(folder)
    torch.set_num_threads(job.threads)
    # Gradients that fade over a long window become denormal numbers, which cost the CPU ten times as much.
    torch.set_flush_denormal(job.flush_denormal)
    forecaster = NeuralForecast(models=[_model(job)], freq=1)
    train = _frame([(i, job.history(i, end), job.observed(i, end)) for i, end in enumerate(job.train_ends)])
    begin = time.perf_counter()
    forecaster.fit(train, val_size=0)
    fit_seconds = time.perf_counter() - begin
    model = forecaster.models[0]
    # The library fits a copy of the model, and of the callbacks with it.
    clock = next(
        callback for callback in model.trainer_kwargs["callbacks"] if isinstance(callback, StepClock)
    )

    begin = time.perf_counter()
    past = _frame(
        [
            (row, job.history(index, origin, job.window), job.observed(index, origin, job.window))
            for row, (index, origin) in enumerate(job.origins)
        ]
    )
    table = forecaster.predict(df=past).sort_values(["unique_id", "ds"])
    forecasts = table[job.model].to_numpy().reshape(len(job.origins), job.horizon)
    write_answer(
        folder,
        forecasts,
        parameters=sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
        updates=len(clock.ticks),
        fit_seconds=fit_seconds,
        forecast_seconds=time.perf_counter() - begin,
        loss="MAE",
        packages=["neuralforecast", "torch", "pytorch-lightning"],
        seconds_per_update=clock.seconds_per_update,
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    run(Path(sys.argv[1]))
