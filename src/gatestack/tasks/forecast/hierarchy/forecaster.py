"""A forecaster whose totals are the sums of their parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import clone

from gatestack.data.frames import Frame, as_polars, like_input
from gatestack.data.series_cut import cut_table
from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError, ModelFileError, check_choice, check_whole
from gatestack.tasks.choices import check_instance
from gatestack.tasks.estimator import Arrays, Estimator, check_proof
from gatestack.tasks.evaluation import MODEL
from gatestack.tasks.forecast.backtest import Origins, steps_after
from gatestack.tasks.forecast.evaluation import interval_columns
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.forecaster import Forecaster
from gatestack.tasks.forecast.hierarchy.evaluation import CoherentEvaluation, evaluate_coherent
from gatestack.tasks.forecast.hierarchy.fitting import project, read_nodes
from gatestack.tasks.forecast.hierarchy.nodes import Hierarchy
from gatestack.tasks.forecast.hierarchy.projection import METHODS, Method, Projection
from gatestack.tasks.forecast.prediction import read_like_fit
from gatestack.tasks.saved import not_together, part_of, read_parameters, reading_model
from gatestack.training import RunFolder

if TYPE_CHECKING:
    from gatestack.inspect import Subject
    from gatestack.tasks.forecast.hierarchy.folded import CoherentFolds

__all__ = ["CoherentForecaster"]

FloatArray = npt.NDArray[np.float64]


class CoherentForecaster(Estimator):
    """Forecasts series and their totals so that they add up.

    One model learns the series and all totals; then a projection from hierarchicalforecast (the extra
    `gatestack[hierarchy]`) makes their forecasts add up to float precision. The series must be the same ones
    in every table, and end at the same time.

    Args:
        forecaster: the model, not fitted; its settings are copied. With its `layers="auto"` the study scores
            the forecasts that add up.
        sums: columns that name the hierarchy, coarse to fine, one value per series; none for one total.
        method: `"mint-shrink"` weighs all levels by the shrunk covariance of their errors one step ahead in
            the data of the fit; `"wls"` by the variances alone; `"bottom-up"` sums the forecasts of the
            series; `"top-down"` divides that of the total.

    Attributes:
        fitted_: of the model of all nodes.
        hierarchy_: the nodes.
        projection_: what makes their forecasts add up.

    Raises:
        ArgumentError: in `fit`, when hierarchicalforecast is missing or a column does not exist.

    Example:
        >>> import polars as pl
        >>> walks = np.random.default_rng(0).normal(size=(60, 4)).cumsum(axis=0)
        >>> wide = pl.DataFrame(walks, schema=["a", "b", "c", "d"]).with_row_index("ds")
        >>> frame = wide.unpivot(index="ds", variable_name="unique_id", value_name="y")
        >>> sector = pl.col("unique_id").replace_strict(dict(zip("abcd", "xxyy")))
        >>> frame = frame.with_columns(sector=sector)
        >>> model = CoherentForecaster(Forecaster(2, hidden_size=4, max_steps=5), ["sector"]).fit(frame)
        >>> wide = model.predict().pivot("unique_id", index="ds", values="gatestack")
        >>> wide.columns
        ['ds', 'total', 'x', 'y', 'a', 'b', 'c', 'd']
        >>> (wide["total"] - wide["x"] - wide["y"]).abs().max() < 1e-9
        True
    """

    kind: ClassVar[str] = "coherent forecaster"

    def __init__(
        self, forecaster: Forecaster, sums: Sequence[str] = (), *, method: Method = "mint-shrink"
    ) -> None:
        self.forecaster = forecaster
        self.sums = sums
        self.method = method

    @property
    def horizon(self) -> int:
        """Steps ahead."""
        return self.forecaster.horizon

    @property
    def layers(self) -> Any:
        """Number of layers, widths, or `"auto"`: those of the forecaster."""
        return self.forecaster.layers

    def fit(
        self,
        frame: Frame,
        *,
        target: str | None = None,
        time: str | None = None,
        series: str | None = None,
        past: Sequence[str] = (),
        future: Sequence[str] = (),
        frequency: str | int | None = None,
        run: RunFolder | None = None,
    ) -> Self:
        """Learn the series of a table and their totals.

        Args:
            frame: as in `Forecaster.fit`, with the columns of `sums`; without rows of totals.
            target: column to forecast; None takes `y`.
            time: column of times; None takes `ds`, or the only column of times.
            series: column of keys; None takes `unique_id`.
            past: columns of numbers known up to now; a total has the mean of its series.
            future: columns of numbers known ahead as well.
            frequency: the step; None finds it in the times.
            run: folder for checkpoints, resuming, progress bar.

        Returns:
            The forecaster itself.

        Raises:
            DataError: the data cannot be used, or the series do not end at the same time.
            ArgumentError: a column or an option does not exist.
            TrainingError: the loss is not finite.
        """
        hierarchy, table = self._read(
            frame, target=target, time=time, series=series, past=past, future=future, frequency=frequency
        )
        run = check_instance("run", run, RunFolder, owner="fit")
        model = self._fit_nodes(hierarchy, table, run)
        self.projection_ = project(self.method, hierarchy, model.fitted_, table)
        self.hierarchy_, self.model_, self.depth_ = hierarchy, model, model.depth_
        return self

    @property
    def fitted_(self) -> FittedForecast | None:
        """What fitting found for the model of all nodes; None before."""
        return self.model_.fitted_ if hasattr(self, "model_") else None

    def predict(self, frame: Frame | None = None, *, future: Frame | None = None) -> Any:
        """Forecast the steps after the end of each series and total, so that they add up.

        Args:
            frame: the history of the series to forecast from; None goes on from the data of the fit.
            future: the future columns of the series for the next `horizon` steps.

        Returns:
            A frame of the user's kind, as `Forecaster.predict` gives it, the totals first.

        Raises:
            DataError: other series or columns than in the fit, or a future value that is missing.
        """
        self._check_fitted("predict")
        history = None if frame is None else self.with_totals(frame)
        ahead = None if future is None else self.with_totals(future, "future")
        predicted = as_polars(self.model_.predict(history, future=ahead))
        levels = self.model_.fitted_.levels
        columns = {MODEL: len(levels) // 2} | interval_columns(levels)
        names = sorted(columns, key=columns.__getitem__)
        shape = (1, len(self.hierarchy_.nodes), self.horizon, len(names))
        quantiles = predicted.select(names).to_numpy().astype(np.float64).reshape(shape)
        made = self.projection_.coherent(self.hierarchy_.summing, quantiles).reshape(-1, len(names))
        result = predicted.with_columns(pl.Series(name, made[:, place]) for place, name in enumerate(names))
        return result if frame is None else like_input(result, frame)

    def predict_frame(self, data: Frame | None = None, *, future: Frame | None = None) -> pl.DataFrame:
        """Forecast as `predict` does, as a Polars frame whatever the kind of `data`."""
        return as_polars(self.predict(data, future=future))

    def evaluate(self, data: Frame, *, step: int = 1) -> CoherentEvaluation:
        """Score the coherent forecasts on what came after the data of the fit, level by level.

        Args:
            data: history and what followed, of the series.
            step: steps between two origins, 1 or more.

        Raises:
            DataError: no whole horizon lies after the end of the fit.
        """
        self._check_fitted("evaluate")
        check_whole("step", step, owner="evaluate")
        fitted = self.model_.fitted_
        table = read_like_fit(fitted, self.with_totals(data), data)
        first = steps_after(fitted, table)
        return evaluate_coherent(fitted, self.hierarchy_, self.projection_, table, first, step)

    def backtest(
        self,
        frame: Frame,
        *,
        target: str | None = None,
        time: str | None = None,
        series: str | None = None,
        past: Sequence[str] = (),
        future: Sequence[str] = (),
        frequency: str | int | None = None,
        origins: Origins | None = None,
        run: RunFolder | None = None,
    ) -> CoherentEvaluation:
        """Fit a copy on the first part of a table and score it on the rest, from rolling origins.

        Args:
            frame: the table, as in `fit`.
            target: as in `fit`.
            time: as in `fit`.
            series: as in `fit`.
            past: as in `fit`.
            future: as in `fit`.
            frequency: as in `fit`.
            origins: how much is held out (a share is one of the shortest node) and how the origins roll; None
                holds out the last fifth. They cannot refit.
            run: whether to show the progress; a backtest keeps no checkpoints.

        Raises:
            ArgumentError: `origins` asks for refits.
            KeyboardInterrupt: Ctrl-C during the fit; scores of a model that is half trained would mislead.
        """
        origins = check_instance("origins", origins, Origins, owner="backtest")
        if origins.refit:
            raise ArgumentError("refit=True", where="backtest", expected="False for forecasts that add up")
        hierarchy, table = self._read(
            frame, target=target, time=time, series=series, past=past, future=future, frequency=frequency
        )
        lengths = np.diff(table.sequences.offsets)
        shortest = lengths.min(keepdims=True)
        first = lengths - (shortest - origins.first_steps(shortest, self.horizon))
        part = cut_table(table, np.arange(len(lengths)), first)
        copy = self._fit_nodes(hierarchy, part, RunFolder(progress=run.progress if run else None))
        if copy.fitted_.record.stopped_by == "interrupt":
            raise KeyboardInterrupt
        projection = project(self.method, hierarchy, copy.fitted_, part)
        step = origins.step or self.horizon
        return evaluate_coherent(copy.fitted_, hierarchy, projection, table, first, step)

    def with_totals(self, frame: Frame, name: str = "frame") -> pl.DataFrame:
        """Give a table of the series with the rows of every total, as the model of all nodes reads it.

        Args:
            frame: path, or frame, with the columns of the fit.
            name: what messages call it.

        Raises:
            DataError: other series than those of the fit.
        """
        self._check_fitted("with_totals")
        return self.hierarchy_.add_totals(as_polars(frame, name), self.model_.fitted_.tail.columns, name)

    def folded_task(
        self, data: Frame, options: Mapping[str, Any], *, folds: int, measure: str | None = None
    ) -> CoherentFolds:
        """Cut the series and their totals at rolling origins for a study (`gatestack.study_depth`)."""
        from gatestack.tasks.forecast.hierarchy.folded import fold_series

        return fold_series(self, data, options, folds=folds, measure=measure)

    def _fit_nodes(self, hierarchy: Hierarchy, table: SeriesTable, run: RunFolder) -> Forecaster:
        """Fit the model of all nodes; `layers="auto"` is judged by its forecasts when they add up."""
        from gatestack.tasks.forecast.hierarchy.folded import fold_nodes

        model: Forecaster = clone(self.forecaster)  # type: ignore[no-untyped-call]
        return model._fit_table(
            table,
            short_series="error",
            run=run,
            fold=lambda folds: fold_nodes(self, hierarchy, table, folds=folds),
        )

    def _subject(self, data: Any, y: Any, sequences: int) -> Subject:
        return self.model_._subject(self.with_totals(data), y, sequences)

    def _read(self, frame: Frame, **columns: Any) -> tuple[Hierarchy, SeriesTable]:
        """Read the hierarchy, and the table of all nodes."""
        check_choice("method", self.method, METHODS, owner="CoherentForecaster")
        if not isinstance(self.forecaster, Forecaster):
            raise ArgumentError(
                f"the 'forecaster' parameter of CoherentForecaster is {self.forecaster!r}",
                expected="a Forecaster",
            )
        return read_nodes(frame, list(self.sums), columns)

    def _to_data(self) -> tuple[dict[str, Any], Arrays, Arrays]:
        inner, weights, proof = self.model_._to_data()
        parts: Arrays = {
            "summing": self.hierarchy_.summing,
            "matrix": self.projection_.matrix,
            "correlation": self.projection_.correlation,
        }
        model = {
            "parameters": {"sums": list(self.sums), "method": self.method},
            "hierarchy": {"nodes": list(self.hierarchy_.nodes), "levels": list(self.hierarchy_.levels)},
            "forecaster": inner,
        }
        return (
            model,
            {f"forecaster.{name}": array for name, array in weights.items()}
            | {f"hierarchy.{name}": array for name, array in parts.items()},
            {f"forecaster.{name}": array for name, array in proof.items()} | {"coherent": self._proof()},
        )

    @classmethod
    def _from_data(cls, model: dict[str, Any], weights: Arrays, proof: Arrays) -> Self:
        inner = Forecaster._from_data(
            _table_of(model, "forecaster"), part_of(weights, "forecaster"), part_of(proof, "forecaster")
        )
        parameters = read_parameters(model.get("parameters"), ["sums", "method"], {})
        plain: Forecaster = clone(inner)  # type: ignore[no-untyped-call]
        loaded = cls(plain, **parameters)
        parts = part_of(weights, "hierarchy")
        with reading_model():
            names = _table_of(model, "hierarchy")
            nodes, levels = tuple(map(str, names["nodes"])), tuple(map(str, names["levels"]))
            loaded.hierarchy_ = Hierarchy(nodes, levels, parts["summing"])
            loaded.projection_ = Projection(parts["matrix"], parts["correlation"])
            loaded.model_ = inner
            shapes = [part.shape for part in (parts["summing"].T, parts["matrix"], parts["correlation"])]
            wanted = [(len(loaded.hierarchy_.series), len(nodes))] * 2 + [(len(nodes), len(nodes))]
            if shapes != wanted or len(levels) != len(nodes) or inner.fitted_.tail.sequences.keys != nodes:
                raise not_together(f"{len(nodes)} nodes, and arrays of shapes {shapes}")
            check_proof(loaded._proof(), proof["coherent"], "proof.safetensors")
        return loaded

    def _proof(self) -> FloatArray:
        """Make rising numbers add up."""
        shape = (1, len(self.hierarchy_.nodes), 2, 3)
        rising = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
        return self.projection_.coherent(self.hierarchy_.summing, rising)


def _table_of(model: dict[str, Any], name: str) -> dict[str, Any]:
    found = model.get(name)
    if not isinstance(found, dict):
        raise ModelFileError(f"{name} is {type(found).__name__}", where="model.json", expected="an object")
    return found
