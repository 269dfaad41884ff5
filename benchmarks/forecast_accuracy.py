"""Compare forecasts of Gatestack, its peers and the naive answers, at equal width, depth, window and updates.

    python benchmarks/forecast_accuracy.py                      # the test split: about 45 minutes on 2 cores
    python benchmarks/forecast_accuracy.py --split validation   # to choose settings: the test part is cut off

Each answer is kept under `runs/benchmarks`, so an interrupted benchmark goes on where it stopped. Writes
`results/forecast_accuracy.md` and `.json` (validation: `forecast_accuracy_validation.*`).
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from protocol.accuracy_report import accuracy_page
from protocol.baselines import last_value, linear_autoregression, seasonal_naive
from protocol.contenders import GATESTACK, KINDS, chosen_peers
from protocol.jobs import Budget, Contender, kept_answer, run_job
from protocol.machine import describe_machine
from protocol.problems import PROBLEMS, Problem, read_problem
from protocol.results import Row, trained_rows
from protocol.scores import score

HERE = Path(__file__).resolve().parent


def baseline_rows(problem: Problem) -> list[Row]:
    """Rows of the models that need no training loop and no seed."""
    forecasts = {"last value": last_value(problem)}
    for season in problem.settings.seasons:
        forecasts[f"seasonal naive ({season})"] = seasonal_naive(problem, season)
    rows = [
        Row(problem.name, label, "baseline", None, score(problem, values))
        for label, values in forecasts.items()
    ]
    values, model, seconds = linear_autoregression(problem)
    facts = {
        "parameters": model.parameters,
        "loss": "squared, ridge",
        "fit_seconds": seconds,
        "options": {"penalty": model.penalty, "scaled_per_window": model.per_window},
    }
    return [
        *rows,
        Row(problem.name, "linear autoregression", "baseline", None, score(problem, values), facts),
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--split", choices=["test", "validation"], default="test")
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--models", choices=["all", "peers", "gatestack", "baselines"], default="all")
    parser.add_argument("--finished", action="store_true", help="fit nothing, write what earlier runs kept")
    parser.add_argument("--jobs", type=int, default=1, help="fits side by side, one thread each")
    parser.add_argument("--updates", type=int, default=Budget().updates)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--cache", type=Path, default=HERE.parent / "runs" / "benchmarks")
    parser.add_argument("--peers", type=Path, default=HERE.parent / ".peers")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


def _contenders(problem: Problem, models: str) -> list[Contender]:
    own = [GATESTACK] if models in ("all", "gatestack") else []
    if models not in ("all", "peers"):
        return own
    return own + chosen_peers(problem.name, HERE / "results" / "peer_settings.json")


def main() -> None:
    """Run what is asked for and write the page."""
    arguments = _arguments()
    budget = Budget(updates=arguments.updates)
    problems = [read_problem(name, arguments.split, arguments.data) for name in arguments.problems]

    missing: list[tuple[str, str, int]] = []

    def one(work: tuple[Problem, Contender, int]) -> list[Row]:
        problem, contender, seed = work
        say = f"{problem.name}: {contender.label}, seed {seed}"
        if arguments.finished:
            answer = kept_answer(problem, contender, budget, seed, cache=arguments.cache)
            if answer is None:
                missing.append((problem.name, contender.label, seed))
                return []
        else:
            answer = run_job(
                problem, contender, budget, seed, cache=arguments.cache, environments=arguments.peers, say=say
            )
        return trained_rows(problem, contender, KINDS[contender.label], seed, answer)

    work = [
        (problem, contender, seed)
        for seed in arguments.seeds
        for problem in problems
        for contender in _contenders(problem, arguments.models)
    ]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        rows = [row for rows in pool.map(one, work) for row in rows]
    for problem in problems:
        rows += baseline_rows(problem)

    machine = describe_machine()
    name = "forecast_accuracy" if arguments.split == "test" else "forecast_accuracy_validation"
    table = {
        "machine": machine,
        "budget": asdict(budget),
        "missing": missing,
        "rows": [row.as_dict() for row in rows],
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{name}.json").write_text(json.dumps(table) + "\n", encoding="utf-8")
    page = accuracy_page(rows, problems, budget, machine, missing)
    (arguments.out / f"{name}.md").write_text(page, encoding="utf-8")
    print(f"wrote {name}.md and {name}.json in {arguments.out}")


if __name__ == "__main__":
    main()
