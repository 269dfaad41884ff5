"""Regression of a number on a whole series, beside the mean, 1-NN, summary statistics and MiniRocket.

    python benchmarks/tser.py --peer-python .peers/aeon/bin/python --sktime-python .peers/sktime/bin/python
    python benchmarks/tser.py --finished          # write the page from what is kept

Every fit sees the training part only, at the defaults of `Regressor`; the test part is scored once with the
last weights. Nothing was chosen by these problems: the recipe comes from training files of classification
problems (`results/ucr_recipe.md`). Covid3Month and CardanoSentiment lie in aeon's package, Tecator in
sktime's, two problems are made of the data in `--data`, split by time. MiniRocket runs in an environment of
its own (`--peer-python`, with aeon). Five seeds take half an hour on a quiet machine. Each finished fit is
kept under `runs/benchmarks/tser/`. Writes `results/tser.json` and `results/tser.md`.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from protocol.machine import describe_machine
from protocol.tser_page import DEFAULT, ENSEMBLE, LINEAR, PROBLEMS, tser_page

from gatestack.data.collections import read_labelled
from gatestack.data.sequences import Sequences
from gatestack.tasks.labelled import run_members
from gatestack.tasks.labelled.baselines import baseline_answers
from gatestack.tasks.regress import Regressor

HERE = Path(__file__).resolve().parent

Part = tuple[np.ndarray, np.ndarray]
"""Series (n, steps, channels) and their numbers (n,)."""

_LEAST_HOURS = 18  # of a day that were measured, for its mean to be known


def days_of_beijing(data: Path) -> tuple[Part, Part]:
    """A day's hourly weather in Beijing, and the mean of its PM2.5; 2014 is the test part."""
    table = pl.read_csv(data / "beijing_pm25" / "pollution.csv", null_values="NA", infer_schema_length=None)
    weather = ["DEWP", "TEMP", "PRES", "Iws", "Is", "Ir"]
    series: list[np.ndarray] = []
    numbers: list[float] = []
    years: list[int] = []
    for day in table.partition_by(["year", "month", "day"], maintain_order=True):
        known = day["pm2.5"].drop_nulls()
        if len(known) >= _LEAST_HOURS:
            series.append(day.select(weather).to_numpy().astype(np.float64))
            numbers.append(float(known.to_numpy().mean()))
            years.append(int(day["year"][0]))
    return _split(np.stack(series), np.array(numbers), np.array(years) == 2014)


def days_of_victoria(data: Path) -> tuple[Part, Part]:
    """A day's half-hourly demand in Victoria, and its highest temperature; 2014 is the test part."""
    table = pl.read_csv(data / "vic_electricity" / "vic_electricity.csv")
    days = [day for day in table.partition_by("Date", maintain_order=True) if day.height == 48]
    series = np.stack([day["Demand"].to_numpy()[:, None] for day in days])
    numbers = np.array([float(day["Temperature"].to_numpy().max()) for day in days])
    return _split(series, numbers, np.array([str(day["Date"][0]).startswith("2014") for day in days]))


def _split(series: np.ndarray, numbers: np.ndarray, tested: np.ndarray) -> tuple[Part, Part]:
    return (series[~tested], numbers[~tested]), (series[tested], numbers[tested])


def of_archive(folder: Path, problem: str) -> tuple[Part, Part]:
    """A problem of the archive, from its files."""
    parts = []
    for name in ("TRAIN", "TEST"):
        read = read_labelled(folder / problem / f"{problem}_{name}.ts", kind="numbers")
        steps = int(read.sequences.lengths[0])
        values = read.sequences.values.reshape(len(read), steps, read.sequences.num_features)
        parts.append((values.astype(np.float64), np.asarray(read.targets)))
    return parts[0], parts[1]


MADE = {"BeijingDays": days_of_beijing, "VictoriaDays": days_of_victoria}


def read_problem(problem: str, data: Path, archive: Path) -> tuple[Part, Part]:
    """Training part and test part."""
    return MADE[problem](data) if problem in MADE else of_archive(archive, problem)


def row_of(
    model: str, seed: int, answers: np.ndarray, truth: np.ndarray, seconds: float | None
) -> dict[str, Any]:
    error = answers - truth
    return {
        "model": model,
        "seed": seed,
        "rmse": float(np.sqrt(np.square(error).mean())),
        "mae": float(np.abs(error).mean()),
        "r2": float(1 - np.square(error).sum() / np.square(truth - truth.mean()).sum()),
        "seconds": seconds,
    }


def our_rows(parts: tuple[Part, Part], seed: int, kept: Path) -> list[dict[str, Any]]:
    """The default and its linear part alone, at one seed; the answers are kept for the ensemble."""
    (known, numbers), (asked, truth) = parts
    started = time.perf_counter()
    model = Regressor(seed=seed).fit(known, numbers)
    seconds = time.perf_counter() - started
    (member,) = model.fitted_.members
    if member.record.stopped_by == "interrupt":
        raise SystemExit("the fit was interrupted")
    alone = copy.deepcopy(member.network)
    alone.trust.zero_()
    whole, linear = run_members([member.network, alone], Sequences.from_padded(asked))[:, :, 0]
    np.savez(kept, answers=whole, truth=truth)
    return [row_of(DEFAULT, seed, whole, truth, seconds), row_of(LINEAR, seed, linear, truth, None)]


