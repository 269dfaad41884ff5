"""The kernels beside torch, Keras on TensorFlow and on JAX, ONNX Runtime and OpenVINO.

    python benchmarks/kernels.py --quick       # about 15 minutes on two cores; wants a quiet machine
    python benchmarks/kernels.py               # every shape, type and number of threads: about 2 hours
    python benchmarks/kernels.py --only GRU    # measure some cases again and keep the others

Every library runs in a process of its own and they are called in turn. Answers are checked before anything is
timed. Writes `results/kernels.json` and `results/kernels.md` after every case.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from kernel_table.cases import Case, make_cases
from kernel_table.fresh import measure_first_calls, measure_memory
from kernel_table.measure import Pace, measure
from kernel_table.report import kernel_page
from kernel_table.workers import Workers
from protocol.machine import describe_machine

HERE = Path(__file__).resolve().parent
FULL = Pace()
QUICK = Pace(block_s=0.05, case_s=4.0, fewest=3, most=11, fresh=2)


def run(case: Case, workers: Workers, folder: Path, pace: Pace) -> dict[str, Any]:
    """Measure one case in the way its section asks for."""
    if case.section == "first call":
        return measure_first_calls(case, workers, folder, pace.fresh)
    if case.section == "memory":
        return measure_memory(case, workers, folder, pace.fresh)
    return measure(case, workers, folder, pace)


def select(cases: list[Case], words: list[str]) -> list[Case]:
    """The cases whose names contain every one of the words, cases that this machine cannot run left out."""
    cores = len(os.sched_getaffinity(0))
    return [case for case in cases if case.threads <= cores and all(word in case.name for word in words)]


def main() -> None:
    """Measure, and write table and page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer shapes, rounds and peers")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="WORD", help="cases whose name has all words"
    )
    parser.add_argument("--list", action="store_true", help="name the cases and measure nothing")
    parser.add_argument("--case-seconds", type=float, metavar="S", help="for all rounds of a case together")
    parser.add_argument("--peers", type=Path, default=HERE.parent / ".peers")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()

    pace = QUICK if arguments.quick else FULL
    if arguments.case_seconds is not None:
        pace = replace(pace, case_s=arguments.case_seconds)
    every = make_cases(quick=arguments.quick)
    chosen = select(every, arguments.only)
    if arguments.list:
        print("\n".join(case.name for case in chosen))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    stored = arguments.out / "kernels.json"
    table: dict[str, Any] = {"cases": []}
    if arguments.only and stored.exists():
        table = json.loads(stored.read_text(encoding="utf-8"))
    table |= {"machine": describe_machine(), "quick": arguments.quick}
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        workers = Workers(arguments.peers, Path(name))
        table["kernels"] = workers.get("fma-peak", 1).hello
        for number, case in enumerate(chosen, 1):
            minutes = (time.monotonic() - start) / 60
            print(f"{minutes:5.1f} min  {number}/{len(chosen)}  {case.name}", file=sys.stderr, flush=True)
            found = run(case, workers, Path(name), pace)
            table["cases"] = _in_order(every, [c for c in table["cases"] if c["name"] != case.name] + [found])
            table["versions"] = table.get("versions", {}) | workers.versions()
            table["longest_rest_s"] = table.get("longest_rest_s", {}) | workers.longest_rests()
            stored.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
            (arguments.out / "kernels.md").write_text(kernel_page(table), encoding="utf-8")
        workers.close()
    print(kernel_page(table))


def _in_order(every: list[Case], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    order = {case.name: number for number, case in enumerate(every)}
    return sorted(found, key=lambda case: order.get(case["name"], len(order)))


if __name__ == "__main__":
    main()
