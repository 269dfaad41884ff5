"""Files of the Numenta benchmark, what other detectors said about them, and how all of them are scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.tasks.detect.alarms import events_of
from gatestack.tasks.detect.nab_score import PROFILES, nab_score, probation_steps, score_file
from gatestack.tasks.detect.range_scores import vus_pr

__all__ = ["PUBLISHED", "File", "Found", "published_rows", "read_files", "score"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

PUBLISHED = {
    "numenta": "Numenta HTM",
    "contextOSE": "CAD OSE",
    "knncad": "KNN-CAD",
    "randomCutForest": "random cut forest",
    "relativeEntropy": "relative entropy",
    "windowedGaussian": "windowed Gaussian",
    "twitterADVec": "Twitter ADVec",
    "skyline": "Etsy Skyline",
    "bayesChangePt": "Bayesian changepoint",
}
"""Detectors whose scores of every row stand in the benchmark's repository: folder → name."""

# In the repository's files the profiles have other names.
_PROFILE_NAMES = {
    "standard": "standard",
    "few_false_alarms": "reward_low_FP_rate",
    "few_misses": "reward_low_FN_rate",
}


@dataclass(frozen=True)
class File:
    """One file, row by row as the benchmark scores it.

    Attributes:
        frame: `timestamp`, `value`; each row one step after the row before it, since the benchmark counts
            rows: three files repeat an hour where a clock was changed.
        windows: first and last row of each labelled window.
        probation: rows that are not scored.
    """

    name: str
    frame: pl.DataFrame
    windows: list[tuple[int, int]]
    probation: int


@dataclass(frozen=True)
class Found:
    """What a detector says about the rows of a file: scores, anomalous rows, alarms; each (rows,)."""

    scores: FloatArray
    above: BoolArray
    alarms: BoolArray


def read_files(root: Path) -> list[File]:
    """Read all files below a folder with `data/` and `labels/`."""
    labels = json.loads((root / "labels" / "combined_windows.json").read_text(encoding="utf-8"))
    names = sorted(path.relative_to(root / "data").as_posix() for path in root.glob("data/*/*.csv"))
    return [_read_file(root, name, labels[name]) for name in names]


def _read_file(root: Path, name: str, labels: list[list[str]]) -> File:
    frame = pl.read_csv(root / "data" / name, try_parse_dates=True)
    times = frame["timestamp"].to_numpy().astype("datetime64[us]")
    inside = [
        (times >= np.datetime64(first, "us")) & (times <= np.datetime64(last, "us")) for first, last in labels
    ]
    windows = [(int(np.flatnonzero(rows)[0]), int(np.flatnonzero(rows)[-1])) for rows in inside]
    even = times[0] + np.arange(len(times)) * np.median(np.diff(times))
    return File(name, frame.with_columns(timestamp=even), windows, probation_steps(len(times)))


def score(
    files: list[File], found: list[Found], *, quiet: int, alarms: dict[str, list[BoolArray]] | None = None
) -> dict[str, float]:
    """Score a detector.

    Args:
        files: of the corpus.
        found: what it says about each.
        quiet: anomalous rows less than so many rows apart are one event, for the column of events.
        alarms: profile → alarms of each file, where they differ by profile; None takes those of `found`.
    """
    raised = alarms or {profile: [part.alarms for part in found] for profile in PROFILES}
    row: dict[str, float] = {profile: corpus_score(files, raised[profile], profile) for profile in PROFILES}
    levels = _levels(files, found)
    for how, apart in (("events", quiet), ("every_step", 1)):
        tried = [[events_of(part.scores >= level, apart) for part in found] for level in levels]
        for profile in PROFILES:
            row[f"{profile}_best_{how}"] = max(corpus_score(files, one, profile) for one in tried)
    standard = [
        score_file(one, file.windows, PROFILES["standard"])
        for file, one in zip(files, raised["standard"], strict=True)
    ]
    row["found"] = sum(result.hits for result in standard)
    row["false_alarms"] = sum(result.false_alarms for result in standard)
    row["vus_pr"] = float(
        np.mean([_volume(*pair) for pair in zip(files, found, strict=True) if pair[0].windows])
    )
    return row


def corpus_score(files: list[File], alarms: list[BoolArray], profile: str) -> float:
    """NAB's score of a corpus, in one profile."""
    costs = PROFILES[profile]
    return nab_score(
        [score_file(raised, file.windows, costs) for file, raised in zip(files, alarms, strict=True)], costs
    )


def _levels(files: list[File], found: list[Found]) -> FloatArray:
    """Thresholds to try: those that one row to a tenth of all rows reach, and one that none reaches."""
    scores = np.sort(
        np.concatenate([part.scores[file.probation :] for file, part in zip(files, found, strict=True)])
    )
    ranks = np.unique(np.geomspace(1, len(scores) // 10, 60).astype(np.int64))
    return np.unique(np.append(scores[-ranks], np.inf))


def _volume(file: File, found: Found) -> float:
    truth = np.zeros(file.frame.height, dtype=bool)
    for first, last in file.windows:
        truth[first : last + 1] = True
    part = slice(file.probation, None)
    return vus_pr(truth[part], found.scores[part], buffers=np.arange(0, 49, 8))


def published_rows(
    files: list[File], repository: Path, *, quiet: int, say: Callable[..., None]
) -> dict[str, dict[str, Any]]:
    """Score what the benchmark's repository holds of other detectors, and check our scoring against its own.

    Args:
        files: of the corpus.
        repository: a checkout, with `results/` and `config/thresholds.json`.
        quiet: as in `score`.
        say: for progress.

    Returns:
        Name → row. `nab_differs` is the largest difference of a file's score from the repository's own.
    """
    thresholds = json.loads((repository / "config" / "thresholds.json").read_text(encoding="utf-8"))
    rows = {}
    for folder, name in PUBLISHED.items():
        home, scores = repository / "results" / folder, []
        for file in files:
            category, base = file.name.split("/")
            table = pl.read_csv(home / category / f"{folder}_{base}", infer_schema_length=None)
            scores.append(table["anomaly_score"].cast(pl.Float64).to_numpy())
        alarms = {
            profile: [part >= thresholds[folder][theirs]["threshold"] for part in scores]
            for profile, theirs in _PROFILE_NAMES.items()
        }
        # The alarms stand in for anomalous rows: the benchmark makes no difference.
        found = [Found(*parts) for parts in zip(scores, alarms["standard"], alarms["standard"], strict=True)]
        rows[name] = score(files, found, quiet=quiet, alarms=alarms)
        own = pl.read_csv(home / f"{folder}_standard_scores.csv", infer_schema_length=None)
        theirs = dict(zip(own["File"], own["Score"].cast(pl.Float64), strict=True))
        rows[name]["nab_differs"] = max(
            abs(score_file(raised, file.windows, PROFILES["standard"]).raw - theirs[file.name])
            for file, raised in zip(files, alarms["standard"], strict=True)
        )
        say(name, f"{rows[name]['standard']:.1f}, differs by {rows[name]['nab_differs']:.0e}")
    return rows
