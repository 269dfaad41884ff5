"""The forecaster: from a table of series to forecasts that stand beside their baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from gatestack.data.frames import Frame, as_polars
from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError, check_choice
from gatestack.tasks.choices import check_instance
from gatestack.tasks.estimator import Arrays
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.fitting import ShortSeries, fit_forecast
from gatestack.tasks.forecast.going_on.stream import ForecastStream
from gatestack.tasks.forecast.going_on.update import updated
from gatestack.tasks.forecast.options import DEFAULT_QUANTILES, Architecture, IntervalKind, Mode
from gatestack.tasks.forecast.persistence import (
    fitted_from_data,
    fitted_to_data,
)
from gatestack.tasks.forecast.plan import make_plan
from gatestack.tasks.forecast.prediction import predict_frame, read_like_fit
from gatestack.tasks.forecast.sampling import sample_frame
from gatestack.tasks.forecast.scored import ScoredForecaster
from gatestack.tasks.saved import plain_parameters, read_parameters
from gatestack.training import RunFolder, Training

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

    from gatestack.convert.onnx.builder import GraphBuilder
    from gatestack.convert.onnx.parts import OnnxParts
    from gatestack.inspect.subject import Subject
    from gatestack.study.folded_task import FoldedTask
    from gatestack.tasks.forecast.folded import ForecastFolds

__all__ = ["Forecaster"]

# Parameters that a model folder holds as a table of options.
_CHOICES = {
    "architecture": Architecture.from_dict,
    "training": lambda options: Training(**options),
}


class Forecaster(ScoredForecaster):
    """Forecasts the next steps of one or many series with a stack of recurrent layers.

    The stack reads each series step by step; at any step a head gives quantiles of the next `horizon` steps.
    The first step ahead therefore reads the last value that is known; `gatestack.tasks.forecast.recency`
    shows it. The equations stand in `gatestack.tasks.forecast.head` and `scaling`.

    Args:
        horizon: steps ahead, 1 or more.
        layers: number of layers, each `hidden_size` wide, or a list of widths, lowest first; `"auto"` takes
            as many as a study of the training part supports; see `gatestack.study_depth`.
        hidden_size: width of each layer, 1 or more.
        window: steps that one training example reads, 2 or more; None takes the longest of 4 horizons, 2
            longest and 4 shortest seasons, at most a third of the shortest series.
        quantiles: levels in (0, 1), ascending, symmetric around 0.5, which must be one of them.
        max_steps: updates of the weights at most, 1 or more.
        season: length in steps, several lengths, None for none, or `"auto"` to find them in the training
            part.
        calendar: names of calendar features (see `gatestack.data.calendar_features`), or `"auto"`.
        mode: `"direct"` trains on steps drawn from a whole pass and carries the state on; `"windows"` reads
            each window from a zero state; `"recursive"` forecasts one step at a time and samples paths.
        intervals: bounds as the `"model"` learned them; `"conformal"`, corrected by its errors on the last
            tenth of each series, which trained nothing; or `"adaptive"`, corrected further by what came true.
        architecture: cell, dropout, residual connections, scaling, …; None takes the defaults.
        training: batch size, learning rate, patience, …; None takes the defaults.
        seed: of initial weights, batches, dropout and sampled paths.

    Attributes:
        fitted_: what fitting found, a `FittedForecast`.

    Raises:
        ArgumentError: in `fit`, when an argument is outside its range.

    Example:
        >>> import numpy as np, polars as pl
        >>> day = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 12, 31), eager=True)
        >>> frame = pl.DataFrame({"date": day, "temp": 10 + 5 * np.sin(np.arange(366) * 2 * np.pi / 7)})
        >>> model = Forecaster(horizon=3, hidden_size=8, max_steps=20).fit(frame, target="temp", time="date")
        >>> model.predict().columns[:3]
        ['date', 'gatestack', 'gatestack-lo-50']
        >>> model.predict().height
        3
    """

    kind: ClassVar[str] = "forecaster"

    def __init__(
        self,
        horizon: int,
        *,
        layers: int | Sequence[int] | Literal["auto"] = 2,
        hidden_size: int = 64,
        window: int | None = None,
        quantiles: Sequence[float] = DEFAULT_QUANTILES,
        max_steps: int = 1000,
        season: int | Sequence[int] | Literal["auto"] | None = "auto",
        calendar: Sequence[str] | Literal["auto"] = (),
        mode: Mode = "direct",
        intervals: IntervalKind = "model",
        architecture: Architecture | None = None,
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        self.horizon = horizon
        self.layers = layers
        self.hidden_size = hidden_size
        self.window = window
        self.quantiles = quantiles
        self.max_steps = max_steps
        self.season = season
        self.calendar = calendar
        self.mode = mode
        self.intervals = intervals
        self.architecture = architecture
        self.training = training
        self.seed = seed

    def fit(
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
        run: RunFolder | None = None,
    ) -> Self:
        """Learn from a table.

        Args:
            frame: path of a CSV or Parquet file, or a pandas, Polars or Arrow frame, a row per series and
                time.
            target: column to forecast; None takes `y`.
            time: column of times or whole numbers; None takes `ds`, or the only column of times.
            series: column of keys; None takes `unique_id` if there is one, else the table is one series.
            past: columns known up to now.
            future: columns known ahead as well.
            static: columns with one value per series.
            frequency: the step, such as `"1h"`; None finds it in the times.
            short_series: of those shorter than a window and a horizon: `"skip"` leaves them out; `"keep"`
                learns from what they have and forecasts them too, from their first value on.
            run: folder for checkpoints, resuming, progress bar.

        Returns:
            The forecaster itself.

        Raises:
            DataError: the data cannot be used; names file, row and column.
            ArgumentError: a column or an option does not exist or is outside its range.
            TrainingError: the loss is not finite.
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
        run = check_instance("run", run, RunFolder, owner="fit")
        return self._fit_table(table, short_series=short_series, run=run)

    def predict(self, frame: Frame | None = None, *, future: Frame | None = None) -> Any:
        """Forecast the steps after the end of each series.

        Args:
            frame: the history to forecast from; None goes on from the data of the fit. Where the model has
                future columns, rows at the end of a series without a target are taken as `future`.
            future: the future columns for the next `horizon` steps.

        Returns:
            A frame of the user's kind (Polars where `frame` is None or a path): key and time columns, then
            `gatestack`, `gatestack-lo-50`, `gatestack-hi-50`, … in Nixtla's layout.

        Raises:
            DataError: other columns than in the fit, or a future value that is missing.
        """
        self._check_fitted("predict")
        return predict_frame(self.fitted_, frame, future)

    def sample(
        self,
        frame: Frame | None = None,
        *,
        future: Frame | None = None,
        paths: int = 200,
        seed: int | None = None,
    ) -> Any:
        """Draw paths that each series may take over the next `horizon` steps, in the mode `"recursive"`.

        Each step of a path is drawn from what the model says after the steps before it. What is asked of the
        whole horizon (the sum of a week, the highest value) is computed for each path; its quantiles over the
        paths are the forecast. Those of each step are what `predict` gives, when 200 paths are drawn with the
        model's seed and the intervals are those of the model.

        Args:
            frame: as in `predict`.
            future: as in `predict`.
            paths: number of paths per series, 1 or more.
            seed: of the draws, 0 or more; None takes that of the model.

        Returns:
            A frame of the user's kind in long layout, a row per series, path and step: key and time columns,
            `path` from 0 on, `gatestack`.

        Raises:
            ArgumentError: the mode is another: then the steps ahead are forecast side by side, and nothing
                says which values belong together.
            DataError: as in `predict`.

        Example:
            >>> import polars as pl
            >>> frame = pl.DataFrame({"ds": range(60), "y": [float(step % 5) for step in range(60)]})
            >>> model = Forecaster(horizon=3, mode="recursive", hidden_size=4, max_steps=5, season=5)
            >>> paths = model.fit(frame).sample(paths=50)
            >>> paths.columns, paths.height
            (['ds', 'path', 'gatestack'], 150)
            >>> sums = paths.group_by("path").agg(pl.col("gatestack").sum())
            >>> sums["gatestack"].quantile(0.9) >= sums["gatestack"].quantile(0.1)
            True
        """
        self._check_fitted("sample")
        return sample_frame(self.fitted_, frame, future, paths=paths, seed=seed)

    def predict_frame(self, data: Frame | None = None, *, future: Frame | None = None) -> pl.DataFrame:
        """Forecast as `predict` does, as a Polars frame whatever the kind of `data`."""
        return as_polars(self.predict(data, future=future))

    def update(self, frame: Frame, *, future: Frame | None = None) -> Self:
        """Go on with new observations, without training: the next forecast starts after them.

        The network runs over the new steps from where each series stood; weights, scaling and the calibration
        of intervals stay as they are, while adaptive intervals learn from each step. Afterwards `predict()`
        is what `predict` gives for the whole history, bit for bit where the compiled kernels run; of series
        that were shorter than a window before, `predict` may read the beginning otherwise (see the guide).

        Args:
            frame: rows after the last known time of each series, with the columns of the fit. Earlier rows
                may stand before them; those that the model still holds must say what they said. A step that
                is left out is missing. A series that is new starts from nothing. Where the model has future
                columns, rows at the end without a target are taken as `future`.
            future: the future columns for the `horizon` steps after the new end; needed with
                `intervals="adaptive"` only.

        Returns:
            The forecaster itself. An error, or Ctrl-C, leaves it as it was.

        Raises:
            DataError: a row that the model knew otherwise, a time off the grid, other columns than before.
            ArgumentError: the mode is `"windows"`, which carries no state.

        Example:
            >>> import polars as pl
            >>> frame = pl.DataFrame({"ds": range(60), "y": [float(step % 5) for step in range(60)]})
            >>> model = Forecaster(horizon=2, hidden_size=4, max_steps=5, season=5).fit(frame)
            >>> model.update(pl.DataFrame({"ds": [60, 61], "y": [0.0, 1.0]})).predict()["ds"].to_list()
            [62, 63]
        """
        self._check_fitted("update")
        self.fitted_ = updated(self.fitted_, frame, future)
        return self

    def stream(self, series: str | int | None = None) -> ForecastStream:
        """Go on from the end of one series of the fit, one step at a time.

        Args:
            series: its key; None where the fit had one series.

        Raises:
            ArgumentError: no such series, or the mode is `"windows"`, which carries no state.
        """
        self._check_fitted("stream")
        return ForecastStream.after_fit(self.fitted_, series)

    def plot(
        self, *, series: str | None = None, steps: int | None = None, future: Frame | None = None
    ) -> Figure:
        """Draw the end of a series and its forecast with bands.

        Args:
            series: its key; None takes the first.
            steps: of the history to show, at most those that the model keeps: a window or 3 horizons.
            future: as in `predict`.

        Returns:
            A Matplotlib figure.
        """
        from gatestack.tasks.forecast.plot import plot_forecast

        return plot_forecast(self.predict(future=future), self.fitted_.tail, series=series, steps=steps)

    def _fit_table(
        self,
        table: SeriesTable,
        *,
        short_series: ShortSeries,
        run: RunFolder,
        fold: Callable[[int], FoldedTask] | None = None,
    ) -> Self:
        """Fit on a table that is read; `fold` cuts it for `layers="auto"`, None as `folded_task` does."""
        from gatestack.tasks.forecast.folded import fold_table

        check_choice("short_series", short_series, get_args(ShortSeries), owner="fit")
        plan = make_plan(self._parameters(), table)
        widths = self._chosen_widths(
            fold or (lambda folds: fold_table(self, table, short_series=short_series, folds=folds)), run
        )
        plan = plan if widths is None else replace(plan, widths=widths)
        self.fitted_: FittedForecast = fit_forecast(table, plan, short_series=short_series, folder=run)
        return self

    def folded_task(
        self, data: Frame, options: Mapping[str, Any], *, folds: int, measure: str | None = None
    ) -> ForecastFolds:
        """Cut the series at rolling origins for a study (`gatestack.study_depth`)."""
        from gatestack.tasks.forecast.folded import fold_frame

        return fold_frame(self, data, options, folds=folds, measure=measure)

    def _subject(self, data: Any, y: Any, sequences: int) -> Subject:
        from gatestack.tasks.forecast.subject import forecast_subject

        if y is not None:
            raise ArgumentError("y is given", where="inspect", expected="None: the series brings its truth")
        return forecast_subject(self.fitted_, read_like_fit(self.fitted_, as_polars(data), data), sequences)

    def _to_onnx(self, builder: GraphBuilder) -> OnnxParts:
        """Build the graph for `gatestack.convert.export_onnx`."""
        from gatestack.tasks.forecast.onnx.export import onnx_parts

        self._check_fitted("export")
        if self.fitted_.calibration is not None:
            raise ArgumentError(
                f"the model's intervals are {self.intervals!r}, which a graph does not have",
                where="export",
                expected="intervals='model'",
                hint="keep the model folder, or fit with intervals='model'",
            )
        return onnx_parts(self.fitted_, builder)

    def _to_data(self) -> tuple[dict[str, Any], Arrays, Arrays]:
        model, weights, proof = fitted_to_data(self.fitted_)
        return {"parameters": plain_parameters(self._parameters())} | model, weights, proof

    @classmethod
    def _from_data(cls, model: dict[str, Any], weights: Arrays, proof: Arrays) -> Self:
        fitted = fitted_from_data(model, weights, proof)
        names: list[str] = cls._get_param_names()  # type: ignore[no-untyped-call]
        parameters = model.get("parameters")
        if isinstance(parameters, dict):
            # Models that were saved before there were calibrated intervals have those of their network.
            parameters = {"intervals": "model"} | parameters
        forecaster = cls(**read_parameters(parameters, names, _CHOICES))
        forecaster.fitted_ = fitted
        return forecaster
