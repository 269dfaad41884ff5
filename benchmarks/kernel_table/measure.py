"""Measure a case: every contender prepared and checked, then timed in turn, round after round."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kernel_table.cases import Case, Contender, flop
from kernel_table.truth import TOLERANCE, largest_error, make_inputs, random_steps, true_answers
from kernel_table.workers import Worker, WorkerError, Workers, busy_share

__all__ = ["Pace", "describe", "measure"]


@dataclass(frozen=True)
class Pace:
    """How long to measure.

    Attributes:
        block_s: calls of one contender in a row last about this long.
        case_s: all rounds of a case last about this long.
        fewest, most: rounds.
        fresh: new processes of each contender, for what only a new one shows.
    """

    block_s: float = 0.1
    case_s: float = 20.0
    fewest: int = 5
    most: int = 15
    fresh: int = 3


LONG_CALL_S = 0.3
RANDOM_CALLS = 12


def describe(case: Case) -> dict[str, Any]:
    """What the results say of a case, whoever was measured."""
    real = int(make_inputs(case)["lengths"].sum()) if case.ragged else case.shape.batch * case.shape.steps
    return {
        "name": case.name,
        "section": case.section,
        "mode": case.mode,
        "shape": asdict(case.shape),
        "dtype": case.dtype,
        "threads": case.threads,
        "real_steps": real,
        "flop": flop(case, real),
        "contenders": {},
    }


def measure(case: Case, workers: Workers, folder: Path, pace: Pace) -> dict[str, Any]:
    """Seconds per call of every contender in every round, and the FMA peak next to them.

    Returns:
        `describe(case)` with `contenders`: label → `seconds` (one per round), `error`, `first_call_s`; or
        label → `missing` with the reason. `peak_gflops` has one value per round.
    """
    found = describe(case)
    inputs = make_inputs(case)
    np.savez(folder / "inputs.npz", **inputs)  # type: ignore[arg-type]
    truth = None
    ready: dict[str, tuple[Contender, Worker]] = {}
    for contender in case.contenders:
        if truth is None:
            truth = true_answers(case)
        with _missing_if_it_fails(case, contender, found["contenders"], workers):
            row = _prepare(case, contender, workers, folder, truth)
            found["contenders"][contender.label] = row
            if "missing" not in row:
                ready[contender.label] = (contender, workers.get(contender.worker, case.threads))
    found["busy_share"] = busy_share()
    with _busy_core(case.busy):
        found["peak_gflops"] = _rounds(case, ready, found["contenders"], workers, pace)
    for contender, worker in ready.values():
        with contextlib.suppress(WorkerError):
            worker.ask({"do": "drop", "key": contender.label})
    return found


def _prepare(
    case: Case, contender: Contender, workers: Workers, folder: Path, truth: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Build the contender's model and check its answers -> the start of its row."""
    path = folder / "answers.npz"
    command = {
        "do": "prepare",
        "key": contender.label,
        "case": case.told(),
        "options": contender.options,
        "inputs": str(folder / "inputs.npz"),
        "answers": str(path),
    }
    worker = workers.get(contender.worker, case.threads)
    reply = worker.ask(command)
    if "unsupported" in reply:
        return {"missing": reply["unsupported"]}
    with np.load(path) as stored:
        answers = dict(stored)
    path.unlink()
    # A worker whose answer is random brings what it should have been, from the same draws.
    own = {
        name.removeprefix("true_"): answers.pop(name) for name in list(answers) if name.startswith("true_")
    }
    error = largest_error(answers, own or truth)
    worker.rest()
    if not error <= TOLERANCE["layer norm" if contender.options.get("layer_norm") else case.dtype]:  # or NaN
        return {"missing": f"wrong answer: error {error:.1e} of the largest number", "error": error}
    return {"error": error, "first_call_s": reply["first_call_s"]}


def _rounds(
    case: Case,
    ready: dict[str, tuple[Contender, Worker]],
    rows: dict[str, dict[str, Any]],
    workers: Workers,
    pace: Pace,
) -> list[float]:
    """Time all contenders in turn, each round beginning with another -> FMA peak of each round."""
    rng = np.random.default_rng(1)
    blocks: dict[str, tuple[int, float]] = {}
    for label, (contender, worker) in ready.items():
        with _missing_if_it_fails(case, contender, rows, workers):
            blocks[label] = _block(case, worker, label, pace, rng)
            rows[label]["seconds"] = []
    one_round = sum(calls * once + once * (once < LONG_CALL_S) + 0.02 for calls, once in blocks.values())
    rounds = min(pace.most, max(pace.fewest, int(pace.case_s / max(one_round, 1e-6))))
    peak = workers.get("fma-peak", case.threads)
    peaks: list[float] = []
    order = list(blocks)
    for turn in range(rounds if order else 0):
        first = turn % len(order)
        for label in order[first:] + order[:first]:
            if "missing" in rows[label]:
                continue
            contender, worker = ready[label]
            calls, once = blocks[label]
            warm = once < LONG_CALL_S and not case.random_steps
            with _missing_if_it_fails(case, contender, rows, workers):
                seconds = _ask_time(case, worker, label, calls, warm=warm, rng=rng)
                rows[label]["seconds"].append(float(f"{seconds:.4g}"))
        if not case.busy and (rate := peak.ask({"do": "peak"})["gflops"]):
            peaks.append(round(rate, 1))
            peak.rest()
    return peaks


@contextlib.contextmanager
def _missing_if_it_fails(
    case: Case, contender: Contender, rows: dict[str, dict[str, Any]], workers: Workers
) -> Iterator[None]:
    """Let a contender whose worker fails be missing from the case, with the reason; the others go on."""
    try:
        yield
    except WorkerError as error:
        workers.drop(contender.worker, case.threads)
        print(error, file=sys.stderr)
        rows[contender.label] = {"missing": str(error).splitlines()[0]}


def _block(case: Case, worker: Worker, label: str, pace: Pace, rng: np.random.Generator) -> tuple[int, float]:
    """How many calls a block has, and about how long one takes."""
    once = _ask_time(case, worker, label, 1, warm=False, rng=rng)
    calls = max(1, math.ceil(pace.block_s / once))
    if calls > 1:
        # The first time of a short call is mostly that of a cold start.
        once = _ask_time(case, worker, label, min(calls, 20), warm=True, rng=rng)
        calls = max(1, math.ceil(pace.block_s / once))
    if case.random_steps:
        calls = max(RANDOM_CALLS, calls) if once < LONG_CALL_S else RANDOM_CALLS
    return calls, once


def _ask_time(
    case: Case, worker: Worker, label: str, calls: int, *, warm: bool, rng: np.random.Generator
) -> float:
    steps = random_steps(case, calls, rng) if case.random_steps else None
    block = {"calls": calls, "warm": warm, "steps": steps}
    seconds: float = worker.ask({"do": "time", "key": label, "block": block})["seconds"]
    worker.rest()
    return seconds


@contextlib.contextmanager
def _busy_core(wanted: bool) -> Iterator[None]:
    """Let a process of Python keep the machine's last core busy."""
    if not wanted:
        yield
        return
    code = "import os\nos.sched_setaffinity(0, {max(os.sched_getaffinity(0))})\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            yield
        finally:
            process.kill()
