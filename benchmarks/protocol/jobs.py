"""Run one fit as a process of its own and keep its answer, so that an interrupted benchmark resumes."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from protocol.environments import peer_python
from protocol.problems import Problem

__all__ = ["Answer", "Budget", "Contender", "JobError", "kept_answer", "run_job"]

PEERS_FOLDER = Path(__file__).resolve().parents[1] / "peers"


class JobError(RuntimeError):
    """A peer's process failed; the message holds the end of what it said."""


@dataclass(frozen=True)
class Budget:
    """What every trained model gets alike.

    Attributes:
        updates: 500, so that the whole benchmark (three seeds, six problems, four models, and the trial of
            the peers' settings) takes two cores about an hour.
    """

    hidden_size: int = 64
    layers: int = 2
    updates: int = 500
    batch_size: int = 32
    threads: int = 1
    flush_denormal: bool = True


@dataclass(frozen=True)
class Contender:
    """One model: the peer that runs it, its name there, and the options it is given.

    Attributes:
        label: how tables call it.
        peer: "neuralforecast", "darts" or "gatestack".
        model: name of the model within the peer.
        options: settings beyond the common budget.
    """

    label: str
    peer: str
    model: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """Forecasts (origins, horizon) and the facts about the fit that gave them.

    Attributes:
        others: further forecasts of the same fit, by name (`forecasts-<name>.npz`).
    """

    forecasts: np.ndarray
    facts: dict[str, Any]
    others: dict[str, np.ndarray] = field(default_factory=dict)


def _settings(problem: Problem, contender: Contender, budget: Budget, seed: int) -> dict[str, Any]:
    return {
        "model": contender.model,
        "options": contender.options,
        "horizon": problem.settings.horizon,
        "window": problem.settings.window,
        "seasons": list(problem.settings.seasons),
        "hidden_size": budget.hidden_size,
        "layers": budget.layers,
        "updates": budget.updates,
        "batch_size": budget.batch_size,
        "seed": seed,
        "threads": budget.threads,
        "flush_denormal": budget.flush_denormal,
        "frequency": problem.series.frequency,
    }


@functools.cache
def _own_sources() -> list[Path]:
    """Gatestack's own files that a forecast depends on; a peer's version is pinned instead."""
    home = Path(str(importlib.util.find_spec("gatestack").origin)).parent
    folders = ("data", "kernels", "nn", "training", "tasks")
    return [path for folder in folders for path in sorted((home / folder).rglob("*.py"))]


def _fingerprint(contender: Contender, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """A name for the answer; it changes with the settings, the data, the origins, and the peer's code."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    scripts = [PEERS_FOLDER / f"{contender.peer}_peer.py", PEERS_FOLDER / "job_io.py"]
    for script in scripts + (_own_sources() if contender.peer == "gatestack" else []):
        # The syntax tree and not the text: a comment or a line break changes no answer.
        digest.update(ast.dump(ast.parse(script.read_text(encoding="utf-8"))).encode())
    return digest.hexdigest()[:12]


def _read_answer(folder: Path) -> Answer:
    forecasts = {}
    for path in folder.glob("forecasts*.npz"):
        with np.load(path) as arrays:
            forecasts[path.stem.removeprefix("forecasts").removeprefix("-")] = arrays["forecasts"]
    facts = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    return Answer(forecasts.pop(""), facts, forecasts)


@dataclass(frozen=True)
class _Job:
    """What a peer is handed, and the folder where its answer is kept."""

    settings: dict[str, Any]
    arrays: dict[str, np.ndarray]
    folder: Path

    @property
    def finished(self) -> bool:
        return (self.folder / "answer.json").exists()


def _job(problem: Problem, contender: Contender, budget: Budget, seed: int, cache: Path) -> _Job:
    settings = _settings(problem, contender, budget, seed)
    values = problem.series.values
    arrays = {
        "values": np.concatenate(values),
        "offsets": np.cumsum([0, *(len(v) for v in values)]),
        "train_ends": np.array(problem.train_ends),
        "origins": problem.origins,
    }
    name = f"{contender.peer}-{contender.model}-{seed}-{_fingerprint(contender, settings, arrays)}"
    return _Job(settings, arrays, cache / problem.split / problem.name / name)


def kept_answer(
    problem: Problem, contender: Contender, budget: Budget, seed: int, *, cache: Path
) -> Answer | None:
    """The answer of an earlier run, or None when there is none."""
    job = _job(problem, contender, budget, seed, cache)
    return _read_answer(job.folder) if job.finished else None


def run_job(
    problem: Problem,
    contender: Contender,
    budget: Budget,
    seed: int,
    *,
    cache: Path,
    environments: Path,
    say: str = "",
) -> Answer:
    """Fit `contender` on `problem` in its own process, or return the answer kept from an earlier run.

    Raises:
        JobError: the process failed, or made another number of updates than it was told.
    """
    job = _job(problem, contender, budget, seed, cache)
    folder = job.folder
    if job.finished:
        return _read_answer(folder)
    if say:
        print(say, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(job.settings), encoding="utf-8")
    np.savez(folder / "series.npz", **job.arrays)
    threads = str(budget.threads)
    result = subprocess.run(
        [peer_python(contender.peer, environments), PEERS_FOLDER / f"{contender.peer}_peer.py", folder],
        env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    (folder / "series.npz").unlink()  # The answer is small, the series need not be kept with each of them.
    if result.returncode != 0:
        raise JobError(f"{contender.label} on {problem.name}, seed {seed}:\n{result.stderr[-3000:]}")
    answer = _read_answer(folder)
    if answer.facts["updates"] != budget.updates:
        made = answer.facts["updates"]
        (folder / "answer.json").unlink()
        raise JobError(f"{contender.label} on {problem.name} made {made} updates, expected {budget.updates}")
    return answer
