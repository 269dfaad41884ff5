"""Speed and memory of a fit: against the peers in their own loops, and against a loop written by hand.

    python benchmarks/fit_speed.py [--parts peers loop memory]       # about 10 minutes; wants a quiet machine

Window 96, horizon 24, two layers of 64, batches of 32 (ETTh1). Every run is a process of its own; the
contenders take turns. Writes `results/fit_speed.md` and `.json`; parts that are not run keep their last
results.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from protocol.contenders import GATESTACK, NHITS, SCALINGS, candidate
from protocol.jobs import Budget, run_job
from protocol.machine import describe_machine
from protocol.problems import read_problem
from protocol.speed_report import speed_page

HERE = Path(__file__).resolve().parent
PROBLEM = "ETTh1-24"
WARM_UP = 20


def time_peers(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds per update of each contender, round after round, each with its documented settings."""
    problem = read_problem(PROBLEM, "validation", arguments.data)
    contenders = [GATESTACK, *(candidate(label, options[0]) for label, options in SCALINGS.items())]
    budget = Budget(updates=arguments.updates, threads=arguments.threads, flush_denormal=False)
    cache = arguments.cache / "fit_speed"
    shutil.rmtree(cache, ignore_errors=True)  # A time that was kept is no time of today.
    table: dict[str, Any] = {c.label: {"seconds_per_update": [], "fit_seconds": []} for c in contenders}
    for turn in range(arguments.rounds):
        for contender in contenders[turn % len(contenders) :] + contenders[: turn % len(contenders)]:
            say = f"round {turn + 1}: {contender.label}"
            answer = run_job(
                problem, contender, budget, turn, cache=cache, environments=arguments.peers, say=say
            )
            facts, row = answer.facts, table[contender.label]
            # The mean and not the median: what a loop does once per epoch is part of its cost.
            row["seconds_per_update"].append(mean(facts["seconds_per_update"][WARM_UP:]))
            row["fit_seconds"].append(facts["fit_seconds"])
            row |= {name: facts[name] for name in ("parameters", "packages", "loss")}
            row["recurrent"] = contender.label != NHITS
    return {"updates": budget.updates, "threads": budget.threads, "contenders": table}


def time_loop(arguments: argparse.Namespace) -> dict[str, Any]:
    """Our loop and a loop by hand on the same network."""
    command = [sys.executable, HERE / "speed" / "loop_cost.py", "--threads", str(arguments.threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of a fit on a generated table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        size = ["--gigabytes", str(arguments.gigabytes)]
        subprocess.run([sys.executable, HERE / "speed" / "generate_table.py", path, *size], check=True)
        command = [sys.executable, HERE / "speed" / "memory_of_fit.py", path]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


PARTS = {"peers": time_peers, "loop": time_loop, "memory": measure_memory}


def main() -> None:
    """Measure the parts that are asked for and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--cache", type=Path, default=HERE.parent / "runs" / "benchmarks")
    parser.add_argument("--peers", type=Path, default=HERE.parent / ".peers")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()

    stored = arguments.out / "fit_speed.json"
    table: dict[str, Any] = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    for part in arguments.parts:
        table[part] = {**PARTS[part](arguments), "machine": describe_machine()}
    arguments.out.mkdir(parents=True, exist_ok=True)
    stored.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    page = speed_page(table)
    (arguments.out / "fit_speed.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
