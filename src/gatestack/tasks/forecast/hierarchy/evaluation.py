"""Scores of forecasts that add up, level by level, beside the baselines and the model before it added up."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from utilsforecast import losses

from gatestack.data.series_table import SeriesTable
from gatestack.errors import DataError
from gatestack.tasks.evaluation import MODEL, ScoreColumn
from gatestack.tasks.forecast.backtest import errors_from, training_frame
from gatestack.tasks.forecast.evaluation import ErrorTable, ForecastEvaluation, evaluate_forecasts
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.hierarchy.nodes import Hierarchy
from gatestack.tasks.forecast.hierarchy.projection import Projection
from gatestack.tasks.skill import Skill, percent_text, range_text

__all__ = ["INCOHERENT", "CoherentEvaluation", "evaluate_coherent", "taken_together"]

IntArray = npt.NDArray[np.int64]

INCOHERENT = "incoherent"
"""The row of the model before its forecasts were made to add up."""


@dataclass(frozen=True)
class CoherentEvaluation(ForecastEvaluation):
    """How well forecasts that add up did, as a `ForecastEvaluation` of all nodes.

    `scores` has a row `incoherent` more, the model before its forecasts were made to add up, and a column
    `mase-<level>` for each level of the hierarchy.

    Attributes:
        levels: names of the levels, coarse to fine.
        against_incoherent: how much lower the error is than before the forecasts were made to add up.

    Example:
        >>> from gatestack.tasks.forecast import CoherentForecaster, Forecaster
        >>> walks = np.random.default_rng(0).normal(size=(60, 2)).cumsum(axis=0)
        >>> wide = pl.DataFrame(walks, schema=["a", "b"]).with_row_index("ds")
        >>> frame = wide.unpivot(index="ds", variable_name="unique_id", value_name="y")
        >>> found = CoherentForecaster(Forecaster(2, hidden_size=4, max_steps=5, window=8)).backtest(frame)
        >>> found.levels
        ('total', 'unique_id')
        >>> [name for name in found.scores.columns if name.startswith("mase-")]
        ['mase-total', 'mase-unique_id']
    """

    levels: tuple[str, ...]
    against_incoherent: Skill

    @property
    def columns(self) -> dict[str, ScoreColumn]:
        """The scaled errors of all nodes and of each level, and the scores of the distribution."""
        shown = super().columns
        by_level = {
            f"mase-{level}": ScoreColumn(
                level, f"MASE of the nodes of the level {level}, their mean absolute scaled error"
            )
            for level in self.levels
        }
        rest = {
            name: column for name, column in shown.items() if name not in ("mase", "mae", "rmse", "smape")
        }
        return {"mase": shown["mase"]} | by_level | rest

    def to_dict(self) -> dict[str, Any]:
        """Give everything but the forecasts as JSON values."""
        return super().to_dict() | {"against_incoherent": self.against_incoherent.to_dict()}


def evaluate_coherent(
    fitted: FittedForecast,
    hierarchy: Hierarchy,
    projection: Projection,
    table: SeriesTable,
    first: IntArray,
    step: int,
) -> CoherentEvaluation:
    """Forecast the steps of a table from `first` on, make the forecasts add up, and score them.

    Origins at which a node has not begun yet are left out: there is nothing to add up.

    Args:
        fitted: the model of all nodes.
        hierarchy: the nodes, in the order of the table.
        projection: what makes their forecasts add up.
        table: all nodes.
        first: (nodes,) the first step of each that the fit did not see.
        step: steps between two origins.
    """
    errors = taken_together(errors_from(fitted, table, first, step), len(hierarchy.nodes))
    shape = (len(hierarchy.nodes), -1, *errors.quantiles.shape[1:])
    base = errors.quantiles.reshape(shape).swapaxes(0, 1)  # (origins, nodes, horizon, quantiles)
    made = projection.coherent(hierarchy.summing, base)
    coherent = replace(errors, quantiles=made.swapaxes(0, 1).reshape(errors.quantiles.shape))
    beside = replace(coherent, baselines=coherent.baselines | {INCOHERENT: errors.points[MODEL]})
    training, season = training_frame(table, first), fitted.season or 1
    before, plain, full = (
        evaluate_forecasts(part, training, season=season, step=step) for part in (errors, coherent, beside)
    )
    skill = full.skill[INCOHERENT]
    # Before, too, the model had intervals: it is no baseline, which has only points.
    own = before.scores.head(1).with_columns(model=pl.lit(INCOHERENT))
    scores = pl.concat([plain.scores, own])
    levels = tuple(dict.fromkeys(hierarchy.levels))
    kept = {field.name: getattr(plain, field.name) for field in fields(ForecastEvaluation)}
    kept |= {
        "forecasts": full.forecasts,
        "by_step": full.by_step,
        "scores": _with_levels(scores, full.forecasts, hierarchy, training, season),
        "sentence": f"{plain.sentence} {_sentence(skill)}",
    }
    return CoherentEvaluation(**kept, levels=levels, against_incoherent=skill)


def taken_together(errors: ErrorTable, nodes: int) -> ErrorTable:
    """Take the forecasts that were made at one time for all nodes, node by node, each in order of time.

    Raises:
        DataError: there are none.
    """
    made = pl.DataFrame(
        {
            "row": errors.rows,
            "cutoff": errors.cutoffs.gather_every(errors.horizon),
            "place": np.arange(len(errors.rows)),
        }
    )
    whole = made.sort("cutoff", "row").filter(pl.len().over("cutoff") == nodes)
    if not whole.height:
        raise DataError(
            "there is no time at which every series is forecast",
            where="sums",
            expected="series that have begun and end together",
        )
    order = whole["place"].to_numpy().reshape(-1, nodes).T.reshape(-1)
    by_step = (order[:, None] * errors.horizon + np.arange(errors.horizon)).reshape(-1)
    return replace(
        errors,
        rows=errors.rows[order],
        positions=errors.positions[order],
        truth=errors.truth[order],
        quantiles=errors.quantiles[order],
        baselines={name: values[order] for name, values in errors.baselines.items()},
        times=errors.times.gather(by_step),
        cutoffs=errors.cutoffs.gather(by_step),
    )


def _with_levels(
    scores: pl.DataFrame,
    forecasts: pl.DataFrame,
    hierarchy: Hierarchy,
    training: pl.DataFrame,
    season: int,
) -> pl.DataFrame:
    """Add the mean absolute scaled error of each level to the scores."""
    models = scores["model"].to_list()
    by_node = losses.mase(forecasts.drop("cutoff"), models, season, training)
    levels = pl.DataFrame({"unique_id": hierarchy.nodes, "level": hierarchy.levels})
    means = (
        levels.join(by_node, on="unique_id", how="left", maintain_order="left")
        .group_by("level", maintain_order=True)
        .agg(pl.col(name).filter(pl.col(name).is_finite()).mean() for name in models)
    )
    columns = {f"mase-{row['level']}": [row[name] for name in models] for row in means.iter_rows(named=True)}
    return scores.with_columns(pl.Series(name, values) for name, values in columns.items())


def _sentence(skill: Skill) -> str:
    text = f"Adding up makes the error {percent_text(skill.value)}"
    if skill.low is None or skill.high is None:
        return f"{text}; there are too few origins for an interval."
    return f"{text} (95 % interval: {range_text(skill.low, skill.high)})."
