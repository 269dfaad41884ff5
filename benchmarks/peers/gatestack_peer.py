"""Gatestack's Forecaster on one job of the benchmark, through its public interface.

Two sets of forecasts come from the one fit. For the first, each origin is handed to `predict` as a series of
its own that holds the window and nothing before it, as for every other model. For the second,
`forecasts-carried.npz`, the state is carried on from the start of the series to each origin, which is how the
model runs as a stream; it may then remember what lies before the window.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import torch
from job_io import Job, read_job, write_answer

from gatestack import Forecaster
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.training import Training, TrainingRecord

START = np.datetime64("2000-01-01", "us")
STEPS = {"h": np.timedelta64(3600, "s"), "30min": np.timedelta64(1800, "s"), "D": np.timedelta64(1, "D")}


def _frame(job: Job, rows: list[tuple[int, np.ndarray]]) -> pl.DataFrame:
    """Nixtla's long table of (key, values); NaN becomes a missing value."""
    lengths = [len(values) for _, values in rows]
    return pl.DataFrame(
        {
            "unique_id": np.repeat([key for key, _ in rows], lengths),
            "ds": START + np.concatenate([np.arange(length) for length in lengths]) * STEPS[job.frequency],
            "y": pl.Series(np.concatenate([values for _, values in rows])).fill_nan(None),
        }
    )


def _from_windows(model: Forecaster, job: Job) -> np.ndarray:
    """Forecast each origin from its window alone."""
    past = [
        (row, job.values[index][origin - job.window : origin])
        for row, (index, origin) in enumerate(job.origins)
    ]
    table = model.predict(_frame(job, past)).sort("unique_id", "ds")
    return table["gatestack"].to_numpy().reshape(len(job.origins), job.horizon)


def _from_carried_state(model: Forecaster, job: Job) -> np.ndarray:
    """Forecast each origin after running through all that came before it."""
    strides = np.diff([origin for index, origin in job.origins if index == job.origins[0, 0]])
    stride = int(strides[0]) if len(strides) else 1
    table = model.evaluate(_frame(job, list(enumerate(job.values))), step=stride).forecasts
    step = STEPS[job.frequency]
    series = table["unique_id"].cast(pl.Int64).to_numpy()
    origin = (table["cutoff"].to_numpy() - START) // step + 1
    ahead = (table["ds"].to_numpy() - START) // step - origin
    place = {(int(index), int(begin)): row for row, (index, begin) in enumerate(job.origins)}
    rows = np.array([place[int(s), int(o)] for s, o in zip(series, origin, strict=True)])
    # `evaluate` leaves out steps without an observation; the benchmark does not score them either.
    forecasts = np.zeros((len(job.origins), job.horizon))
    forecasts[rows, ahead] = table["gatestack"].to_numpy()
    return forecasts


def _seconds_per_update(record: TrainingRecord) -> list[float]:
    """Seconds of each update, validation included, as far as the learning curve can tell them apart."""
    return [
        (later.seconds - earlier.seconds) / (later.step - earlier.step)
        for earlier, later in pairwise(record.history)
        for _ in range(later.step - earlier.step)
    ]


def _parameters(fitted: FittedForecast) -> int:
    """Weights that are trained by gradients, and those of the linear autoregression that it starts from."""
    trained = sum(weight.numel() for weight in fitted.network.parameters() if weight.requires_grad)
    return trained + fitted.autoregression.weight.size + fitted.autoregression.bias.size


def run(folder: Path) -> None:
    """Fit the model of the job in `folder` and leave its answer there."""
    job = read_job(folder)
    torch.set_num_threads(job.threads)
    torch.set_flush_denormal(job.flush_denormal)
    model = Forecaster(
        job.horizon,
        layers=job.layers,
        hidden_size=job.hidden_size,
        window=job.window,
        max_steps=job.updates,
        training=Training(batch_size=job.batch_size, patience=None, device="cpu"),
        seed=job.seed,
    )
    train = _frame(job, [(i, job.values[i][:end]) for i, end in enumerate(job.train_ends)])
    begin = time.perf_counter()
    model.fit(train)
    fit_seconds = time.perf_counter() - begin
    fitted = model.fitted_

    begin = time.perf_counter()
    forecasts = _from_windows(model, job)
    forecast_seconds = time.perf_counter() - begin
    np.savez_compressed(folder / "forecasts-carried.npz", forecasts=_from_carried_state(model, job))
    write_answer(
        folder,
        forecasts,
        parameters=_parameters(fitted),
        updates=fitted.record.steps,
        fit_seconds=fit_seconds,
        forecast_seconds=forecast_seconds,
        loss=f"pinball, {len(fitted.levels)} quantiles",
        packages=["gatestack", "torch"],
        seconds_per_update=_seconds_per_update(fitted.record),
    )


if __name__ == "__main__":
    run(Path(sys.argv[1]))
