"""Scores of a detector beside its baselines, on steps that the fit did not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.tasks.detect.nab_score import PROFILES, NabResult, nab_score, score_file
from gatestack.tasks.detect.range_scores import range_precision, range_recall, ranges_of, vus_pr
from gatestack.tasks.evaluation import MODEL, Evaluation, ScoreColumn

__all__ = ["DetectionEvaluation", "ScoredSeries", "evaluate_detection"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_BUFFERS = 25
_COLUMNS = {
    "nab": ScoreColumn(
        "NAB", "score of the Numenta benchmark: 0 for silence, 100 for early alarms only", better="higher"
    ),
    "nab_few_false_alarms": ScoreColumn(
        "NAB, few false alarms", "the same, where a false alarm costs double", better="higher"
    ),
    "nab_few_misses": ScoreColumn("NAB, few misses", "the same, where a miss costs double", better="higher"),
    "precision": ScoreColumn(
        "precision", "share of the steps called anomalous that are", better="higher", percent=True
    ),
    "recall": ScoreColumn(
        "recall", "share of the anomalous steps that were called so", better="higher", percent=True
    ),
    "range_precision": ScoreColumn(
        "range precision",
        "precision of whole runs of steps (Tatbul et al. 2018)",
        better="higher",
        percent=True,
    ),
    "range_recall": ScoreColumn(
        "range recall", "recall of whole anomalies (Tatbul et al. 2018)", better="higher", percent=True
    ),
    "vus_pr": ScoreColumn(
        "VUS-PR", "volume under the precision-recall surface: no threshold, 0 to 1", better="higher"
    ),
    "found": ScoreColumn("found", "anomalies with an alarm within them", better="higher"),
    "false_alarms": ScoreColumn("false alarms", "alarms outside all anomalies", better="lower"),
}


@dataclass(frozen=True)
class ScoredSeries:
    """One series, as every model sees it.

    Attributes:
        truth: (T,) True within anomalies.
        first: the first step that is scored.
        models: name → scores (T,), anomalous steps (T,), alarms (T,).
    """

    truth: BoolArray
    first: int
    models: dict[str, tuple[FloatArray, BoolArray, BoolArray]]


@dataclass(frozen=True)
class DetectionEvaluation(Evaluation):
    """How well anomalies were found, beside the baselines, on the same steps and by the same rule of alarms.

    Attributes:
        scores: one row per model: NAB's score in three profiles, precision and recall of steps and of ranges,
            VUS-PR, anomalies found, false alarms.
        sentence: the result in words.
        steps: number of steps scored.
        anomalies: number of anomalies among them.

    Example:
        >>> import polars as pl
        >>> from gatestack.tasks.detect import AnomalyDetector
        >>> usual = pl.DataFrame({"ds": range(200), "y": [float(step % 5) for step in range(200)]})
        >>> detector = AnomalyDetector(hidden_size=4, window=8, max_steps=5).fit(usual)
        >>> later = usual.with_columns(pl.col("ds") + 200)
        >>> later[100, "y"] = 40.0
        >>> detector.evaluate(later, windows=[(290, 310)]).scores["model"].to_list()
        ['gatestack', 'moving_z_score', 'seasonal_residual', 'isolation_forest']
    """

    scores: pl.DataFrame
    sentence: str
    steps: int
    anomalies: int

    @property
    def columns(self) -> dict[str, ScoreColumn]:
        """NAB's score, precision and recall, VUS-PR."""
        return _COLUMNS

    @property
    def extent(self) -> str:
        """Steps and anomalies."""
        return f"{self.steps:,} steps, {self.anomalies} anomal{'y' if self.anomalies == 1 else 'ies'}"

    def to_dict(self) -> dict[str, Any]:
        """Give scores and sentence as JSON values."""
        return {
            "steps": self.steps,
            "anomalies": self.anomalies,
            "scores": self.scores.to_dicts(),
            "sentence": self.sentence,
        }


def evaluate_detection(series: Sequence[ScoredSeries], *, window: int) -> DetectionEvaluation:
    """Score every model.

    Args:
        series: at least one with an anomaly.
        window: largest buffer of the surface, in steps.
    """
    names = list(series[0].models)
    rows = [{"model": name} | _row(series, name, window) for name in names]
    anomalies = sum(len(ranges_of(part.truth[part.first :])) for part in series)
    steps = sum(len(part.truth) - part.first for part in series)
    scores = pl.DataFrame(rows, infer_schema_length=None).fill_nan(None)
    return DetectionEvaluation(scores, _sentence(rows, anomalies), steps, anomalies)


def _row(series: Sequence[ScoredSeries], name: str, window: int) -> dict[str, Any]:
    results: dict[str, list[NabResult]] = {profile: [] for profile in PROFILES}
    truth: list[BoolArray] = []
    above: list[BoolArray] = []
    volumes: list[float] = []
    for part in series:
        scores, called, alarms = part.models[name]
        own = part.truth[part.first :]
        windows = ranges_of(own)
        for profile, costs in PROFILES.items():
            results[profile].append(score_file(alarms[part.first :], windows, costs, probation=0))
        # A step apart: the end of one series and the start of the next are no range.
        truth.append(np.append(own, False))
        above.append(np.append(called[part.first :], False))
        if own.any():
            known = np.nan_to_num(scores[part.first :], nan=0.0)
            buffers = np.unique(np.linspace(0, window, _BUFFERS).astype(np.int64))
            volumes.append(vus_pr(own, known, buffers=buffers))
    all_truth, all_above = np.concatenate(truth), np.concatenate(above)
    hits = int((all_truth & all_above).sum())
    standard = results["standard"]
    return {
        "nab": nab_score(standard, PROFILES["standard"]),
        "nab_few_false_alarms": nab_score(results["few_false_alarms"], PROFILES["few_false_alarms"]),
        "nab_few_misses": nab_score(results["few_misses"], PROFILES["few_misses"]),
        "precision": hits / int(all_above.sum()) if all_above.any() else float("nan"),
        "recall": hits / int(all_truth.sum()),
        "range_precision": range_precision(all_truth, all_above),
        "range_recall": range_recall(all_truth, all_above),
        "vus_pr": float(np.mean(volumes)),
        "found": sum(result.hits for result in standard),
        "false_alarms": sum(result.false_alarms for result in standard),
    }


def _sentence(rows: list[dict[str, Any]], anomalies: int) -> str:
    own = next(row for row in rows if row["model"] == MODEL)
    others = [row for row in rows if row["model"] != MODEL]
    best = max(others, key=lambda row: float(row["nab"]))
    better = "above" if own["nab"] > best["nab"] else "not above"
    return (
        f"{own['found']} of {anomalies} anomalies found with {own['false_alarms']} false alarms; NAB score "
        f"{own['nab']:.1f}, {better} the best baseline ({best['model']}: {best['nab']:.1f}). With so few "
        f"anomalies a difference of one is often chance."
    )
