"""What a detector says about a table, as a table; and beside the baselines."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.series_table import SeriesTable
from gatestack.tasks.detect.baselines import BaselineTask, baseline_statistics, scored_by_rule
from gatestack.tasks.detect.evaluation import DetectionEvaluation, ScoredSeries, evaluate_detection
from gatestack.tasks.detect.explanation import explain, rarity
from gatestack.tasks.detect.fitted import FittedDetector, values_of
from gatestack.tasks.detect.reading import NoTruthError
from gatestack.tasks.evaluation import MODEL

__all__ = ["detection_frame", "score_beside_baselines"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def detection_frame(fitted: FittedDetector, table: SeriesTable) -> pl.DataFrame:
    """Score a table; see `AnomalyDetector.predict`."""
    found, _ = fitted.run_table(table)
    values, names = values_of(table), fitted.channels
    expected = np.concatenate([part.expected for part in found])
    score, channel, kind, above, alarm = (
        np.concatenate([getattr(part.scored, name) for part in found])
        for name in ("score", "channel", "kind", "above", "alarm")
    )
    columns = _keys(table)
    columns |= {name: pl.Series(values[:, place]).fill_nan(None) for place, name in enumerate(names)}
    for place, name in enumerate(names):
        title = "expected" if len(names) == 1 else f"expected-{name}"
        columns[title] = pl.Series(expected[:, place]).fill_nan(None)
    raised = np.flatnonzero(alarm)
    reasons: list[str | None] = [None] * len(score)
    channels: list[str | None] = [None] * len(score)
    for step in raised.tolist():
        rare = rarity(float(score[step]), fitted.frequency)
        channels[step] = names[channel[step]]
        reasons[step] = explain(
            names, values[step], expected[step], int(channel[step]), int(kind[step]), rare
        )
    columns |= {
        "score": pl.Series(score).fill_nan(None),
        "anomalous": pl.Series(above),
        "alarm": pl.Series(alarm),
        "channel": pl.Series(channels, dtype=pl.String),
        "explanation": pl.Series(reasons, dtype=pl.String),
    }
    return pl.DataFrame(columns)


def _keys(table: SeriesTable) -> dict[str, pl.Series]:
    columns = table.columns
    times = {columns.time: table.time_kind.to_series(table.times, columns.time)}
    if columns.series is None:
        return times
    rows = np.repeat(np.arange(len(table.series_keys)), np.diff(table.sequences.offsets))
    return {columns.series: table.series_keys.gather(rows)} | times


def score_beside_baselines(
    fitted: FittedDetector, table: SeriesTable, truth: BoolArray, *, seed: int
) -> DetectionEvaluation:
    """Score detector and baselines on the steps after the training part; see `AnomalyDetector.evaluate`.

    Args:
        fitted: what fitting found.
        table: read by `read_like_fit`.
        truth: (steps,) of all series.
        seed: of the forest.
    """
    found, _ = fitted.run_table(table)
    values, offsets = values_of(table), table.sequences.offsets
    window = fitted.network.shape.window
    season = min((length for length in fitted.frequency.seasons()), default=1)
    scored = []
    for number, key in enumerate(table.sequences.keys or ()):
        own = slice(int(offsets[number]), int(offsets[number + 1]))
        first = int((table.times[own] <= fitted.ends[fitted.series.row(key, table.source)]).sum())
        models = {
            MODEL: (
                np.nan_to_num(found[number].scored.score),
                found[number].scored.above,
                found[number].scored.alarm,
            )
        }
        if first >= len(truth[own]):
            continue
        # Without history in the table the baselines learn from its first tenth; it is scored all the same.
        end = first if first > window else max(len(truth[own]) // 10, min(window, len(truth[own])))
        task = BaselineTask(values[own], end, window, season if 2 * season < end else 1, seed)
        for name, unusual in baseline_statistics(task).items():
            models[name] = scored_by_rule(unusual, end, fitted.rule)
        scored.append(ScoredSeries(truth[own], first, models))
    if not any(part.truth[part.first :].any() for part in scored):
        raise NoTruthError(
            "there is no anomaly after the training part",
            where=table.source,
            expected="labelled steps that the fit did not learn from",
            hint="fit with a smaller train=, or score later data",
        )
    return evaluate_detection(scored, window=window)