def plain_rows(parts: tuple[Part, Part]) -> list[dict[str, Any]]:
    """The baselines that every evaluation of a regressor shows."""
    (known, numbers), (asked, truth) = parts
    answers = baseline_answers(
        Sequences.from_padded(known), numbers, Sequences.from_padded(asked), classes=None
    )
    return [row_of(name, 0, found, truth, None) for name, found in answers.items()]


def peer_rows(parts: tuple[Part, Part], python: Path, seeds: int, folder: Path) -> list[dict[str, Any]]:
    """MiniRocket with ridge regression, from its own environment."""
    (known, numbers), (asked, truth) = parts
    given = folder / "given.npz"
    np.savez(given, known=known, numbers=numbers, asked=asked)
    command = [str(python), str(HERE / "peers" / "tser_peer.py"), str(given), str(seeds)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = []
    for line in answer.stdout.splitlines():
        found = json.loads(line)
        row = row_of(found["model"], found["seed"], np.array(found["answers"]), truth, found["seconds"])
        rows.append(row | {"version": found["version"]})
    return rows


def ensemble_rows(problem: str, seeds: int, cache: Path) -> list[dict[str, Any]]:
    """The mean over the seeds, as `Regressor(members=…)` takes it; nothing for one seed."""
    kept = [
        np.load(path) for seed in range(seeds) if (path := cache / f"{problem}-default-{seed}.npz").exists()
    ]
    if len(kept) < 2:
        return []
    return [row_of(ENSEMBLE, 0, np.mean([part["answers"] for part in kept], axis=0), kept[0]["truth"], None)]


def kept_or_made(path: Path, make: Callable[[], list[dict[str, Any]]] | None) -> list[dict[str, Any]]:
    """The rows that an earlier run left, or new ones; none where nothing may be fitted."""
    if path.exists():
        kept: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    if make is None:
        return []
    rows = make()
    path.write_text(json.dumps(rows), encoding="utf-8")
    print(path.stem, " ".join(f"{row['model']} {row['rmse']:.4g}" for row in rows), flush=True)
    return rows


def data_of(package: str, python: Path | None, cache: Path) -> Path:
    """Where a package keeps its data; found once, so that a finished run needs no package."""
    note = cache / f"{package}.txt"
    if python is not None:
        find = f"import importlib.util as u; print(u.find_spec({package!r}).submodule_search_locations[0])"
        answer = subprocess.run([str(python), "-c", find], check=True, capture_output=True, text=True)
        note.write_text(str(Path(answer.stdout.strip()) / "datasets" / "data"), encoding="utf-8")
    return Path(note.read_text(encoding="utf-8")) if note.exists() else cache


def all_rows(options: argparse.Namespace, cache: Path) -> list[dict[str, Any]]:
    """Every fit that was asked for, kept or new."""
    rows: list[dict[str, Any]] = []
    aeon = data_of("aeon", options.peer_python, cache)
    sktime = data_of("sktime", options.sktime_python, cache)

    def found(problem: str, name: str, make: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        return kept_or_made(cache / f"{problem}-{name}.json", None if options.finished else make)

    for problem in options.problems:
        archive = sktime if problem == "Tecator" else aeon
        if problem not in MADE and not (archive / problem).exists():
            continue  # the page says which problems it has
        parts = read_problem(problem, options.data, archive)
        own = found(problem, "plain", partial(plain_rows, parts))
        if options.peer_python is not None or options.finished:
            own += found(
                problem, "peers", partial(peer_rows, parts, options.peer_python, options.seeds, cache)
            )
        for seed in range(options.seeds):
            kept = cache / f"{problem}-default-{seed}.npz"
            own += found(problem, f"default-{seed}", partial(our_rows, parts, seed, kept))
        own += ensemble_rows(problem, options.seeds, cache)
        sizes = {"problem": problem, "train": len(parts[0][1]), "test": len(parts[1][1])}
        rows += [sizes | row for row in own]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=5, help="of the default and of MiniRocket")
    parser.add_argument("--peer-python", type=Path, help="a Python that has aeon")
    parser.add_argument("--sktime-python", type=Path, help="a Python that has sktime, for Tecator")
    parser.add_argument("--finished", action="store_true", help="fit nothing, write what is kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cache = HERE.parent / "runs" / "benchmarks" / "tser"
    cache.mkdir(parents=True, exist_ok=True)
    rows = all_rows(options, cache)
    table = {"machine": describe_machine(), "torch": torch.__version__, "rows": rows}
    results = HERE / "results"
    (results / "tser.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    (results / "tser.md").write_text(tser_page(table), encoding="utf-8")
    print(f"wrote {results / 'tser.json'} and {results / 'tser.md'}")


if __name__ == "__main__":
    main()
