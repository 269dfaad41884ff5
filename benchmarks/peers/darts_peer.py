"""Darts' BlockRNNModel on one job of the benchmark.

Darts has no mask for missing values, so gaps are filled forward. Its epochs go over all windows of all
series; training stops after the given number of updates, in the middle of an epoch if need be.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from darts import TimeSeries
from darts.dataprocessing.transformers import Scaler
from darts.models import BlockRNNModel
from job_io import read_job, write_answer
from sklearn.preprocessing import StandardScaler
from step_clock import StepClock


def run(folder: Path) -> None:
    """Fit the model of the job in `folder` and leave its answer there."""
    job = read_job(folder)
    torch.set_num_threads(job.threads)
    # Gradients that fade over a long window become denormal numbers, which cost the CPU ten times as much.
    torch.set_flush_denormal(job.flush_denormal)
    clock = StepClock()
    model = BlockRNNModel(
        input_chunk_length=job.window,
        output_chunk_length=job.horizon,
        model=job.model,
        hidden_dim=job.hidden_size,
        n_rnn_layers=job.layers,
        batch_size=job.batch_size,
        n_epochs=job.updates,
        loss_fn=torch.nn.L1Loss(),
        random_state=job.seed,
        pl_trainer_kwargs={
            "max_steps": job.updates,
            "accelerator": "cpu",
            "devices": 1,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": [clock],
        },
        **job.options,
    )
    ends = list(enumerate(job.train_ends))
    train = [TimeSeries.from_values(job.history(i, end).astype(np.float32)) for i, end in ends]
    # One scaler per series, fitted on its training part, as the library's examples do.
    scaler = Scaler(StandardScaler())
    begin = time.perf_counter()
    model.fit(scaler.fit_transform(train))
    fit_seconds = time.perf_counter() - begin

    begin = time.perf_counter()
    owners = [int(index) for index, _ in job.origins]
    past = [
        TimeSeries.from_values(job.history(index, origin, job.window).astype(np.float32))
        for index, origin in job.origins
    ]
    scaled = scaler.transform(past, series_idx=owners)
    predicted = model.predict(n=job.horizon, series=scaled, show_warnings=False)
    forecasts = np.stack([s.values()[:, 0] for s in scaler.inverse_transform(predicted, series_idx=owners)])
    write_answer(
        folder,
        forecasts,
        parameters=sum(weight.numel() for weight in model.model.parameters() if weight.requires_grad),
        updates=len(clock.ticks),
        fit_seconds=fit_seconds,
        forecast_seconds=time.perf_counter() - begin,
        loss="MAE",
        packages=["darts", "torch", "pytorch-lightning"],
        seconds_per_update=clock.seconds_per_update,
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    for name in ("darts", "pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    run(Path(sys.argv[1]))
