"""A worker that fails costs its own row and nothing else; real workers answer and are timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kernel_table import workers as module
from kernel_table.cases import OURS, TORCH, Case, Contender, Shape
from kernel_table.fresh import measure_memory
from kernel_table.measure import Pace, measure
from kernel_table.report import kernel_page
from kernel_table.workers import WorkerError, Workers

from gatestack.kernels import library

TINY = Case("LSTM training", Shape(2, 3, 2, 4, 1), "train", (OURS, TORCH), threads=1)
NO_PEAK = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"gflops": None}), flush=True)
"""


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    every = Workers(tmp_path, tmp_path)
    yield every
    every.close()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Let a worker run this program instead of its script."""

    def put(name: str, program: str) -> None:
        (tmp_path / f"{name}.py").write_text(program)
        monkeypatch.setitem(module.COMMANDS, name, ("gatestack", f"{name}.py", ()))
        monkeypatch.setattr(module, "SCRIPTS", tmp_path)

    return put


def test_a_worker_that_ends_says_its_last_words(workers: Workers, fake: Callable[[str, str], None]) -> None:
    fake("torch", "import sys; sys.exit('no such library')")
    with pytest.raises(WorkerError, match="torch ended: no such library"):
        workers.get("torch", 1)


def test_a_worker_that_hangs_is_given_up(workers: Workers, fake: Callable[[str, str], None]) -> None:
    fake("torch", NO_PEAK + "    sys.stdin.readline(); sys.stdin.readline()")
    worker = workers.get("torch", 1)
    with pytest.raises(WorkerError, match="no answer to time within 0 s"):
        worker.ask({"do": "time"}, within_s=0.2)


def test_a_failed_worker_is_missing_and_the_others_are_measured(
    workers: Workers, fake: Callable[[str, str], None], tmp_path: Path
) -> None:
    fake("torch", "import sys; sys.exit('no such library')")
    fake("fma-peak", NO_PEAK)
    case = Case("LSTM training", TINY.shape, "train", (TORCH, Contender("again", "torch")), threads=1)
    found = measure(case, workers, tmp_path, Pace(0, 0, 1, 1))
    assert found["contenders"] == {
        "torch": {"missing": "torch ended: no such library"},
        "again": {"missing": "torch ended: no such library"},
    }


def test_a_worker_is_held_on_its_cores_and_waited_for(
    workers: Workers, fake: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spins_after_a_call = """
import json, os, sys, threading
wanted = False
def spin():
    while wanted: pass
for line in sys.stdin:
    wanted = json.loads(line)["do"] == "spin"
    threading.Thread(target=spin).start()
    print(json.dumps({"cores": len(os.sched_getaffinity(0))}), flush=True)
"""
    fake("torch", spins_after_a_call)
    worker = workers.get("torch", 1)
    assert worker.hello == {"cores": 1}
    monkeypatch.setattr(module, "LONGEST_REST_S", 60.0)
    worker.rest()
    assert worker.longest_rest_s < 60
    monkeypatch.setattr(module, "LONGEST_REST_S", 0.3)
    worker.longest_rest_s = 0.0
    worker.ask({"do": "spin"})
    worker.rest()
    assert worker.longest_rest_s >= 0.3, "the spinning thread was not waited for"


@pytest.mark.slow
def test_both_of_our_workers_answer_and_are_timed(workers: Workers, tmp_path: Path) -> None:
    ragged = Case("ragged LSTM training", TINY.shape, "train", (OURS, TORCH), ragged=True, threads=1)
    cases = [measure(case, workers, tmp_path, Pace(0, 0, 2, 2)) for case in (TINY, ragged)]
    for case in cases:
        for row in case["contenders"].values():
            assert len(row["seconds"]) == 2
            assert row["error"] < 1e-5
        assert len(case["peak_gflops"]) == (2 if library.find() else 0)
    cases.append(measure_memory(replace(TINY, section="memory"), workers, tmp_path, 1))
    assert all(len(row["peak_bytes"]) == 1 for row in cases[-1]["contenders"].values())
    table = {
        "cases": cases,
        "machine": dict.fromkeys(("processor", "cores", "memory_gib", "system", "python", "date"), "?"),
        "kernels": workers.get("fma-peak", 1).hello,
        "versions": workers.versions(),
        "longest_rest_s": workers.longest_rests(),
        "quick": True,
    }
    assert "| (2, 3, 2→4, 1) | training | float32 | 1 |" in kernel_page(table)
