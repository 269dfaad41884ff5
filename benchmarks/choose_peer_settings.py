"""Try the settings of each peer on the validation split and keep the best for each problem.

    python benchmarks/choose_peer_settings.py     # about 20 minutes on one core; resumes where it stopped

Writes `results/peer_settings.json` and `.md`. Looks at nothing in the test part.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from protocol.contenders import SCALINGS, candidate
from protocol.jobs import Budget, Contender, run_job
from protocol.problems import PROBLEMS, Problem, read_problem
from protocol.scores import Scores, first_quarter, score
from protocol.tables import markdown_table

HERE = Path(__file__).resolve().parent


def _criterion(problem: Problem, scores: Scores) -> float:
    """MAE; where series differ in size (m4_hourly), MASE."""
    return scores.mase if len(problem.series.values) > 1 else scores.mae


def _row(problem: Problem, contender: Contender, scores: Scores, seconds: float) -> dict[str, object]:
    steps = first_quarter(problem.settings.horizon)
    return {
        "problem": problem.name,
        "model": contender.label,
        "options": contender.options,
        "mae": scores.mae,
        "mase": scores.mase,
        "mase_first_quarter": sum(scores.mase_per_step[:steps]) / steps,
        "mase_step_1": scores.mase_per_step[0],
        "fit_seconds": seconds,
    }


def main() -> None:
    """Run the trials and write the choice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--cache", type=Path, default=HERE.parent / "runs" / "benchmarks")
    parser.add_argument("--peers", type=Path, default=HERE.parent / ".peers")
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument(
        "--reuse",
        nargs="+",
        default=[],
        metavar="PROBLEM/MODEL=OTHER",
        help="take the choice of OTHER, untried",
    )
    parser.add_argument("--updates", type=int, default=Budget().updates)
    arguments = parser.parse_args()
    budget = Budget(updates=arguments.updates)
    reused = dict(pair.split("=") for pair in arguments.reuse)
    tried: list[dict[str, object]] = []
    chosen: dict[str, dict[str, dict[str, object]]] = {}

    def trial(problem: Problem, contender: Contender) -> float:
        say = f"{problem.name}: {contender.label} {contender.options}"
        answer = run_job(
            problem, contender, budget, 0, cache=arguments.cache, environments=arguments.peers, say=say
        )
        scores = score(problem, answer.forecasts)
        tried.append(_row(problem, contender, scores, answer.facts["fit_seconds"]))
        return _criterion(problem, scores)

    for name in arguments.problems:
        problem = read_problem(name, "validation", arguments.data)
        chosen[name] = {}
        for label, scalings in SCALINGS.items():
            if f"{name}/{label}" in reused:
                chosen[name][label] = chosen[reused[f"{name}/{label}"]][label]
                continue
            errors = [trial(problem, candidate(label, options)) for options in scalings]
            chosen[name][label] = scalings[errors.index(min(errors))]
        # After every problem, so that the test split of the first can run beside the trial of the next.
        _write(tried, chosen, budget, reused)


def _write(
    tried: list[dict[str, object]],
    chosen: dict[str, dict[str, dict[str, object]]],
    budget: Budget,
    reused: dict[str, str],
) -> None:
    results = HERE / "results"
    table = {"updates": budget.updates, "seed": 0, "chosen": chosen, "reused": reused, "tried": tried}
    (results / "peer_settings.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    rows = [
        [
            str(row["problem"]),
            str(row["model"]),
            json.dumps(row["options"]),
            f"{row['mae']:.4g}",
            f"{row['mase']:.4f}",
            f"{row['mase_first_quarter']:.4f}",
            f"{row['mase_step_1']:.4f}",
            "chosen" if chosen[str(row["problem"])][str(row["model"])] == row["options"] else "",
        ]
        for row in tried
    ]
    head = ["problem", "model", "options", "MAE", "MASE", "MASE, first quarter", "MASE, step 1", ""]
    text = (
        "# Settings of the peers, tried on the validation split\n\n"
        f"Seed 0, {budget.updates} updates of {budget.batch_size} windows; the test part was removed before. "
        "The choice is the lowest MAE (`m4_hourly`: MASE).\n\n" + markdown_table(head, rows) + "\n"
    )
    if reused:
        text += "\nNot tried, for want of time; the setting is the one chosen on another problem:\n\n"
    for place, other in reused.items():
        name, label = place.split("/")
        text += f"- `{name}`, {label}: {json.dumps(chosen.get(name, {}).get(label))}, as on `{other}`\n"
    (results / "peer_settings.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
