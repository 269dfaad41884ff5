"""Rolling origins: which steps a model may see, which it must forecast, and the scores there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.series_cut import cut_table
from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError, DataError, check_whole, quote_value
from gatestack.tasks.forecast.baselines import baseline_forecasts
from gatestack.tasks.forecast.evaluation import ErrorTable, ForecastEvaluation, evaluate_forecasts
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.intervals.corrected import corrected_at, first_new_steps
from gatestack.tasks.forecast.split import origins_between

__all__ = [
    "Origins",
    "backtest",
    "errors_from",
    "evaluate_after",
    "evaluate_from",
    "steps_after",
    "training_frame",
]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Origins:
    """How the origins of a backtest roll.

    Args:
        test: share of each series that is held out, in (0, 1) and at least a horizon; or a number of steps,
            at least a horizon.
        step: steps between two origins of a series, 1 or more; None takes the horizon.
        refit: fit anew at each origin on everything before it. Slow: one fit per origin.

    Example:
        >>> Origins(test=90, step=7).test
        90
    """

    test: float | int = 0.2
    step: int | None = None
    refit: bool = False

    def __post_init__(self) -> None:
        share = isinstance(self.test, float) and 0 < self.test < 1
        steps = isinstance(self.test, int) and not isinstance(self.test, bool) and self.test >= 1
        if not (share or steps):
            raise ArgumentError(
                f"the 'test' parameter of Origins is {self.test!r}",
                expected="a share in (0, 1), or a whole number of steps",
            )
        if self.step is not None:
            check_whole("step", self.step, owner="Origins")

    def first_steps(self, lengths: IntArray, horizon: int) -> IntArray:
        """Give the first step of each series that is held out, (series,); 0 where that is all of it."""
        if isinstance(self.test, float):
            held = np.maximum(np.round(self.test * lengths).astype(np.int64), horizon)
        elif self.test < horizon:
            raise ArgumentError(
                f"the 'test' parameter of Origins is {self.test}",
                expected=f"at least the horizon, {horizon} steps, or a share of each series",
            )
        else:
            held = np.full_like(lengths, self.test)
        return np.maximum(lengths - held, 0)


def backtest(
    table: SeriesTable,
    origins: Origins,
    *,
    horizon: int,
    fit: Callable[[SeriesTable], FittedForecast],
    leave_short: bool = False,
) -> ForecastEvaluation:
    """Fit on what lies before the held out part of each series and score on the rest.

    Args:
        table: the series.
        origins: how they roll.
        horizon: steps ahead.
        fit: makes a fitted forecaster from a table.
        leave_short: leave out series with nothing before the held out part, instead of refusing them.
    """
    lengths = np.diff(table.sequences.offsets)
    first = origins.first_steps(lengths, horizon)
    if leave_short and (first >= 1).any():
        long = np.flatnonzero(first >= 1)
        table, lengths, first = cut_table(table, long, lengths[long]), lengths[long], first[long]
    if (first < 1).any():
        row = int(np.argmax(first < 1))
        raise DataError(
            f"series {quote_value((table.sequences.keys or ())[row])} has {lengths[row]} steps",
            where=table.source,
            expected=f"more steps than the backtest holds out: test={origins.test}, and at least a horizon",
        )
    step = origins.step or horizon
    rows = np.arange(len(lengths))
    if not origins.refit:
        return evaluate_from(fit(cut_table(table, rows, first)), table, first, step)
    parts: list[ErrorTable] = []
    season = None
    for offset in range(0, int((lengths - horizon - first).max()) + 1, step):
        # Each fit forecasts its own origin only.
        inside = rows[(first + offset + horizon <= lengths) & (first + offset > _first_observed(table))]
        if not len(inside):
            continue
        ends = first[inside] + offset
        fitted = fit(cut_table(table, inside, ends))
        season = season or fitted.season
        part = cut_table(table, inside, ends + horizon)
        parts.append(_errors(fitted, part, np.arange(len(inside)), ends - 1, ends))
    if not parts:
        raise _nothing_to_score(table, horizon)
    errors = _joined(parts, table.sequences.keys or ())
    _refuse_no_truth(errors, table)
    return evaluate_forecasts(errors, training_frame(table, first), season=season or 1, step=step)


def evaluate_after(fitted: FittedForecast, table: SeriesTable, step: int) -> ForecastEvaluation:
    """Score a fitted model on the steps of a table after the data of its fit.

    Raises:
        DataError: there is no whole horizon after the end of the fit.
    """
    check_whole("step", step, owner="evaluate")
    return evaluate_from(fitted, table, steps_after(fitted, table), step)


def steps_after(fitted: FittedForecast, table: SeriesTable) -> IntArray:
    """Find the first step of each series after the data of the fit, (series,).

    Raises:
        DataError: there is no whole horizon after the end of the fit.
    """
    tail = fitted.tail
    lengths = np.diff(table.sequences.offsets)
    first = first_new_steps(fitted, table)
    if (lengths - first < fitted.horizon).all():
        raise DataError(
            "no series has a whole horizon after the end of the fit; to score the fit's own data is a leak",
            where=table.source,
            expected=f"{fitted.horizon} steps or more after "
            f"{tail.time_kind.to_series(tail.last_times[:1], 'end')[0]}",
            hint="give the history with the new rows, or use backtest to hold out a part of the data",
        )
    return first


def evaluate_from(
    fitted: FittedForecast, table: SeriesTable, first: IntArray, step: int
) -> ForecastEvaluation:
    """Score a fitted model on the steps of a table from `first` on, (series,)."""
    errors = errors_from(fitted, table, first, step)
    return evaluate_forecasts(errors, training_frame(table, first), season=fitted.season or 1, step=step)


def errors_from(fitted: FittedForecast, table: SeriesTable, first: IntArray, step: int) -> ErrorTable:
    """Forecast the steps of a table from `first` on, (series,), with the model and every baseline."""
    lengths = np.diff(table.sequences.offsets)
    rows, positions = origins_between(first, lengths, horizon=fitted.horizon, step=step)
    begun = positions >= _first_observed(table)[rows]
    rows, positions = rows[begun], positions[begun]
    if not len(rows):
        raise _nothing_to_score(table, fitted.horizon)
    errors = _errors(fitted, table, rows, positions, first)
    _refuse_no_truth(errors, table)
    return errors


def _first_observed(table: SeriesTable) -> IntArray:
    """Give the first step of each series with a real target, (series,); nothing is forecast before it."""
    offsets, observed = table.sequences.offsets, table.sequences.observed
    if observed is None:
        return np.zeros(len(offsets) - 1, dtype=np.int64)
    parts = [observed[begin:end, 0] for begin, end in itertools.pairwise(offsets)]
    return np.array([part.argmax() if part.any() else len(part) for part in parts])


def _nothing_to_score(table: SeriesTable, horizon: int) -> DataError:
    return DataError(
        "no whole horizon is left to score", where=table.source, expected=f"{horizon} steps or more"
    )


def _refuse_no_truth(errors: ErrorTable, table: SeriesTable) -> None:
    """Raise where nothing came true yet: a table of empty scores would look like a result."""
    if np.isnan(errors.truth).all():
        raise DataError(
            "the target is missing at every step that is forecast, so that there is nothing to score",
            where=f"{table.source}, column {quote_value(table.columns.target)}",
            expected="a value at one of these steps at least",
            hint="score again when the values are there; to forecast them, use predict",
        )


def _errors(
    fitted: FittedForecast, table: SeriesTable, rows: IntArray, positions: IntArray, first: IntArray
) -> ErrorTable:
    """Forecast with the model, whose adaptive intervals learn from `first` on, and with every baseline."""
    sequences = table.sequences
    panel = fitted.panel(table)
    at = sequences.offsets[rows] + positions
    ahead = at[:, None] + np.arange(1, fitted.horizon + 1)
    _refuse_unknown_future(fitted, table, ahead)
    baselines = baseline_forecasts(
        panel,
        rows,
        positions,
        horizon=fitted.horizon,
        season=fitted.season,
        autoregression=fitted.autoregression,
    )
    return ErrorTable(
        rows=rows,
        positions=positions,
        keys=sequences.keys or (),
        truth=table.target_at(ahead),
        quantiles=corrected_at(fitted, table, panel, rows, positions, first),
        levels=fitted.levels,
        baselines=baselines,
        times=table.time_kind.to_series(table.times[ahead].reshape(-1), "ds"),
        cutoffs=table.time_kind.to_series(table.times[at].repeat(fitted.horizon), "cutoff"),
    )


def _refuse_unknown_future(fitted: FittedForecast, table: SeriesTable, ahead: IntArray) -> None:
    """Raise where a column that is said to be known ahead is missing in a horizon."""
    observed, past = table.sequences.observed, len(table.columns.past)
    if observed is None or not table.columns.future:
        return
    known = observed[ahead][..., 1 + past :]
    if known.all():
        return
    origin, step, column = (int(place[0]) for place in np.nonzero(~known))
    when = table.time_kind.to_series(table.times[ahead[origin, step]][None], "time")[0]
    raise DataError(
        f"the future column {quote_value(table.columns.future[column])} is missing at {when}",
        where=table.source,
        expected="a number at every step that is forecast",
        hint=f"a column that is not known {fitted.horizon} steps ahead belongs in past=",
    )


def training_frame(table: SeriesTable, first: IntArray) -> pl.DataFrame:
    """Give `unique_id`, `ds`, `y` of the steps before `first`, (series,), on the regular grid."""
    sequences = table.sequences
    keep = [np.arange(a, a + end) for a, end in zip(sequences.offsets[:-1], first, strict=True)]
    index, rows = np.concatenate(keep), np.arange(len(first)).repeat(first)
    return pl.DataFrame(
        {
            "unique_id": pl.Series(sequences.keys, dtype=pl.String).gather(rows),
            "ds": table.time_kind.to_series(table.times[index], "ds"),
            "y": pl.Series(table.target_at(index)).fill_nan(None),
        }
    )


def _joined(parts: list[ErrorTable], keys: tuple[str, ...]) -> ErrorTable:
    """Put the forecasts of several fits together, in order of series and time."""
    place = {key: row for row, key in enumerate(keys)}
    rows = np.concatenate([[place[part.keys[row]] for row in part.rows] for part in parts])
    positions = np.concatenate([part.positions for part in parts])
    order = np.lexsort([positions, rows])
    horizon = parts[0].horizon
    by_step = (order[:, None] * horizon + np.arange(horizon)).reshape(-1)
    names = [name for name in parts[0].baselines if all(name in part.baselines for part in parts)]
    return ErrorTable(
        rows=rows[order],
        positions=positions[order],
        keys=keys,
        truth=np.concatenate([part.truth for part in parts])[order],
        quantiles=np.concatenate([part.quantiles for part in parts])[order],
        levels=parts[0].levels,
        baselines={name: np.concatenate([part.baselines[name] for part in parts])[order] for name in names},
        times=pl.concat([part.times for part in parts]).gather(by_step),
        cutoffs=pl.concat([part.cutoffs for part in parts]).gather(by_step),
    )
