"""A detector with its training part cut at rolling origins, for studies.

There are no labels to study on. What is compared is how well the network says what is usual: the mean
absolute difference between what it expects and what comes, in standard deviations of each channel. The last
two fifths of the training part are cut into as many blocks as there are folds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.data.calendar_encoding import calendar_features, calendar_names_for
from gatestack.data.frames import Frame
from gatestack.data.series_cut import cut_table
from gatestack.data.series_table import SeriesTable
from gatestack.errors import DataError
from gatestack.study.fits import Outcome
from gatestack.tasks.detect.fitted import FittedDetector, values_of
from gatestack.tasks.detect.fitting import fit_detector, training_steps
from gatestack.tasks.detect.options import Architecture
from gatestack.tasks.detect.plan import make_plan
from gatestack.tasks.detect.reading import read_values
from gatestack.tasks.evaluation import MODEL, ScoreColumn
from gatestack.tasks.folding import (
    PERCEPTRON,
    SILENT,
    TESTED_SHARE,
    EstimatorFolds,
    block_shares,
    check_options,
    digest_of,
    fit_perceptron,
    measure_of,
    milliseconds,
    refuse_interrupted,
    step_bytes,
)
from gatestack.tasks.saved import plain_parameters

__all__ = ["DetectorFolds", "fold_frame", "fold_table"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_TRAINED_SHARE = 0.8  # of a fit's steps; the rest tells when to stop
_MOST_EXAMPLES = 5000
_LEAST_WINDOW, _MOST_WINDOW = 8, 256  # of a search
_OPTIONS = ("values", "time", "series", "frequency", "label", "train")
_MEASURES = {
    "deviation": ScoreColumn(
        "deviation", "mean absolute difference from what is expected, in standard deviations of the channel"
    )
}


class DetectorFolds(EstimatorFolds):
    """The folded task of `AnomalyDetector`.

    Args:
        estimator: a fresh copy with a number of layers.
        table: the series.
        train: as in `fit`: no step after the training part is read.
        label: as in `fit`.
        folds: 2 or more.
        measure: None, or `"deviation"`.

    Raises:
        DataError: a block has no steps.
    """

    architecture = Architecture

    def __init__(
        self,
        estimator: Any,
        table: SeriesTable,
        *,
        train: float | int,
        label: str,
        folds: int,
        measure: str | None,
    ) -> None:
        self.estimator, self.table, self.label, self.folds = estimator, table, label, folds
        self.measure = measure_of(_MEASURES, measure, usual="deviation")
        lengths = training_steps(np.diff(table.sequences.offsets), train)
        self.ends = np.floor(block_shares(folds)[:, None] * lengths).astype(np.int64)  # (folds + 1, series)
        if (np.diff(self.ends, axis=0) < 1).all(axis=1).any():
            raise DataError(
                f"the last {TESTED_SHARE:.0%} of the training part cannot be cut into {folds} blocks",
                where=table.source,
                expected=f"{int(np.ceil(folds / TESTED_SHARE))} steps or more",
            )
        self.test_share = float((np.diff(self.ends.sum(axis=1)) / self.ends[:-1].sum(axis=1)).mean())
        self.windows = (_LEAST_WINDOW, int(max(_LEAST_WINDOW, min(_MOST_WINDOW, self.ends[0].max() // 8))))
        self.directions, self.hidden_size = 1, int(estimator.hidden_size)
        self.features = _inputs_of(table, str(estimator.method))
        parameters = plain_parameters(estimator._parameters())
        del parameters["layers"]
        part = cut_table(table, np.arange(len(lengths)), lengths)
        self.identity = {
            "kind": estimator.kind,
            "parameters": parameters,
            "columns": list(table.columns.features),
            # Calendar features are those of its clocks; the instants alone do not tell.
            "zone": table.time_kind.zone,
            "data": digest_of(values_of(part), part.sequences.offsets, part.times),
        }
        self.source = table.source

    def plain(self, fold: int, seed: int) -> Outcome:
        """Score what needs no network: the mean, the value before, a model of the window without recurrence.

        For a forecast that is a perceptron on the steps before; a reconstruction has seen the window that it
        repeats, and so have its principal components, as many as a layer has units.
        """
        start = time.perf_counter()
        fitted = self._fit((1,), fold, seed, max_steps=1)  # brings the scale of the channels
        values = self._standard(fitted, self.ends[fold + 1])
        window, units, ends = int(self.estimator.window), self.hidden_size, self.ends[fold]
        held = [part[end:] for part, end in zip(values, ends, strict=True)]
        scores = {"mean": _mean_of(held)}
        if self.estimator.method == "reconstruction":
            scores["components"] = _components(values, ends, window, units)
        else:
            steps = [part[end:] - _filled(part)[end - 1 : -1] for part, end in zip(values, ends, strict=True)]
            scores["last_value"] = _mean_of(steps)
            scores[PERCEPTRON] = _perceptron(values, ends, window, units, seed)
        return Outcome(scores=scores, seconds=time.perf_counter() - start)

    def network(
        self, widths: tuple[int, ...], fold: int, seed: int, changes: Mapping[str, Any] | None = None
    ) -> Outcome:
        """Fit on what lies before a block, and compare what is expected in the block with what comes."""
        start = time.perf_counter()
        fitted = self._fit(widths, fold, seed, changes=changes)
        seconds = time.perf_counter() - start
        rows = np.arange(self.ends.shape[1])
        table = cut_table(self.table, rows, self.ends[fold + 1])
        found, _ = fitted.run_table(table)
        values = np.split(values_of(table), table.sequences.offsets[1:-1])
        away = [
            np.abs(value - steps.expected) / fitted.series.deviation[row]
            for row, (value, steps) in enumerate(zip(values, found, strict=True))
        ]
        ends = self.ends[fold]
        learned = np.floor(_TRAINED_SHARE * ends).astype(np.int64)
        few = values[0][: int(self.estimator.window)]
        calendar = fitted.calendar_of(table.times[: len(few)])
        parameters = [part.numel() for part in fitted.network.parameters() if part.requires_grad]
        return Outcome(
            scores={MODEL: _mean_of([part[end:] for part, end in zip(away, ends, strict=True)])},
            seconds=seconds,
            training=_mean_of([part[:end] for part, end in zip(away, learned, strict=True)]),
            parameters=sum(parameters),
            step_ms=milliseconds(lambda: fitted.run(0, few, calendar, fitted.start())) / len(few),
            step_bytes=step_bytes(fitted.network, widths),
        )

    def _fit(
        self,
        widths: tuple[int, ...],
        fold: int,
        seed: int,
        *,
        max_steps: int | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> FittedDetector:
        plan = make_plan(self._settings(widths, seed, max_steps=max_steps, changes=changes))
        part = cut_table(self.table, np.arange(self.ends.shape[1]), self.ends[fold])
        fitted = fit_detector(part, plan, label=self.label, train=1.0, folder=SILENT)
        refuse_interrupted([fitted.record])
        return fitted

    def _standard(self, fitted: FittedDetector, ends: IntArray) -> list[FloatArray]:
        """Give the first steps of each series in standard deviations of its channels."""
        values = np.split(values_of(self.table), self.table.sequences.offsets[1:-1])
        series = fitted.series
        return [
            (part[:end] - series.mean[row]) / series.deviation[row]
            for row, (part, end) in enumerate(zip(values, ends, strict=True))
        ]


def fold_frame(
    estimator: Any,
    frame: Frame,
    options: Mapping[str, Any],
    *,
    folds: int,
    measure: str | None,
) -> DetectorFolds:
    """Cut the training part of a table into folds; see `Estimator.folded_task`."""
    given = check_options(options, _OPTIONS, type(estimator).__name__)
    train, label = given.pop("train", 1.0), given.pop("label", "label")
    source = str(frame) if isinstance(frame, str | Path) else "frame"
    columns: dict[str, Any] = dict.fromkeys(_OPTIONS[:4]) | given
    table = read_values(frame, **columns, label=label, source=source)
    return fold_table(estimator, table, train=train, label=label, folds=folds, measure=measure)


def fold_table(
    estimator: Any,
    table: SeriesTable,
    *,
    train: float | int,
    label: str,
    folds: int,
    measure: str | None = None,
) -> DetectorFolds:
    """Cut the training part of the series of a fit into folds."""
    copy = type(estimator)(**estimator._parameters() | {"layers": 1})
    make_plan(copy._parameters())  # wrong arguments are found before the first fit
    return DetectorFolds(copy, table, train=train, label=label, folds=folds, measure=measure)


def _inputs_of(table: SeriesTable, method: str) -> int:
    """Count what the lowest layer reads, as the networks of `networks.py` do."""
    observed, names = table.sequences.observed, calendar_names_for(table.frequency)
    each = 1 if observed is None or observed.all() else 2
    if method == "reconstruction":
        return each * table.sequences.num_features
    calendar = calendar_features(table.wall_times[:1], names)[0].shape[1] if names else 0
    return (1 + each) * table.sequences.num_features + calendar


def _mean_of(parts: list[FloatArray]) -> float:
    """Average the absolute values of all that is known."""
    values = np.concatenate(parts)
    if np.isnan(values).all():
        raise DataError(
            "no value of a block is known, so that there is nothing to compare",
            where="study",
            expected="a value in every block",
            hint="pass fewer folds",
        )
    return float(np.nanmean(np.abs(values)))


def _filled(part: FloatArray) -> FloatArray:
    """Fill gaps of standardised steps with the last value before them, the first with the mean, 0."""
    from_step = np.where(np.isfinite(part), np.arange(len(part))[:, None], 0)
    last: FloatArray = np.take_along_axis(part, np.maximum.accumulate(from_step, axis=0), axis=0)
    return np.nan_to_num(last)


def _windows(
    values: list[FloatArray], begins: IntArray, ends: IntArray, window: int
) -> tuple[FloatArray, FloatArray]:
    """Give the windows that end before the steps `begins` … `ends` - 1 of each series, and these steps."""
    inputs, truths = [], []
    for part, begin, end in zip(values, begins, ends, strict=True):
        first = max(int(begin), window)
        if first < end:
            filled = np.nan_to_num(part)  # standardised: a gap is read as the mean
            views = np.lib.stride_tricks.sliding_window_view(filled[first - window : end - 1], window, axis=0)
            inputs.append(views.reshape(len(views), -1))
            truths.append(part[first:end])
    return np.concatenate(inputs), np.concatenate(truths)


def _perceptron(values: list[FloatArray], ends: IntArray, window: int, units: int, seed: int) -> float:
    """Foretell each step from the window before it, as a change of the last value."""
    lengths, channels = np.array([len(part) for part in values]), values[0].shape[1]
    inputs, truth = _windows(values, np.zeros_like(ends), ends, window)
    last = inputs.reshape(len(inputs), channels, window)[:, :, -1]
    known = np.flatnonzero(np.isfinite(truth).any(axis=1))
    known = known[np.linspace(0, len(known) - 1, min(len(known), _MOST_EXAMPLES)).astype(int)]
    change = np.nan_to_num(truth - last)  # a channel that is missing there is taken not to change
    model = fit_perceptron(inputs[known], change[known], units=units, classes=False, seed=seed)
    inputs, truth = _windows(values, ends, lengths, window)
    last = inputs.reshape(len(inputs), channels, window)[:, :, -1]
    return _mean_of([truth - last - model.predict(inputs).reshape(truth.shape)])


def _components(values: list[FloatArray], ends: IntArray, window: int, units: int) -> float:
    """Repeat the last step of each window from the window's principal components."""
    from sklearn.decomposition import PCA

    lengths, channels = np.array([len(part) for part in values]), values[0].shape[1]
    # A window here ends at the step that it is asked for.
    inputs, _ = _windows(values, np.full_like(ends, window), ends, window)
    model = PCA(min(units, *inputs.shape)).fit(inputs)  # type: ignore[no-untyped-call]
    later = [np.concatenate([part, part[-1:]]) for part in values]
    inputs, _ = _windows(later, ends + 1, lengths + 1, window)
    repeated = model.inverse_transform(model.transform(inputs)).reshape(len(inputs), channels, window)
    # Only what is known is compared; the first windows of a short series end after its block begins.
    truth = [part[max(int(end), window - 1) :] for part, end in zip(values, ends, strict=True)]
    return _mean_of([repeated[:, :, -1] - np.concatenate(truth)])
