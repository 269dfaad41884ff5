"""How a forecaster is scored: on later data, by a backtest, and by cross-validation in Nixtla's layout."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import polars as pl
from sklearn.base import clone

from gatestack.data.frames import Frame, as_polars, like_input
from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError, check_whole
from gatestack.tasks.choices import check_instance
from gatestack.tasks.estimator import Estimator
from gatestack.tasks.evaluation import MODEL
from gatestack.tasks.forecast.backtest import Origins, backtest, evaluate_after
from gatestack.tasks.forecast.evaluation import ForecastEvaluation, interval_columns
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.fitting import ShortSeries
from gatestack.tasks.forecast.plan import make_plan
from gatestack.tasks.forecast.prediction import read_like_fit
from gatestack.training import RunFolder

__all__ = ["ScoredForecaster"]


class ScoredForecaster(Estimator):
    """The part of `Forecaster` that scores: `evaluate`, `backtest`, `cross_validation`."""

    horizon: int
    fitted_: FittedForecast

    @abstractmethod
    def _fit_table(self, table: SeriesTable, *, short_series: ShortSeries, run: RunFolder) -> Self:
        """Fit on a table that is read."""

    def evaluate(self, data: Frame, *, step: int = 1) -> ForecastEvaluation:
        """Score the model on what came after the data of its fit, beside the baselines, on the same origins.

        Args:
            data: history and what followed; only rows after the end of the fit are forecast.
            step: steps between two origins, 1 or more.

        Raises:
            DataError: no whole horizon lies after the end of the fit: a score would be a leak.
        """
        self._check_fitted("evaluate")
        table = read_like_fit(self.fitted_, as_polars(data), data)
        return evaluate_after(self.fitted_, table, step)

    def backtest(
        self,
        frame: Frame,
        *,
        target: str | None = None,
        time: str | None = None,
        series: str | None = None,
        past: Sequence[str] = (),
        future: Sequence[str] = (),
        static: Sequence[str] = (),
        frequency: str | int | None = None,
        short_series: ShortSeries = "error",
        origins: Origins | None = None,
        run: RunFolder | None = None,
    ) -> ForecastEvaluation:
        """Fit a copy on the first part of a table and score it on the rest, from rolling origins.

        The model itself is not changed. With `Origins(refit=True)` a new copy is fitted at each origin.

        Args:
            frame: the table, as in `fit`.
            target: as in `fit`.
            time: as in `fit`.
            series: as in `fit`.
            past: as in `fit`.
            future: as in `fit`.
            static: as in `fit`.
            frequency: as in `fit`.
            short_series: as in `fit`; `"skip"` and `"keep"` also leave out of the scores what is too short to
                hold out its test part.
            origins: how much is held out and how the origins roll; None holds out the last fifth.
            run: whether to show the progress; a backtest keeps no checkpoints.

        Raises:
            KeyboardInterrupt: Ctrl-C during a fit; the scores of a model that is half trained would mislead.
        """
        table = SeriesTable.from_frame(
            frame,
            target=target,
            time=time,
            series=series,
            past=past,
            future=future,
            static=static,
            frequency=frequency,
            categories="find",
        )
        make_plan(self._parameters(), table)  # wrong arguments are found before the first fit

        def fit(part: SeriesTable) -> FittedForecast:
            copy: Self = clone(self)  # type: ignore[no-untyped-call]
            progress = RunFolder(progress=run.progress if run else None)
            fitted = copy._fit_table(part, short_series=short_series, run=progress).fitted_
            if fitted.record.stopped_by == "interrupt":
                raise KeyboardInterrupt
            return fitted

        origins = check_instance("origins", origins, Origins, owner="backtest")
        leave_short = short_series != "error"
        return backtest(table, origins, horizon=self.horizon, fit=fit, leave_short=leave_short)

    def cross_validation(
        self,
        df: Frame,
        h: int | None = None,
        n_windows: int = 1,
        *,
        step_size: int | None = None,
        refit: bool = False,
        level: Sequence[float] | None = None,
        id_col: str = "unique_id",
        time_col: str = "ds",
        target_col: str = "y",
        past: Sequence[str] = (),
        future: Sequence[str] = (),
        static: Sequence[str] = (),
        frequency: str | int | None = None,
    ) -> Any:
        """Forecast the last `n_windows` windows of each series, as a table that Nixtla's tools take.

        The windows are those of Nixtla's `cross_validation`: the last one ends with each series, the others
        lie `step_size` steps before each other. It is `backtest` with these origins; nothing is scored.

        Args:
            df: the table, as in `fit`.
            h: steps ahead, 1 or more; None takes the model's horizon.
            n_windows: forecasts of each series, 1 or more.
            step_size: steps between two of them, 1 or more; None takes `h`.
            refit: fit anew before each window; else once, on what lies before the first.
            level: intervals to give, in per cent, among those of the model's quantiles; None gives all.
            id_col: column of keys; where it is not there the table is one series.
            time_col: column of times.
            target_col: column to forecast.
            past: as in `fit`.
            future: as in `fit`.
            static: as in `fit`.
            frequency: as in `fit`.

        Returns:
            A frame of the kind of `df`, sorted by key: its key and time columns, `cutoff` (the last time
            before the window), the target as it is in `df`, `gatestack`, `gatestack-lo-90`, …

        Raises:
            ArgumentError: a number is out of range, or the model has no interval of a level.
            DataError: the data cannot be used, or a series has nothing before its first window.

        Example:
            >>> from gatestack.tasks.forecast import Forecaster
            >>> frame = pl.DataFrame({"ds": range(60), "y": [float(step % 5) for step in range(60)]})
            >>> model = Forecaster(horizon=2, hidden_size=4, max_steps=5, season=5)
            >>> model.cross_validation(frame, n_windows=2, level=[90]).columns[3:]
            ['y', 'gatestack', 'gatestack-lo-90', 'gatestack-hi-90']
        """
        model: Self = clone(self).set_params(horizon=self.horizon if h is None else h)  # type: ignore[no-untyped-call]
        check_whole("h", model.horizon, owner="cross_validation")
        check_whole("n_windows", n_windows, owner="cross_validation")
        step = (
            model.horizon
            if step_size is None
            else check_whole("step_size", step_size, owner="cross_validation")
        )
        data = as_polars(df)
        keyed = id_col in data.columns
        bounds = _bounds_of(model._parameters()["quantiles"], level)
        evaluation = model.backtest(
            data,
            target=target_col,
            time=time_col,
            series=id_col if keyed else None,
            past=past,
            future=future,
            static=static,
            frequency=frequency,
            origins=Origins(test=model.horizon + step * (n_windows - 1), step=step, refit=refit),
        )
        found = evaluation.forecasts.rename({"unique_id": id_col, "ds": time_col})
        found = found.select(id_col, time_col, "cutoff", MODEL, *bounds)
        if keyed:
            # Keys and targets as they stand in the user's table: inside they are text and float32.
            keys = data[id_col].unique()
            own = pl.col(id_col).replace_strict(keys.cast(pl.String), keys)
            found = found.with_columns(own.cast(keys.dtype)).sort(id_col, maintain_order=True)
        on = [id_col, time_col] if keyed else [time_col]
        found = found.join(data.select(*on, target_col), on=on, how="left", maintain_order="left")
        return like_input(found.select(id_col, time_col, "cutoff", target_col, MODEL, *bounds), df)


def _bounds_of(quantiles: Sequence[float], level: Sequence[float] | None) -> list[str]:
    """Name the columns of the intervals of some levels, in Nixtla's manner."""
    names = list(interval_columns(tuple(quantiles)))
    if level is None:
        return names
    levels = [name.rsplit("-", 1)[1] for name in names[::2]]
    wanted = [f"{percent:.10g}" for percent in level]
    for percent in wanted:
        if percent not in levels:
            raise ArgumentError(
                f"there is no interval of {percent} %",
                where="cross_validation",
                expected=f"among {', '.join(levels)}",
                hint="choose others with Forecaster(quantiles=(0.1, 0.5, 0.9))",
            )
    return [f"{MODEL}-{side}-{percent}" for percent in wanted for side in ("lo", "hi")]
