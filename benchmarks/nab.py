"""Detectors on files of the Numenta benchmark: the same files, probation and rule of alarms for all.

    python benchmarks/nab.py --published NAB      # three seeds; about 5 minutes on one quiet core

Writes `benchmarks/results/nab.json` and `nab.md`. Settings of ours were chosen on made-up series, and on
other data sets with made-up anomalies, never on these labels. `--published` names a checkout of
https://github.com/numenta/NAB: the scores that it holds of other detectors, row by row, are scored as ours
are. Each finished fit is kept under `runs/benchmarks/nab/`, named after the code of the detector.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from protocol.machine import describe_machine
from protocol.nab_files import File, Found, published_rows, read_files, score
from protocol.nab_page import nab_page

from gatestack.tasks import detect
from gatestack.tasks.detect import AnomalyDetector
from gatestack.tasks.detect.alarms import CalibratedRule
from gatestack.tasks.detect.baselines import BaselineTask, baseline_statistics, moving_z_score, scored_by_rule
from gatestack.training import RunFolder, Training

HERE = Path(__file__).resolve().parent
METHODS = ("forecast", "reconstruction")
# Published: a window of 6,400 values whose normal distribution says how rare the next one is.
GAUSSIAN = 6400
WINDOW = AnomalyDetector().window
RATE = 1 / 2000
CODE = ("alarms", "fitted", "fitting", "networks", "scoring", "tail", "usual")


def fingerprint() -> str:
    """What a fit depends on besides its file: the modules of the detector."""
    folder = Path(detect.__file__).parent
    digest = hashlib.sha256()
    for name in CODE:
        digest.update((folder / f"{name}.py").read_bytes())
    return digest.hexdigest()[:10]


def run_detector(file: File, method: str, seed: int) -> tuple[Found, float]:
    """Fit on the probationary part and score the whole file; with the seconds."""
    started = time.perf_counter()
    detector = AnomalyDetector(method, training=Training(device="cpu"), seed=seed)  # type: ignore[arg-type]
    usual = file.frame.head(file.probation)
    detector.fit(usual, values=["value"], time="timestamp", run=RunFolder(progress=False))
    if detector.fitted_.record.stopped_by == "interrupt":
        raise SystemExit("the fit was interrupted")
    found = detector.predict(file.frame)
    columns = (found["score"].fill_null(0.0), found["anomalous"], found["alarm"])
    return Found(*(column.to_numpy() for column in columns)), time.perf_counter() - started


def kept_at(cache: Path, method: str, seed: int, file: File) -> Path:
    return cache / f"{method}-{seed}-{file.name.replace('/', '-').removesuffix('.csv')}.npz"


def kept_or_run(file: File, method: str, seed: int, cache: Path) -> tuple[Found, float]:
    path = kept_at(cache, method, seed, file)
    if path.exists():
        kept = np.load(path)
        return Found(kept["scores"], kept["above"], kept["alarms"]), float(kept["seconds"])
    found, seconds = run_detector(file, method, seed)
    np.savez(path, scores=found.scores, above=found.above, alarms=found.alarms, seconds=seconds)
    return found, seconds


def run_baselines(file: File, seed: int) -> dict[str, Found]:
    values = file.frame["value"].to_numpy()[:, None].astype(np.float64)
    task = BaselineTask(values, file.probation, WINDOW, season_of(file), seed)
    unusual = {"windowed_gaussian": moving_z_score(values, GAUSSIAN)} | baseline_statistics(task)
    rule = CalibratedRule(-math.log10(RATE), WINDOW)
    found = {name: scored_by_rule(part, file.probation, rule) for name, part in unusual.items()}
    return {name: Found(np.nan_to_num(parts[0]), *parts[1:]) for name, parts in found.items()}


def season_of(file: File) -> int:
    step = file.frame["timestamp"].diff().median()
    season = round(86400 / step.total_seconds())  # type: ignore[union-attr]
    return season if 2 * season < file.probation else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data" / "nab")
    parser.add_argument("--published", type=Path, help="checkout of the benchmark's repository")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--finished", action="store_true", help="fit nothing, write what is kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cache = HERE.parent / "runs" / "benchmarks" / "nab" / fingerprint()
    cache.mkdir(parents=True, exist_ok=True)
    files = read_files(options.data)
    rows: dict[str, list[dict[str, float]]] = {}
    plain = [run_baselines(file, seed=0) for file in files]
    for name in plain[0]:
        rows[name] = [score(files, [part[name] for part in plain], quiet=WINDOW)]
    kept = cache.parent / "published.json"
    if options.published is not None:
        kept.write_text(
            json.dumps(published_rows(files, options.published, quiet=WINDOW, say=say)), encoding="utf-8"
        )
    published = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    table: dict[str, Any] = {
        "machine": describe_machine(),
        "torch": torch.__version__,
        "files": len(files),
        "lines": sum(file.frame.height for file in files),
        "scored": sum(file.frame.height - file.probation for file in files),
        "windows": sum(len(file.windows) for file in files),
        "rows": rows,
        "seconds": {},
        "published": published,
    }
    for seed in range(options.seeds):
        for method in METHODS:
            if options.finished and not all(kept_at(cache, method, seed, file).exists() for file in files):
                continue
            runs = [kept_or_run(file, method, seed, cache) for file in files]
            rows.setdefault(f"gatestack, {method}", []).append(
                score(files, [found for found, _ in runs], quiet=WINDOW)
            )
            table["seconds"].setdefault(method, []).extend(seconds for _, seconds in runs)
            say(method, seed, rows[f"gatestack, {method}"][-1])
    results = HERE / "results"
    (results / "nab.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    (results / "nab.md").write_text(nab_page(table), encoding="utf-8")
    say(f"wrote {results / 'nab.json'} and {results / 'nab.md'}")


def say(*parts: Any) -> None:
    print(*parts, flush=True)


if __name__ == "__main__":
    main()
