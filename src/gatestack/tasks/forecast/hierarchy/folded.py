"""A forecaster whose forecasts add up, with its series cut at rolling origins, for studies.

What is compared is the score of the forecasts after they were made to add up. The projection is part of the
fit: that of a fold knows the errors before its block alone. Plain answers are made to add up in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.data.frames import Frame
from gatestack.data.series_cut import cut_table
from gatestack.data.series_table import SeriesTable
from gatestack.study.folded_task import Measure
from gatestack.tasks.folding import check_options, digest_of, measure_of
from gatestack.tasks.forecast.evaluation import COLUMNS, ErrorTable, ForecastEvaluation
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.folded import ForecastFolds
from gatestack.tasks.forecast.hierarchy.evaluation import evaluate_coherent, taken_together
from gatestack.tasks.forecast.hierarchy.fitting import MOST_ORIGINS, project
from gatestack.tasks.forecast.hierarchy.nodes import Hierarchy
from gatestack.tasks.forecast.hierarchy.projection import fit_projection
from gatestack.tasks.forecast.plan import make_plan

__all__ = ["CoherentFolds", "fold_nodes", "fold_series"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_OPTIONS = ("target", "time", "series", "past", "future", "frequency")


class CoherentFolds(ForecastFolds):
    """The folded task of `CoherentForecaster`.

    Args:
        estimator: the coherent forecaster.
        hierarchy: the nodes.
        table: all nodes.
        folds: 2 or more.
        measure: what is compared, over all nodes.

    Raises:
        DataError: no block is as long as a horizon.
    """

    def __init__(
        self,
        estimator: Any,
        hierarchy: Hierarchy,
        table: SeriesTable,
        folds: int,
        measure: Measure,
    ) -> None:
        inner = estimator.forecaster
        single = type(inner)(**inner._parameters() | {"layers": 1})
        make_plan(single._parameters(), table)  # wrong arguments are found before the first fit
        super().__init__(single, table, "error", folds, measure)
        self.hierarchy, self.method = hierarchy, estimator.method
        self.identity = {
            **self.identity,
            "kind": estimator.kind,
            "method": estimator.method,
            "sums": digest_of(hierarchy.summing),
        }

    def _first_part(self, lengths: IntArray, share: float) -> IntArray:
        """Cut all nodes at one time, that of the share of the shortest: only then do they add up."""
        first: IntArray = lengths - lengths.min() + int(np.floor(share * lengths.min()))
        return first

    def _evaluation_of(
        self, fitted: FittedForecast, fold: int
    ) -> Callable[[SeriesTable, IntArray], ForecastEvaluation]:
        projection = project(self.method, self.hierarchy, fitted, self._before(fold))
        return partial(
            evaluate_coherent, fitted, self.hierarchy, projection, step=int(self.estimator.horizon)
        )

    def _plain_errors(
        self,
        answer: Callable[[SeriesTable, IntArray, int], ErrorTable],
        fold: int,
        held: SeriesTable,
        first: IntArray,
    ) -> ErrorTable:
        nodes, summing = len(self.hierarchy.nodes), self.hierarchy.summing
        errors = taken_together(answer(held, first, int(self.estimator.horizon)), nodes)
        before = self._before(fold)
        most = min(MOST_ORIGINS, int(self.ends[fold].min()) - 1)
        past = taken_together(answer(before, self.ends[fold] - most, 1), nodes)
        truth = past.truth[:, 0].reshape(nodes, -1)
        made = {}
        for name, forecast in errors.baselines.items():
            ahead = forecast.reshape(nodes, -1, errors.horizon).swapaxes(0, 1)  # (origins, nodes, horizon)
            if not _adds_up(self.hierarchy, ahead):
                ago = past.baselines[name][:, 0].reshape(nodes, -1)
                projection = fit_projection(self.method, summing, truth, ago)
                ahead = projection.coherent(summing, ahead[..., None])[..., 0]
            made[name] = ahead.swapaxes(0, 1).reshape(forecast.shape)
        return replace(errors, baselines=made)

    def _before(self, fold: int) -> SeriesTable:
        """Give all nodes up to the beginning of a block."""
        return cut_table(self.table, np.arange(self.ends.shape[1]), self.ends[fold])


def _adds_up(hierarchy: Hierarchy, forecast: FloatArray) -> bool:
    """Tell whether (origins, nodes, horizon) add up as they are, as the last values of all nodes do."""
    series = forecast[:, len(hierarchy.nodes) - len(hierarchy.series) :]
    return np.allclose(np.einsum("ns,osh->onh", hierarchy.summing, series), forecast)


def fold_series(
    estimator: Any,
    frame: Frame,
    options: Mapping[str, Any],
    *,
    folds: int,
    measure: str | None,
) -> CoherentFolds:
    """Cut a table of series, and their totals, at rolling origins; see `Estimator.folded_task`."""
    given = check_options(options, _OPTIONS, type(estimator).__name__)
    return fold_nodes(estimator, *estimator._read(frame, **given), folds=folds, measure=measure)


def fold_nodes(
    estimator: Any,
    hierarchy: Hierarchy,
    table: SeriesTable,
    *,
    folds: int,
    measure: str | None = None,
) -> CoherentFolds:
    """Cut the nodes of a fit at rolling origins."""
    return CoherentFolds(estimator, hierarchy, table, folds, measure_of(COLUMNS, measure, usual="mase"))
