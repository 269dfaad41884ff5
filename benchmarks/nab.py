"""Detectors on files of the Numenta benchmark: the same files, probation and rule of alarms for all.

    python benchmarks/nab.py --data ../shared/data/nab --seeds 3

Writes `benchmarks/results/nab.json` and `nab.md`. Settings of ours were chosen on made-up series with made-up
anomalies, never on these labels. "Best threshold" is the benchmark's own protocol, one threshold for the
whole corpus, the one with the highest score: it reads the labels and is nobody's default.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

import gatestack
from gatestack.tasks.detect import AnomalyDetector
from gatestack.tasks.detect.alarms import CalibratedRule, events_of
from gatestack.tasks.detect.baselines import BaselineTask, baseline_statistics, moving_z_score, scored_by_rule
from gatestack.tasks.detect.nab_score import PROFILES, nab_score, probation_steps, score_file
from gatestack.tasks.detect.range_scores import vus_pr
from gatestack.training import RunFolder, Training

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

RESULTS = Path(__file__).parent / "results"
METHODS = ("forecast", "reconstruction")
# Published: a window of 6,400 values whose normal distribution says how rare the next one is.
GAUSSIAN = 6400
DEFAULTS = AnomalyDetector()
RATE = 1 / 2000
THRESHOLDS = np.arange(1.0, 12.01, 0.1)


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


def read_file(root: Path, name: str, labels: list[list[str]]) -> File:
    frame = pl.read_csv(root / "data" / name, try_parse_dates=True)
    times = frame["timestamp"].to_numpy().astype("datetime64[us]")
    inside = [
        (times >= np.datetime64(first, "us")) & (times <= np.datetime64(last, "us")) for first, last in labels
    ]
    windows = [(int(np.flatnonzero(rows)[0]), int(np.flatnonzero(rows)[-1])) for rows in inside]
    even = times[0] + np.arange(len(times)) * np.median(np.diff(times))
    return File(name, frame.with_columns(timestamp=even), windows, probation_steps(len(times)))


def run_detector(file: File, method: str, seed: int) -> Found:
    detector = AnomalyDetector(method, training=Training(device="cpu"), seed=seed)  # type: ignore[arg-type]
    usual = file.frame.head(file.probation)
    detector.fit(usual, values=["value"], time="timestamp", run=RunFolder(progress=False))
    found = detector.predict(file.frame)
    columns = (found["score"].fill_null(0.0), found["anomalous"], found["alarm"])
    return Found(*(column.to_numpy() for column in columns))


def run_baselines(file: File, seed: int) -> dict[str, Found]:
    values = file.frame["value"].to_numpy()[:, None].astype(np.float64)
    task = BaselineTask(values, file.probation, DEFAULTS.window, season_of(file), seed)
    unusual = {"windowed_gaussian": moving_z_score(values, GAUSSIAN)} | baseline_statistics(task)
    rule = CalibratedRule(-math.log10(RATE), DEFAULTS.window)
    found = {name: scored_by_rule(part, file.probation, rule) for name, part in unusual.items()}
    return {name: Found(np.nan_to_num(parts[0]), *parts[1:]) for name, parts in found.items()}


def season_of(file: File) -> int:
    step = file.frame["timestamp"].diff().median()
    season = round(86400 / step.total_seconds())  # type: ignore[union-attr]
    return season if 2 * season < file.probation else 1


def corpus_score(files: list[File], alarms: list[BoolArray], profile: str) -> float:
    costs = PROFILES[profile]
    return nab_score(
        [score_file(raised, file.windows, costs) for file, raised in zip(files, alarms, strict=True)], costs
    )


def score(files: list[File], found: list[Found]) -> dict[str, float]:
    row: dict[str, float] = {}
    for profile in PROFILES:
        row[profile] = corpus_score(files, [part.alarms for part in found], profile)
    for how, quiet in (("events", DEFAULTS.window), ("every_step", 1)):
        tried = [[events_of(part.scores >= level, quiet) for part in found] for level in THRESHOLDS]
        for profile in PROFILES:
            row[f"{profile}_best_{how}"] = max(corpus_score(files, alarms, profile) for alarms in tried)
    standard = [
        score_file(part.alarms, file.windows, PROFILES["standard"])
        for file, part in zip(files, found, strict=True)
    ]
    row["found"] = sum(result.hits for result in standard)
    row["windows"] = sum(result.windows for result in standard)
    row["false_alarms"] = sum(result.false_alarms for result in standard)
    row["vus_pr"] = float(
        np.mean([volume(*pair) for pair in zip(files, found, strict=True) if pair[0].windows])
    )
    return row


def volume(file: File, found: Found) -> float:
    truth = np.zeros(file.frame.height, dtype=bool)
    for first, last in file.windows:
        truth[first : last + 1] = True
    part = slice(file.probation, None)
    return vus_pr(truth[part], found.scores[part], buffers=np.arange(0, DEFAULTS.window + 1, 8))


def write(path: Path, rows: dict[str, list[dict[str, float]]], facts: dict[str, Any]) -> None:
    path.with_suffix(".json").write_text(json.dumps({"facts": facts, "rows": rows}, indent=1) + "\n")
    shown = {
        "standard": "standard",
        "few_false_alarms": "few false alarms",
        "few_misses": "few misses",
        "found": "found",
        "false_alarms": "false alarms",
        "vus_pr": "VUS-PR",
        "standard_best_events": "best threshold",
        "standard_best_every_step": "best threshold, every step",
    }
    lines = ["# Detectors on files of the Numenta benchmark", "", *describe(facts), ""]
    lines += ["| detector | " + " | ".join(shown.values()) + " |", "|---" * (len(shown) + 1) + "|"]
    for name, seeds in rows.items():
        cells = [cell([row[column] for row in seeds], column) for column in shown]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


def cell(numbers: list[float], column: str) -> str:
    digits = 3 if column == "vus_pr" else 1
    text = f"{np.mean(numbers):.{digits}f}"
    apart = max(numbers) - min(numbers)
    return f"{text} ({min(numbers):.{digits}f} to {max(numbers):.{digits}f})" if apart else text


def describe(facts: dict[str, Any]) -> list[str]:
    return [
        f"{facts['files']} files, {facts['rows']:,} rows, {facts['windows']} labelled windows; the first 15 "
        f"% (at most 750 rows) are for learning and are not scored. {facts['seeds']} seeds: mean (least to "
        f"most). {facts['seconds_per_fit']:.0f} s for a fit and the scores of a file, on one thread of a "
        f"{facts['machine']} with other work beside it.",
        "",
        "The first three columns are NAB scores with each detector's own threshold, set on the tail of its "
        "probationary scores (about one false alarm in 2,000 steps), without labels. “Best threshold” is the "
        "benchmark's own protocol: one threshold for all files, chosen with the labels for the highest "
        "standard score; with one alarm per event, as above, and with an alarm at every anomalous step, as "
        "the benchmark's own detectors raise them. Scores of this part do not compare with those of the "
        "whole corpus. “windowed_gaussian” is our own writing of the published idea.",
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--data", type=Path, required=True, help="folder with data/ and labels/")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--out", type=Path, default=RESULTS / "nab")
    given = options.parse_args()
    torch.set_num_threads(1)
    labels = json.loads((given.data / "labels" / "combined_windows.json").read_text())
    names = sorted(str(path.relative_to(given.data / "data")) for path in given.data.glob("data/*/*.csv"))
    files = [read_file(given.data, name, labels[name]) for name in names]
    rows: dict[str, list[dict[str, float]]] = {}
    plain = [run_baselines(file, seed=0) for file in files]
    for name in plain[0]:
        rows[name] = [score(files, [part[name] for part in plain])]
        print(name, rows[name][0], flush=True)
    started, fits = time.perf_counter(), 0
    for method in METHODS:
        for seed in range(given.seeds):
            found = [run_detector(file, method, seed) for file in files]
            fits += len(files)
            rows.setdefault(f"gatestack, {method}", []).append(score(files, found))
            print(method, seed, rows[f"gatestack, {method}"][-1], flush=True)
            facts = {
                "files": len(files),
                "rows": sum(file.frame.height for file in files),
                "windows": sum(len(file.windows) for file in files),
                "seeds": seed + 1,
                "seconds_per_fit": (time.perf_counter() - started) / fits,
                "machine": platform.processor() or platform.machine(),
                "torch": torch.__version__,
                "gatestack": gatestack.__version__,
                "made": datetime.now(UTC).date().isoformat(),
            }
            write(given.out, rows, facts)


if __name__ == "__main__":
    main()
