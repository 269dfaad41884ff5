"""Fitting a forecaster: from a table to everything that `FittedForecast` holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric.utilities import move_data_to_device
from torch import Tensor, nn

from gatestack.data.series_cut import cut_table
from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError, DataError, quote_value
from gatestack.tasks.forecast.autoregression import fit_autoregression, last_value_autoregression
from gatestack.tasks.forecast.cold_start import with_season_before
from gatestack.tasks.forecast.distributions import make_distribution
from gatestack.tasks.forecast.embeddings import category_counts
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.intervals.adaptive import AdaptiveShares
from gatestack.tasks.forecast.intervals.calibrate import calibrate
from gatestack.tasks.forecast.network import ForecastNetwork, NetworkShape
from gatestack.tasks.forecast.options import Architecture, IntervalKind, Mode
from gatestack.tasks.forecast.panel import Panel, last_observed
from gatestack.tasks.forecast.runner import final_state
from gatestack.tasks.forecast.sampler import ChunkSampler, TrainingBatch, batch_loss, typical_weights
from gatestack.tasks.forecast.scaling import SeriesScale, TrailingScale, series_scale
from gatestack.tasks.forecast.seasons import MOST_SERIES, MOST_STEPS, default_window, find_seasons
from gatestack.tasks.forecast.split import origins_between, training_ends
from gatestack.training import RunFolder, Training, TrainingRecord, train

__all__ = ["FitPlan", "ShortSeries", "fit_forecast"]

ShortSeries = Literal["error", "skip", "keep"]

IntArray = npt.NDArray[np.int64]

# Windows scored at each validation, and how many of them at once.
_VALIDATION_CHUNKS = 192
_VALIDATION_BATCH = 64
# Share of the series that may be shorter than the window's rule asks for, where short ones are kept.
_SHORT_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class FitPlan:
    """The settings of a fit, checked; the attributes are those of `Forecaster`."""

    horizon: int
    widths: tuple[int, ...]
    window: int | None
    levels: tuple[float, ...]
    seasons: tuple[int, ...] | None
    calendar: tuple[str, ...]
    mode: Mode
    intervals: IntervalKind
    architecture: Architecture
    training: Training
    max_steps: int
    seed: int


def fit_forecast(
    table: SeriesTable, plan: FitPlan, *, short_series: ShortSeries, folder: RunFolder
) -> FittedForecast:
    """Fit network, scaling and baseline on a table.

    Everything that is fitted sees only the training part of each series; its last tenth tells when to stop.
    The same tenth calibrates the intervals; see `intervals/calibrate.py` for why it may.

    Args:
        table: the series.
        plan: the settings.
        short_series: what becomes of series that are shorter than a window and a horizon: an error, left out,
            or kept.
        folder: of the run.

    Raises:
        DataError: a series is too short. TrainingError: the loss is not finite.
    """
    make_distribution(plan.architecture.distribution, plan.levels).check(table)
    seasons, window = _seasons_and_window(table, plan, short_series)
    table = _long_enough(table, window + plan.horizon, short_series)
    lengths = np.diff(table.sequences.offsets)
    ends = training_ends(lengths, window=window, horizon=plan.horizon)
    own_scale = _series_scale(table, ends) if plan.architecture.scaling == "series" else None
    panel = Panel.from_table(table, own_scale or TrailingScale(len(lengths), window), plan.calendar)
    network = _make_network(table, panel, ends, plan, seasons, window)
    record = _train(network, panel, ends, plan, folder)
    network.float()  # precision="64-true" trains in float64; forecasts and model folders are float32
    network.eval()
    baseline = fit_autoregression(panel, lengths, window=window, horizon=plan.horizon, seasons=seasons)
    kept = np.maximum(lengths - max(window, 3 * plan.horizon), 0)
    whole, run = with_season_before(table, window, seasons), panel
    if whole is not table:
        run = Panel.from_table(whole, own_scale or TrailingScale(len(lengths), window), plan.calendar)
    fitted = FittedForecast(
        network=network,
        horizon=plan.horizon,
        levels=plan.levels,
        mode=plan.mode,
        calendar=plan.calendar,
        season=min(seasons, default=None),
        architecture=plan.architecture,
        series_scale=own_scale,
        autoregression=baseline,
        tail=cut_table(table, np.arange(len(lengths)), lengths, kept, copy=True),
        state=final_state(network, run, windows=plan.mode == "windows"),
        record=record,
        seed=plan.seed,
    )
    if plan.intervals == "model":
        return fitted
    calibration = calibrate(fitted, table, panel, ends)
    if plan.intervals == "conformal":
        return replace(fitted, calibration=calibration)
    shares = AdaptiveShares.start(len(lengths), horizon=plan.horizon, levels=plan.levels)
    return replace(fitted, calibration=calibration, shares=shares)


def _seasons_and_window(
    table: SeriesTable, plan: FitPlan, short_series: ShortSeries
) -> tuple[tuple[int, ...], int]:
    sequences = table.sequences
    lengths = np.diff(sequences.offsets)
    seasons = plan.seasons
    if seasons is None:
        # Nine tenths of each series: the last tenth will validate.
        ends = sequences.offsets[:-1] + lengths * 9 // 10
        begins = np.maximum(sequences.offsets[:-1], ends - MOST_STEPS)
        training = [
            last_observed(
                sequences.values[begins[row] : ends[row], 0], _observed(table, begins[row], ends[row])
            )
            for row in range(0, len(ends), max(1, len(ends) // MOST_SERIES))
        ]
        seasons = find_seasons(training, table.frequency.seasons())
    if plan.window is None:
        usable = lengths[lengths > 3 * plan.horizon]
        usable = usable if len(usable) else lengths.max(keepdims=True)
        # A few short series that are kept do not decide what all others read.
        shortest = np.quantile(usable, _SHORT_SHARE) if short_series == "keep" else usable.min()
        window = default_window(plan.horizon, seasons, int(shortest) * 9 // 10)
    else:
        window = plan.window
    too_long = [season for season in seasons if season > window]
    if too_long and plan.seasons is not None:
        raise ArgumentError(
            f"season {too_long[0]} is longer than the window of {window} steps",
            where="Forecaster",
            expected="a window that holds the season",
            hint=f"pass window={too_long[0]} or more, or leave the season out",
        )
    return tuple(season for season in seasons if season <= window), window


def _observed(table: SeriesTable, begin: int, end: int) -> npt.NDArray[np.bool_]:
    observed = table.sequences.observed
    return np.ones(end - begin, dtype=bool) if observed is None else observed[begin:end, 0]


def _long_enough(table: SeriesTable, needed: int, short_series: ShortSeries) -> SeriesTable:
    lengths = np.diff(table.sequences.offsets)
    short = np.flatnonzero(lengths < needed)
    some = len(short) < len(lengths)
    if not len(short) or (short_series == "keep" and some):
        return table
    keys = table.sequences.keys or ()
    named = ", ".join(f"{quote_value(keys[row])} ({lengths[row]} steps)" for row in short[:3])
    more = f" and {len(short) - 3} more" if len(short) > 3 else ""
    if short_series == "error" or not some:
        raise DataError(
            f"{'a series' if some else 'every series'} is too short: {named}{more}",
            where=table.source,
            expected=f"at least {needed} steps, a window and a horizon",
            hint="pass a smaller window or horizon"
            + (", or short_series='skip' to leave such series out, 'keep' to forecast them too" * some),
        )
    rows = np.flatnonzero(lengths >= needed)
    return cut_table(table, rows, lengths[rows])


def _series_scale(table: SeriesTable, ends: IntArray) -> SeriesScale:
    offsets = table.sequences.offsets
    parts = [
        series_scale(table.sequences.values[a : a + end, 0], _observed(table, a, a + int(end)))
        for a, end in zip(offsets[:-1], ends, strict=True)
    ]
    return SeriesScale.join(parts)


def _make_network(
    table: SeriesTable, panel: Panel, ends: IntArray, plan: FitPlan, seasons: tuple[int, ...], window: int
) -> ForecastNetwork:
    gaps = panel.covariates_observed is not None or not bool(panel.observed.all())
    columns, calendar = table.columns, panel.calendar.shape[1]
    shape = NetworkShape(
        horizon=1 if plan.mode == "recursive" else plan.horizon,
        window=window,
        seasons=seasons,
        widths=plan.widths,
        quantiles=len(plan.levels),
        past=len(columns.past),
        known=len(columns.future) + calendar,
        static=panel.static.shape[1],
        flags=gaps,
        categories=category_counts(table.categories, (*columns.past, *columns.future), calendar),
        static_categories=category_counts(table.categories, columns.static),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        network = ForecastNetwork(shape, plan.architecture, plan.levels)
    _standardise(network, panel, ends)
    if plan.architecture.autoregression:
        start = fit_autoregression(panel, ends, window=window, horizon=shape.horizon, seasons=seasons)
    else:
        start = last_value_autoregression(panel, ends, window=window, horizon=shape.horizon)
    network.head.start_from(
        *(torch.from_numpy(part).float() for part in (start.weight, start.bias, start.spread))
    )
    return network


def _standardise(network: ForecastNetwork, panel: Panel, ends: IntArray) -> None:
    """Set mean and deviation of the covariates from the training part; calendar features stay as they are."""
    past, known, static = network.shape.of_columns()
    training = np.zeros(len(panel.target), dtype=bool)
    for begin, end in zip(panel.offsets[:-1], panel.offsets[:-1] + ends, strict=True):
        training[begin:end] = True
    # By NumPy: torch turns a mask into places first, eight bytes for each step.
    covariates = panel.covariates.numpy()
    for column in range(covariates.shape[1]):
        if (past + known)[column]:
            continue  # codes of categories
        seen = training
        if panel.covariates_observed is not None:
            seen = training & panel.covariates_observed[:, column].numpy()
        values = torch.from_numpy(covariates[seen, column])
        _set_moments(network.covariate_mean, network.covariate_scale, column, values)
    for column in range(panel.static.shape[1]):
        if not static[column]:
            _set_moments(network.static_mean, network.static_scale, column, panel.static[:, column])


def _set_moments(mean: Tensor, scale: Tensor, column: int, values: Tensor) -> None:
    if len(values):
        mean[column] = values.mean()
        deviation = float(values.std(correction=0))
        scale[column] = deviation if deviation > 0 else 1.0


def _train(
    network: ForecastNetwork, panel: Panel, ends: IntArray, plan: FitPlan, folder: RunFolder
) -> TrainingRecord:
    weights = typical_weights(panel, ends)
    sampler = ChunkSampler(
        panel,
        ends,
        network.shape,
        weights=weights,
        batch_size=plan.training.batch_size,
        last_only=plan.mode == "windows",
        seed=plan.seed,
    )
    distribution = network.distribution

    def loss(network: nn.Module, batch: TrainingBatch) -> Tensor:
        return batch_loss(distribution, network(batch.chunk, batch.rows, batch.positions), batch)

    return train(
        network,
        loss,
        sampler,
        validate=_validation(panel, ends, network, weights),
        options=_with_rate(plan.training, int(ends.sum())),
        max_steps=plan.max_steps,
        seed=plan.seed,
        folder=folder.path,
        resume=folder.resume,
        progress=folder.progress,
    )


def _with_rate(options: Training, steps: int) -> Training:
    """Choose the learning rate where the user left it open: the fewer steps to learn from, the lower.

    The constants were chosen by hand on the training parts of four data sets of 840 to 30,000 steps: with few
    steps a high rate overfits before the first validations can tell.
    """
    if options.learning_rate is not None:
        return options
    rate = 2e-3 * math.sqrt(steps / 30_000)
    return options.model_copy(update={"learning_rate": min(max(rate, 5e-4), 3e-3)})


def _validation(
    panel: Panel, ends: IntArray, network: ForecastNetwork, weights: Tensor
) -> Callable[[nn.Module], float] | None:
    """Score the held back end of each series from evenly spaced origins; None where no truth is held back."""
    shape, distribution = network.shape, network.distribution
    lengths = panel.lengths
    held_back = np.flatnonzero(ends < lengths)
    places, origins = origins_between(
        ends[held_back], lengths[held_back], horizon=shape.horizon, step=1, most=_VALIDATION_CHUNKS
    )
    ahead = (panel.offsets[held_back[places]] + origins)[:, None] + np.arange(1, shape.horizon + 1)
    known = panel.observed.numpy()[ahead].any(axis=1) & (origins >= panel.first_observed[held_back[places]])
    places, origins = places[known], origins[known]
    if not len(places):
        return None
    rows = held_back[places]
    begin = np.maximum(origins - shape.window + 1, 0)
    sampler = ChunkSampler(panel, lengths, shape, weights=weights, batch_size=1, last_only=True, seed=0)
    parts = [slice(first, first + _VALIDATION_BATCH) for first in range(0, len(rows), _VALIDATION_BATCH)]

    def validate(network: nn.Module) -> float:
        device = next(network.parameters()).device
        total = 0.0
        for part in parts:
            batch = sampler.batch(rows[part], begin[part], (origins - begin)[part, None])
            batch = move_data_to_device(batch, device)
            said = network(batch.chunk, batch.rows, batch.positions)
            total += float(batch_loss(distribution, said, batch)) * len(rows[part])
        return total / len(rows)

    return validate
