"""Fitting a detector: the network learns the usual, then the training part says what is usual in scores."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatestack.data.calendar_encoding import calendar_features, calendar_names_for
from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError, DataError, quote_value
from gatestack.tasks.detect.alarms import AlarmRule, CalibratedRule, DynamicRule
from gatestack.tasks.detect.fitted import FittedDetector, SeriesScale, run_network, values_of
from gatestack.tasks.detect.networks import (
    DetectorNetwork,
    Method,
    NetworkShape,
    fill_forward,
    make_network,
)
from gatestack.tasks.detect.options import Architecture
from gatestack.tasks.detect.usual import UsualSteps, find_usual
from gatestack.training import RunFolder, Training, TrainingRecord
from gatestack.training import train as train_network

__all__ = ["DetectorPlan", "fit_detector", "training_steps"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_VALIDATION_SHARE = 0.2
_FEWEST_WINDOWS = 3
_DEFAULT_STEPS_PER_ALARM = 2000
_DAY_US = 86_400_000_000


@dataclass(frozen=True, kw_only=True)
class DetectorPlan:
    """The settings of a fit, checked; the attributes are those of `AnomalyDetector`."""

    method: Method
    widths: tuple[int, ...]
    architecture: Architecture
    window: int
    false_alarms_per_day: float | None
    threshold: Literal["calibrated", "dynamic"]
    quiet: int
    max_steps: int
    training: Training
    seed: int


class Windows(NamedTuple):
    """A batch: values (N, T, C) filled, observed (N, T, C), calendar (N, T, K)."""

    values: Tensor
    observed: Tensor
    calendar: Tensor


def fit_detector(
    table: SeriesTable, plan: DetectorPlan, *, label: str, train: float | int, folder: RunFolder
) -> FittedDetector:
    """Fit network, scales and threshold.

    Args:
        table: the series.
        plan: the settings.
        label: name of the column of labels.
        train: first part of each series that is taken as usual; nothing else is learned from.
        folder: of the run.

    Raises:
        DataError: a training part is too short or without values. ArgumentError: alarms per day without days.
        TrainingError: the loss is not finite.
    """
    ends = training_steps(np.diff(table.sequences.offsets), train)
    alarms_per_step = _alarms_per_step(table, plan)
    parts = _training_parts(table, ends, plan.window)
    series = _scale_of(table, parts)
    standard = [(part - series.mean[row]) / series.deviation[row] for row, part in enumerate(parts)]
    features = _calendar_parts(table, ends)
    shape = NetworkShape(
        channels=table.sequences.num_features,
        calendar=features[0].shape[1],
        widths=plan.widths,
        window=plan.window,
        flags=any(bool(np.isnan(part).any()) for part in standard),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        network = make_network(plan.method, shape, plan.architecture)
    record = _train(network, standard, features, plan, folder)
    network.float()  # precision="64-true" trains in float64; model folders are float32
    network.eval()
    usual = find_usual(_usual_steps(network, standard, features, plan))
    return _with_states(
        FittedDetector(
            network=network,
            method=plan.method,
            series=series,
            usual=usual,
            rule=_rule(plan, alarms_per_step),
            columns=table.columns,
            label=label,
            train=train,
            frequency=table.frequency,
            time_kind=table.time_kind,
            ends=table.times[table.sequences.offsets[:-1] + ends - 1].copy(),
            last_times=table.last_times.copy(),
            states=(),
            record=record,
            source=table.source,
        ),
        table,
    )


def training_steps(lengths: IntArray, train: float | int) -> IntArray:
    """Count the first steps of each series that are taken as usual.

    Args:
        lengths: (S,).
        train: a share in (0, 1], or a number of steps of 1 or more.

    Raises:
        ArgumentError: neither of these.

    Example:
        >>> training_steps(np.array([100, 30]), 0.5), training_steps(np.array([100, 30]), 40)
        (array([50, 15]), array([40, 30]))
    """
    if isinstance(train, float | np.floating) and 0 < train <= 1:
        return (lengths * float(train)).astype(np.int64)
    if isinstance(train, int | np.integer) and not isinstance(train, bool) and train >= 1:
        return np.minimum(lengths, int(train))
    raise ArgumentError(
        f"train= is {train!r}", where="fit", expected="a share in (0, 1], or a number of steps of 1 or more"
    )


def _alarms_per_step(table: SeriesTable, plan: DetectorPlan) -> float:
    per_day = plan.false_alarms_per_day
    if per_day is None:
        return 1 / _DEFAULT_STEPS_PER_ALARM
    if table.time_kind.kind == "integer":
        raise ArgumentError(
            f"false_alarms_per_day is {per_day}, and the times are whole numbers",
            where="AnomalyDetector",
            expected="dates or times of day",
            hint=f"leave it out: about one false alarm in {_DEFAULT_STEPS_PER_ALARM:,} steps",
        )
    times = table.times.astype("datetime64[us]").astype(np.int64)
    inside = np.ones(len(times) - 1, dtype=bool)
    inside[table.sequences.offsets[1:-1] - 1] = False
    return min(per_day * float(np.median(np.diff(times)[inside])) / _DAY_US, 1.0)


def _training_parts(table: SeriesTable, ends: IntArray, window: int) -> list[FloatArray]:
    values, keys = values_of(table), table.sequences.keys or ()
    parts = [
        values[begin : begin + end] for begin, end in zip(table.sequences.offsets[:-1], ends, strict=True)
    ]
    for key, part in zip(keys, parts, strict=True):
        if len(part) < _FEWEST_WINDOWS * window:
            raise DataError(
                f"the training part of {quote_value(key)} has {len(part)} steps",
                where=table.source,
                expected=f"at least {_FEWEST_WINDOWS * window}, {_FEWEST_WINDOWS} windows",
                hint="pass a smaller window, or a larger train",
            )
        empty = np.flatnonzero(np.isnan(part).all(axis=0))
        if len(empty):
            raise DataError(
                f"{quote_value(table.columns.features[empty[0]])} has no value in the training part of "
                f"{quote_value(key)}",
                where=table.source,
                expected="values to learn what is usual",
            )
    return parts


def _scale_of(table: SeriesTable, parts: list[FloatArray]) -> SeriesScale:
    mean = np.array([np.nanmean(part, axis=0) for part in parts])
    deviation = np.array([np.nanstd(part, axis=0) for part in parts])
    # A constant channel keeps a unit in which a visible change is large; float32 is not finer than this. One
    # of zeros takes 1e-12, unless its other values are as small.
    least = np.maximum(1e-5 * np.abs(mean), np.where(deviation == 0, 1e-12, 1e-60))
    return SeriesScale(tuple(table.sequences.keys or ()), mean, np.maximum(deviation, least))


def _calendar_parts(table: SeriesTable, ends: IntArray) -> list[FloatArray]:
    names = calendar_names_for(table.frequency)
    if not names:
        return [np.zeros((end, 0)) for end in ends]
    features = calendar_features(table.wall_times, names)[0].astype(np.float64)
    return [features[a : a + end] for a, end in zip(table.sequences.offsets[:-1], ends, strict=True)]


def _train(
    network: DetectorNetwork,
    values: list[FloatArray],
    calendar: list[FloatArray],
    plan: DetectorPlan,
    folder: RunFolder,
) -> TrainingRecord:
    cut = [_held_out(len(part), plan.window) for part in values]
    filled = [
        fill_forward(torch.from_numpy(part), torch.full((part.shape[1],), np.nan)).float() for part in values
    ]
    observed = [torch.from_numpy(~np.isnan(part)).float() for part in values]
    features = [torch.from_numpy(part).float() for part in calendar]
    starts = np.array([end - plan.window + 1 for end in cut])
    up_to = np.cumsum(starts)

    def windows(rows: IntArray, begins: IntArray) -> Windows:
        places = [(row, slice(a, a + plan.window)) for row, a in zip(rows, begins, strict=True)]
        return Windows(
            *(
                torch.stack([part[row][place] for row, place in places])
                for part in (filled, observed, features)
            )
        )

    def sample(step: int) -> Windows:
        drawn = np.random.default_rng((plan.seed, step)).integers(0, up_to[-1], plan.training.batch_size)
        rows = np.searchsorted(up_to, drawn, side="right")
        return windows(rows, drawn - (up_to - starts)[rows])

    def loss(network: nn.Module, batch: Windows) -> Tensor:
        result: Tensor = network(*batch)
        return result

    held = [
        (row, a)
        for row, part in enumerate(values)
        for a in range(cut[row], len(part) - plan.window + 1, plan.window)
    ]
    rows, begins = (np.array(part) for part in zip(*held, strict=True))
    validation = windows(rows, begins)

    def validate(network: nn.Module) -> float:
        first = next(network.parameters())
        return float(network(*(part.to(first) for part in validation)))

    return train_network(
        network,
        loss,
        sample,
        validate=validate,
        options=plan.training,
        max_steps=plan.max_steps,
        seed=plan.seed,
        folder=folder.path,
        resume=folder.resume,
        progress=folder.progress,
    )


def _held_out(steps: int, window: int) -> int:
    """Give the first step of the end that validates: a fifth, at least one window."""
    return min(int(steps * (1 - _VALIDATION_SHARE)), steps - window)


def _usual_steps(
    network: DetectorNetwork, values: list[FloatArray], calendar: list[FloatArray], plan: DetectorPlan
) -> list[UsualSteps]:
    exact = copy.deepcopy(network).double()
    found = []
    for part, features in zip(values, calendar, strict=True):
        _, away, _ = run_network(exact, part, features, exact.first_state())
        found.append(UsualSteps(away, part, _held_out(len(part), plan.window), plan.method))
    return found


def _rule(plan: DetectorPlan, alarms_per_step: float) -> AlarmRule:
    if plan.threshold == "dynamic":
        return DynamicRule(plan.quiet)
    return CalibratedRule(-math.log10(alarms_per_step), plan.quiet)


def _with_states(fitted: FittedDetector, table: SeriesTable) -> FittedDetector:
    """Run to the end of the table, so that a stream can go on from there."""
    _, states = fitted.run_table(table)
    return replace(fitted, states=tuple(states))
