"""Scores of a forecaster beside its baselines, and what they say in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from utilsforecast import losses

from gatestack.tasks.evaluation import MODEL, Evaluation, ScoreColumn
from gatestack.tasks.forecast.checks.copying import Copying, find_copying
from gatestack.tasks.forecast.intervals.scores import interval_scores, interval_sentence
from gatestack.tasks.skill import Skill, compare, skill_sentence

__all__ = ["ErrorTable", "ForecastEvaluation", "evaluate_forecasts", "interval_columns"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ErrorTable:
    """Forecasts from R origins of some series, with what came true.

    Attributes:
        rows, positions: (R,) series and step of each origin.
        keys: name of each series.
        truth: (R, horizon), NaN where missing.
        quantiles: (R, horizon, quantiles) of the model; the middle one is its point forecast.
        levels: of the quantiles.
        baselines: name → (R, horizon).
        times, cutoffs: (R, horizon) and (R,) time stamps, as columns of a frame.
    """

    rows: IntArray
    positions: IntArray
    keys: tuple[str, ...]
    truth: FloatArray
    quantiles: FloatArray
    levels: tuple[float, ...]
    baselines: dict[str, FloatArray]
    times: pl.Series
    cutoffs: pl.Series

    @property
    def horizon(self) -> int:
        """Steps ahead."""
        return int(self.truth.shape[1])

    @property
    def points(self) -> dict[str, FloatArray]:
        """Point forecasts of the model and of each baseline, (R, horizon)."""
        return {MODEL: self.quantiles[..., len(self.levels) // 2]} | self.baselines

    def frame(self, *, series: str = "unique_id", time: str = "ds", target: str = "y") -> pl.DataFrame:
        """Give one row per origin and step: key, time, cutoff, truth, forecasts, bounds of the intervals."""
        rows = self.rows.repeat(self.horizon)
        columns = {
            series: pl.Series(self.keys, dtype=pl.String).gather(rows),
            time: self.times,
            "cutoff": self.cutoffs,
            target: pl.Series(self.truth.reshape(-1)).fill_nan(None),
            MODEL: pl.Series(self.points[MODEL].reshape(-1)),
        }
        for name, index in interval_columns(self.levels).items():
            columns[name] = pl.Series(self.quantiles[..., index].reshape(-1))
        columns |= {name: pl.Series(point.reshape(-1)) for name, point in self.baselines.items()}
        return pl.DataFrame(columns)


COLUMNS = {
    "mase": ScoreColumn("MASE", "mean absolute error, divided by that of the naive forecast in training"),
    "mae": ScoreColumn("MAE", "mean absolute error, in the unit of the target"),
    "rmse": ScoreColumn("RMSE", "root of the mean squared error, in the unit of the target"),
    "smape": ScoreColumn("sMAPE", "symmetric mean absolute percentage error, 0 to 1"),
    "scaled_crps": ScoreColumn(
        "sCRPS", "scaled continuous ranked probability score: error of the whole distribution"
    ),
}


@dataclass(frozen=True)
class ForecastEvaluation(Evaluation):
    """How well the model forecast, beside its baselines, on the same origins.

    Attributes:
        forecasts: one row per origin and step, with truth, model, intervals and baselines.
        scores: one row per model: `mae`, `rmse`, `smape`, `mase`, `scaled_crps`, `coverage-…`; means over the
            series.
        intervals: one row per interval: `level`, `coverage`, `width`, both also at the first and at the last
            step ahead.
        by_step: `step` and the mean absolute error of each model at that step ahead.
        skill: for each baseline, how much lower the model's mean absolute scaled error is.
        copying: whether the forecast is the last value in disguise.
        sentence: the result in words, with a sentence where the forecast is a copy, and one on the intervals.
        origins: number of origins.
        horizon: steps ahead.

    Example:
        >>> from gatestack.tasks.forecast import Forecaster
        >>> frame = pl.DataFrame({"ds": range(60), "y": [float(step % 5) for step in range(60)]})
        >>> result = Forecaster(horizon=2, hidden_size=4, max_steps=5, season=5).backtest(frame)
        >>> result.scores["model"].to_list()
        ['gatestack', 'last_value', 'seasonal_naive', 'drift', 'linear']
        >>> result.by_step["step"].to_list()
        [1, 2]
    """

    forecasts: pl.DataFrame
    scores: pl.DataFrame
    intervals: pl.DataFrame
    by_step: pl.DataFrame
    skill: dict[str, Skill]
    copying: Copying
    sentence: str
    origins: int
    horizon: int

    @property
    def columns(self) -> dict[str, ScoreColumn]:
        """The errors, and how often the truth lay inside each interval."""
        inside = {
            name: ScoreColumn(
                f"in {name.removeprefix('coverage-')} %",
                "how often the truth lay inside the interval of this level",
                better=None,
                percent=True,
            )
            for name in self.scores.columns
            if name.startswith("coverage-")
        }
        return COLUMNS | inside

    @property
    def extent(self) -> str:
        """Origins, and steps ahead."""
        return f"{self.origins} origins, {self.horizon} steps ahead"

    def to_dict(self) -> dict[str, Any]:
        """Give everything but the forecasts as JSON values."""
        return {
            "origins": self.origins,
            "scores": self.scores.to_dicts(),
            "intervals": self.intervals.to_dicts(),
            "by_step": self.by_step.to_dicts(),
            "skill": {name: skill.to_dict() for name, skill in self.skill.items()},
            "copying": self.copying.to_dict(),
            "sentence": self.sentence,
        }


def interval_columns(levels: tuple[float, ...]) -> dict[str, int]:
    """Name the bounds of the central intervals in Nixtla's manner, narrowest first.

    Returns:
        Column name → index of the quantile.

    Example:
        >>> interval_columns((0.1, 0.5, 0.9))
        {'gatestack-lo-80': 0, 'gatestack-hi-80': 2}
    """
    count = len(levels)
    names: dict[str, int] = {}
    for low in reversed(range(count // 2)):
        percent = f"{round(100 * (levels[count - 1 - low] - levels[low]), 6):.10g}"
        names |= {f"{MODEL}-lo-{percent}": low, f"{MODEL}-hi-{percent}": count - 1 - low}
    return names


def evaluate_forecasts(
    errors: ErrorTable, training: pl.DataFrame, *, season: int, step: int
) -> ForecastEvaluation:
    """Score forecasts.

    Args:
        errors: forecasts and truth; steps without truth are left out.
        training: `unique_id`, `ds`, `y` of the steps before the first origin, for the scale of MASE.
        season: of the naive forecast in the denominator of MASE; 1 for none.
        step: steps between origins, for the blocks of the bootstrap.
    """
    points = errors.points
    known = errors.frame().drop_nulls("y")
    by_step = {name: _mean_by_step(point - errors.truth) for name, point in points.items()}
    scores = _scores(known, list(points), errors.levels, training, season)
    skill = compare(
        {name: np.abs(point - errors.truth) for name, point in points.items()},
        rows=errors.rows,
        scale=_naive_scale(errors.keys, training, season),
        model=MODEL,
        block=-(-errors.horizon // step),
    )
    copying = find_copying(
        points.pop(MODEL),
        errors.truth,
        points.pop("last_value")[:, 0],
        rows=errors.rows,
        block=-(-errors.horizon // step),
        others=points,
    )
    intervals = interval_scores(errors.quantiles, errors.truth, errors.rows, errors.levels)
    sentences = [
        skill_sentence(skill, len(errors.rows)),
        copying.sentence if copying.copies else "",
        interval_sentence(intervals, errors.horizon),
    ]
    return ForecastEvaluation(
        forecasts=known,
        scores=scores,
        intervals=intervals,
        by_step=pl.DataFrame({"step": np.arange(1, errors.horizon + 1)} | by_step),
        skill=skill,
        copying=copying,
        sentence=" ".join(filter(None, sentences)),
        origins=len(errors.rows),
        horizon=errors.horizon,
    )


def _mean_by_step(error: FloatArray) -> FloatArray:
    known = np.isfinite(error)
    mean: FloatArray = np.where(known, np.abs(error), 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return mean


def _scores(
    known: pl.DataFrame, names: list[str], levels: tuple[float, ...], training: pl.DataFrame, season: int
) -> pl.DataFrame:
    """Give one row per model; each score is the mean over the series."""
    plain = known.drop("cutoff")
    tables = {
        "mae": losses.mae(plain, names),
        "rmse": losses.rmse(plain, names),
        "smape": losses.smape(plain, names),
        "mase": losses.mase(plain, names, season, training),
        "scaled_crps": _scaled_crps(plain, names, levels),
    }
    scores: dict[str, list[float | None]] = {
        metric: [_mean_over_series(table[name]) for name in names] for metric, table in tables.items()
    }
    for name in interval_columns(levels):
        if "-lo-" in name:
            percent = name.rsplit("-", 1)[1]
            inside = losses.coverage(plain, [MODEL], percent)[MODEL]  # type: ignore[arg-type]
            scores[f"coverage-{percent}"] = [_mean_over_series(inside), *[None] * (len(names) - 1)]
    return pl.DataFrame({"model": names} | scores)


def _scaled_crps(plain: pl.DataFrame, names: list[str], levels: tuple[float, ...]) -> pl.DataFrame:
    """Score the quantiles; a baseline has one value for all of them."""
    own = [""] * len(levels)
    own[len(levels) // 2] = MODEL
    for name, index in interval_columns(levels).items():
        own[index] = name
    columns = {name: own if name == MODEL else [name] * len(levels) for name in names}
    return losses.scaled_crps(plain, columns, np.array(levels))


def _mean_over_series(score: pl.Series) -> float | None:
    """Average; a series on which a score is not defined (a constant one for MASE, say) is left out."""
    finite = score.filter(score.is_finite())
    return float(finite.mean()) if len(finite) else None  # type: ignore[arg-type]


def _naive_scale(keys: tuple[str, ...], training: pl.DataFrame, season: int) -> FloatArray:
    """Give the mean absolute error of the naive forecast in the training part of each series, (series,)."""
    change = pl.col("y").diff(season).abs().mean()
    scales = dict(training.group_by("unique_id").agg(change).iter_rows())
    found = np.array([scales.get(key) or 0.0 for key in keys], dtype=np.float64)
    # A series that is constant in training counts in its own unit.
    return np.where(found > 0, found, 1.0)
