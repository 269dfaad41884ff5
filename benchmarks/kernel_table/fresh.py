"""What only a new process shows: the cost of the first call, and the memory of a training step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kernel_table.cases import Case, Contender, Shape
from kernel_table.measure import describe
from kernel_table.truth import make_inputs
from kernel_table.workers import Worker, WorkerError, Workers

__all__ = ["measure_first_calls", "measure_memory"]

TINY = Shape(1, 2, 1, 8, 1)


def measure_first_calls(case: Case, workers: Workers, folder: Path, repeats: int) -> dict[str, Any]:
    """Seconds of importing, building and the first call, each time in a new process, in turn."""
    found = describe(case)
    inputs = _stored(case, folder / "inputs.npz")
    rows = found["contenders"]
    for _ in range(repeats):
        for contender in case.contenders:
            row = rows.setdefault(contender.label, {"seconds": [], "import_s": [], "build_s": []})
            with _new_process(contender, case, workers, rows) as worker:
                reply = worker.ask(_prepare(case, contender, inputs, folder))
                if "unsupported" in reply:
                    raise WorkerError(reply["unsupported"])
                row["seconds"].append(round(reply["first_call_s"], 5))
                row["build_s"].append(round(reply["build_s"], 5))
                row["import_s"].append(round(worker.hello["import_s"], 3))
    return found


def measure_memory(case: Case, workers: Workers, folder: Path, repeats: int) -> dict[str, Any]:
    """Bytes of the first training step: kept for the backward pass, and the peak, less what it returned.

    Both beyond what the process held with the model and the inputs. Each time in a new process that has made
    a tiny step before, so that the library is loaded. The first step and not a later one, because an
    allocator keeps what it was given back.
    """
    found = describe(case)
    inputs = _stored(case, folder / "inputs.npz")
    tiny = replace(case, shape=TINY)
    tiny_inputs = _stored(tiny, folder / "tiny.npz")
    rows = found["contenders"]
    for _ in range(repeats):
        for contender in case.contenders:
            row = rows.setdefault(contender.label, {"kept_bytes": [], "peak_bytes": []})
            with _new_process(contender, case, workers, rows) as worker:
                worker.ask(_prepare(tiny, contender, tiny_inputs, folder))
                told = {"case": case.told(), "options": contender.options, "inputs": str(inputs)}
                reply = worker.ask({"do": "memory"} | told)
                for name in row:
                    row[name].append(reply[name])
    return found


def _stored(case: Case, path: Path) -> Path:
    np.savez(path, **make_inputs(case))  # type: ignore[arg-type]
    return path


def _prepare(case: Case, contender: Contender, inputs: Path, folder: Path) -> dict[str, Any]:
    told = {"key": "only", "case": case.told(), "options": contender.options}
    return {"do": "prepare", "inputs": str(inputs), "answers": str(folder / "answers.npz")} | told


@contextlib.contextmanager
def _new_process(
    contender: Contender, case: Case, workers: Workers, rows: dict[str, Any]
) -> Iterator[Worker]:
    """A worker for one measurement; where it fails, the contender's row says why."""
    worker = None
    try:
        worker = workers.start(contender.worker, case.threads)
        yield worker
    except WorkerError as error:
        rows[contender.label] = {"missing": str(error).splitlines()[0]}
    finally:
        if worker is not None:
            worker.close()
