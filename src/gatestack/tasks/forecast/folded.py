"""A forecaster with its series cut at rolling origins, for studies.

The last two fifths of each series are cut into as many blocks as there are folds. A fold forecasts one block,
with everything fitted on what lies before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from gatestack.data.calendar_encoding import calendar_features
from gatestack.data.frames import Frame
from gatestack.data.series_cut import cut_table
from gatestack.data.series_table import SeriesTable
from gatestack.errors import DataError
from gatestack.study.fits import Outcome
from gatestack.study.folded_task import Measure
from gatestack.tasks.evaluation import MODEL
from gatestack.tasks.folding import (
    PERCEPTRON,
    SILENT,
    TESTED_SHARE,
    EstimatorFolds,
    block_shares,
    check_options,
    digest_of,
    measure_of,
    milliseconds,
    refuse_interrupted,
    scores_of,
    step_bytes,
)
from gatestack.tasks.forecast.backtest import errors_from, evaluate_from, training_frame
from gatestack.tasks.forecast.evaluation import (
    COLUMNS,
    ErrorTable,
    ForecastEvaluation,
    evaluate_forecasts,
)
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.options import Architecture
from gatestack.tasks.forecast.perceptron import WindowPerceptron
from gatestack.tasks.forecast.plan import make_plan
from gatestack.tasks.saved import plain_parameters

if TYPE_CHECKING:
    from gatestack.tasks.forecast.fitting import ShortSeries

__all__ = ["ForecastFolds", "fold_frame", "fold_table"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_TRAINED_SHARE = 0.9  # of a fit's steps; the rest tells when to stop
_MOST_WINDOW = 512  # of a search
_OPTIONS = ("target", "time", "series", "past", "future", "static", "frequency", "short_series")


class ForecastFolds(EstimatorFolds):
    """The folded task of `Forecaster`.

    Args:
        estimator: a fresh copy with a number of layers.
        table: the series.
        short_series: as in `fit`.
        folds: 2 or more.
        measure: what is compared.

    Raises:
        DataError: no block is as long as a horizon.
    """

    architecture = Architecture

    def __init__(
        self,
        estimator: Any,
        table: SeriesTable,
        short_series: ShortSeries,
        folds: int,
        measure: Measure,
    ) -> None:
        self.estimator, self.table, self.short_series = estimator, table, short_series
        self.folds, self.measure = folds, measure
        lengths = np.diff(table.sequences.offsets)
        # (folds + 1, series)
        self.ends = np.stack([self._first_part(lengths, share) for share in block_shares(folds)])
        if (np.diff(self.ends, axis=0) < estimator.horizon).all(axis=1).any():
            raise DataError(
                f"the last {TESTED_SHARE:.0%} of no series can be cut into {folds} blocks of a horizon, "
                f"{estimator.horizon} steps",
                where=table.source,
                expected=f"{int(np.ceil(folds * estimator.horizon / TESTED_SHARE))} steps or more",
                hint="give longer series, a smaller horizon, or fewer folds if there are more than 2",
            )
        trained = self.ends[:-1].sum(axis=1)
        self.test_share = float((np.diff(self.ends.sum(axis=1)) / trained).mean())
        self.windows = _windows_of(int(estimator.horizon), self.ends[0])
        self.cell = estimator.architecture.cell if estimator.architecture else "lstm"
        self.directions, self.hidden_size = 1, int(estimator.hidden_size)
        self.features = _inputs_of(table, make_plan(estimator._parameters(), table).calendar)
        parameters = plain_parameters(estimator._parameters())
        del parameters["layers"]
        sequences = table.sequences
        self.identity = {
            "kind": estimator.kind,
            "parameters": parameters,
            "columns": [table.columns.target, *table.columns.past, "|", *table.columns.future],
            "short_series": short_series,
            # Calendar features are those of its clocks; the instants alone do not tell.
            "zone": table.time_kind.zone,
            "data": digest_of(
                sequences.values, sequences.offsets, sequences.observed, sequences.static, table.times
            ),
        }
        self.source = table.source
        self._seasons: dict[int, int | None] = {}

    def plain(self, fold: int, seed: int) -> Outcome:
        """Score the baselines and a perceptron on a block."""
        start = time.perf_counter()
        # The smallest network there is brings baselines, scaling, seasons and window of this training part.
        fitted = self._fit((1,), fold, seed, max_steps=1)
        horizon, units = self.estimator.horizon, self.hidden_size
        training = cut_table(self.table, self._rows(fitted), self.ends[fold][self._rows(fitted)])
        perceptron = WindowPerceptron(fitted, training, horizon=horizon, units=units, seed=seed)
        held, first = self._held(fitted, fold)

        def answer(table: SeriesTable, first: IntArray, step: int) -> ErrorTable:
            errors = errors_from(fitted, table, first, step)
            own = perceptron.forecast(fitted.panel(table), errors.rows, errors.positions)
            return replace(errors, baselines=errors.baselines | {PERCEPTRON: own})

        evaluation = evaluate_forecasts(
            self._plain_errors(answer, fold, held, first),
            training_frame(held, first),
            season=fitted.season or 1,
            step=horizon,
        )
        scores = scores_of(evaluation, self.measure, self.table.source)
        return Outcome(
            scores={name: score for name, score in scores.items() if name != MODEL},
            seconds=time.perf_counter() - start,
        )

    def network(
        self, widths: tuple[int, ...], fold: int, seed: int, changes: Mapping[str, Any] | None = None
    ) -> Outcome:
        """Fit on what lies before a block, and score on the block."""
        start = time.perf_counter()
        fitted = self._fit(widths, fold, seed, changes=changes)
        seconds = time.perf_counter() - start
        one = cut_table(fitted.tail, np.array([0]), np.diff(fitted.tail.sequences.offsets)[:1])
        panel = fitted.panel(one)
        parameters = [part.numel() for part in fitted.network.parameters() if part.requires_grad]
        with torch.inference_mode():
            whole = milliseconds(lambda: fitted.state_after(panel))
        evaluate = self._evaluation_of(fitted, fold)
        held, trained = (
            scores_of(evaluate(*part), self.measure, self.table.source)[MODEL]
            for part in (self._held(fitted, fold), self._trained(fitted, fold))
        )
        return Outcome(
            scores={MODEL: held},
            seconds=seconds,
            training=trained,
            parameters=sum(parameters),
            step_ms=whole / int(panel.lengths[0]),
            step_bytes=step_bytes(fitted.network, widths, cell=fitted.architecture.cell),
        )

    def _fit(
        self,
        widths: tuple[int, ...],
        fold: int,
        seed: int,
        *,
        max_steps: int | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> FittedForecast:
        copy = type(self.estimator)(**self._settings(widths, seed, max_steps=max_steps, changes=changes))
        rows = np.flatnonzero(self.ends[fold])
        part = cut_table(self.table, rows, self.ends[fold][rows])
        fitted: FittedForecast = copy._fit_table(part, short_series=self.short_series, run=SILENT).fitted_
        refuse_interrupted([fitted.record])
        if "window" in (changes or {}):
            # A season that is longer than the window is left out, and would be from the unit of MASE too.
            return replace(fitted, season=self._season_as_given(fold))
        return fitted

    def _season_as_given(self, fold: int) -> int | None:
        if fold not in self._seasons:
            self._seasons[fold] = self._fit((1,), fold, 0, max_steps=1).season
        return self._seasons[fold]

    def _first_part(self, lengths: IntArray, share: float) -> IntArray:
        """Give the steps of a share of each series, (series,)."""
        first: IntArray = np.floor(share * lengths).astype(np.int64)
        return first

    def _plain_errors(
        self,
        answer: Callable[[SeriesTable, IntArray, int], ErrorTable],
        fold: int,  # noqa: ARG002  (a subclass reads it)
        held: SeriesTable,
        first: IntArray,
    ) -> ErrorTable:
        """Give the forecasts of a block by all plain answers; `answer` makes them."""
        return answer(held, first, self.estimator.horizon)

    def _evaluation_of(
        self,
        fitted: FittedForecast,
        fold: int,  # noqa: ARG002  (a subclass reads it)
    ) -> Callable[[SeriesTable, IntArray], ForecastEvaluation]:
        """Give what scores a fit on the steps of a table from a first one on."""
        return partial(evaluate_from, fitted, step=self.estimator.horizon)

    def _rows(self, fitted: FittedForecast) -> IntArray:
        """Give the series that the fit did not leave out."""
        kept = set(fitted.tail.sequences.keys or ())
        keys = self.table.sequences.keys or ()
        return np.array([row for row, key in enumerate(keys) if key in kept])

    def _held(self, fitted: FittedForecast, fold: int) -> tuple[SeriesTable, IntArray]:
        """Give the series up to the end of a block, and its first steps."""
        rows = self._rows(fitted)
        return cut_table(self.table, rows, self.ends[fold + 1][rows]), self.ends[fold][rows]

    def _trained(self, fitted: FittedForecast, fold: int) -> tuple[SeriesTable, IntArray]:
        """Give the steps that the weights were learned from, and where a part as long as a block begins."""
        rows = self._rows(fitted)
        until = self._first_part(self.ends[fold][rows], _TRAINED_SHARE)
        # A series of a step or two is too short to give any of them up.
        rows, until = rows[until > 0], until[until > 0]
        block = np.maximum(self.ends[fold + 1][rows] - self.ends[fold][rows], self.estimator.horizon)
        return cut_table(self.table, rows, until), np.maximum(until - block, 1)


def _inputs_of(table: SeriesTable, calendar: tuple[str, ...]) -> int:
    """Count what the lowest layer reads, as `ForecastNetwork.input_size` does; categories count as 1."""
    columns, observed = table.columns, table.sequences.observed
    features = calendar_features(table.wall_times[:1], calendar)[0].shape[1] if calendar else 0
    known = len(columns.past) + len(columns.future) + features
    flags = 0 if observed is None or observed.all() else 1 + known
    return 3 + known + len(columns.static) + flags


def _windows_of(horizon: int, lengths: IntArray) -> tuple[int, int]:
    """Give the smallest and largest window of a search: an eighth of the longest first training part."""
    least = max(horizon, 4)
    return least, max(least, min(_MOST_WINDOW, int(lengths.max()) // 8))


def fold_frame(
    estimator: Any, frame: Frame, options: Mapping[str, Any], *, folds: int, measure: str | None
) -> ForecastFolds:
    """Cut the series of a table at rolling origins; see `Estimator.folded_task`."""
    given = check_options(options, _OPTIONS, type(estimator).__name__)
    short_series = given.pop("short_series", "error")
    table = SeriesTable.from_frame(frame, **given, categories="find")
    return fold_table(estimator, table, short_series=short_series, folds=folds, measure=measure)


def fold_table(
    estimator: Any,
    table: SeriesTable,
    *,
    short_series: ShortSeries,
    folds: int,
    measure: str | None = None,
) -> ForecastFolds:
    """Cut the series of a fit at rolling origins."""
    copy = type(estimator)(**estimator._parameters() | {"layers": 1})
    make_plan(copy._parameters(), table)  # wrong arguments are found before the first fit
    return ForecastFolds(copy, table, short_series, folds, measure_of(COLUMNS, measure, usual="mase"))
