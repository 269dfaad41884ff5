"""Does a study of depth choose well? Tasks whose right depth is known, and real sets, over many repetitions.

    python benchmarks/depth_recovery.py               # 20 repetitions of 8 tasks: an hour of a quiet core
    python benchmarks/depth_recovery.py --finished    # write the page from what is kept

A study sees the training part alone. Then every depth is fitted on all of it and scored once on the test
part: what a rule loses is how much higher the error of the depth that it takes is than that of the best one.
The tasks are in `depth_tasks.py`. Each repetition is kept under `runs/benchmarks/depth_recovery/` with the
errors of every depth in every fold, on which the page applies the rules; the script goes on from there.
Writes `results/depth_recovery.json` and `results/depth_recovery.md`.

An earlier `scales` had 150 cases and 12 units: one layer was best on its test part, so that it showed nothing
about depth. Here it has more cases and narrower layers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from depth_tasks import FOLDS, TASKS, Task
from protocol.depth_recovery_page import depth_recovery_page, summary_of
from protocol.machine import describe_machine

import gatestack
from gatestack.study import DepthPlan, DepthRange, run_depth_study
from gatestack.study.budget import widths_of
from gatestack.study.choice import choose_depth
from gatestack.study.folded_task import Measure

HERE = Path(__file__).resolve().parent
KEPT = HERE.parent / "runs" / "benchmarks" / "depth_recovery"
PLAN = DepthPlan(depths=DepthRange(0, 3), seeds=1)
NAIVE = ("mean", "majority", "seasonal_naive")


def error(measure: Measure, score: float) -> float:
    """Give a number above 0 of which lower is better."""
    return score if measure.better == "lower" else 1 - score


def run(name: str, repetition: int, data: Path) -> dict[str, Any]:
    """Study the training part, and score every depth on the test part."""
    task = TASKS[name]
    training, test = task.draw((list(TASKS).index(name), repetition), data)
    study = run_depth_study(training, PLAN, progress=False)
    measure = study.measure
    plain = {model: error(measure, score) for model, score in test.plain(0, 0).scores.items()}

    def on_test(widths: tuple[int, ...]) -> float:
        (score,) = test.network(widths, 0, 0).scores.values()
        return error(measure, score)

    # One layer with as many parameters as two of the study's width.
    wide = widths_of(
        1, hidden_size=task.units, budget="equal parameters", features=test.features, directions=1
    )
    return {
        "measure": measure.label,
        "test": {
            0: plain[study.row(0).model],
            **{depth: on_test((task.units,) * depth) for depth in range(1, PLAN.depths.most + 1)},
        },
        "wide": {"units": wide[0], "test": on_test(wide)},
        "naive": next(plain[model] for model in NAIVE if model in plain),
        "plain_model": study.row(0).model,
        "folds": {row.layers: [error(measure, score) for score in row.scores] for row in study.rows},
        "seconds": sum(row.seconds * FOLDS for row in study.rows),
        "sentence": study.sentence,
    }


def chosen(found: dict[str, Any]) -> dict[str, int]:
    """Give what each rule takes, by the errors in the folds that a repetition kept."""
    losses = {int(depth): np.array(errors)[:, None] for depth, errors in found["folds"].items()}
    return {
        "study": choose_depth(losses, test_share=1 / (FOLDS - 1), min_gain=0.0),
        "argmin": min(losses, key=lambda depth: float(losses[depth].mean())),
        "always two": 2,
    }


def kept(name: str, repetition: int) -> Path:
    """Give the file of a repetition; a task that was made another way has other files."""
    task: Task = TASKS[name]
    source = task.source if isinstance(task.source, str) else task.source.__name__
    design = [FOLDS, str(PLAN), source, task.training, task.test, task.units, task.updates]
    return KEPT / f"{name}-{hashlib.sha256(json.dumps(design).encode()).hexdigest()[:8]}-{repetition}.json"


def main() -> None:
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--finished", action="store_true", help="write the page from what is kept")
    given = parser.parse_args()
    torch.set_num_threads(1)
    KEPT.mkdir(parents=True, exist_ok=True)
    # By repetition, so that a run that is cut short has as many of each task.
    for repetition in () if given.finished else range(given.repetitions):
        for name in given.tasks:
            path = kept(name, repetition)
            if not path.exists():
                found = run(name, repetition, given.data)
                path.write_text(json.dumps(found, indent=1), encoding="utf-8")
                print(name, repetition, found["sentence"], flush=True)
    write_page(given.repetitions)


def write_page(repetitions: int) -> None:
    """Summarise the repetitions that are kept; one alone has no spread, and its task is left out."""
    tasks = {}
    for name, task in TASKS.items():
        paths = [kept(name, repetition) for repetition in range(repetitions)]
        found = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
        if len(found) > 1:
            settings = {key: value for key, value in vars(task).items() if key != "source"}
            taken = [one | {"chosen": chosen(one)} for one in found]
            tasks[name] = settings | {"summary": summary_of(taken, task.right)}
    if not tasks:
        print("no page: it needs two finished repetitions of a task")
        return
    page = {
        "machine": describe_machine(),
        "versions": {
            "gatestack": gatestack.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "folds": FOLDS,
        "repetitions": repetitions,
        "tasks": tasks,
    }
    results = HERE / "results"
    (results / "depth_recovery.json").write_text(
        json.dumps(page, indent=1, default=vars) + "\n", encoding="utf-8"
    )
    (results / "depth_recovery.md").write_text(depth_recovery_page(page), encoding="utf-8")


if __name__ == "__main__":
    main()
