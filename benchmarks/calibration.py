"""What fitting a temperature is worth: log loss with and without, by cross-validation on training parts.

    python benchmarks/calibration.py              # three folds, three seeds; half an hour on a shared core
    python benchmarks/calibration.py --finished   # write the page from what is kept

Reads the training files of the problems in `ucr.py`, no test file. Each fold is answered by a fit at the
defaults of `Classifier` on the others; the temperature is found as `calibration="temperature"` finds it, on
three folds of that training part, so that the held-out fold is as unseen by it as by the networks. PLAID and
OSULeaf are left out unless asked for: their twelve fits a seed take longest. Each finished fold is kept under
`runs/benchmarks/calibration/`. Writes `results/calibration.json` and `results/calibration.md`.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from protocol.machine import describe_machine, machine_words
from protocol.tables import markdown_table
from protocol.ucr_page import PROBLEMS

from gatestack.data.collections import read_labelled
from gatestack.data.sequences import Sequences
from gatestack.tasks.labelled import Architecture, LabelledPlan, fit_members, run_members
from gatestack.tasks.labelled.calibration import class_shares, find_temperature, folds_of, held_out

HERE = Path(__file__).resolve().parent
RECIPES = {
    "default": ((64, 64), Architecture()),
    "plain": ((64, 64), Architecture(recipe="plain")),
}
LONG = ("PLAID", "OSULeaf")
FOLDS = 3


def logits_of(sequences: Sequences, classes: np.ndarray, asked: Sequences, plan: LabelledPlan) -> np.ndarray:
    """Fit, and answer other series: (1, n, K)."""
    members = fit_members(sequences, classes, plan)
    if any(member.record.stopped_by == "interrupt" for member in members):
        raise SystemExit("the fit was interrupted")
    return run_members([member.network for member in members], asked)


def fold_logits(
    sequences: Sequences, classes: np.ndarray, plan: LabelledPlan, fold: np.ndarray
) -> dict[str, np.ndarray]:
    """Fit, answer one fold, and answer each case of the others by a fit without it: logits and truths."""
    inside, outside = np.flatnonzero(fold), np.flatnonzero(~fold)
    training, known = sequences.rows(outside), classes[outside]
    logits = logits_of(training, known, sequences.rows(inside), plan)
    unseen = np.zeros((1, len(known), plan.outputs))

    def answer(rows: np.ndarray, asked: np.ndarray) -> np.ndarray:
        return logits_of(training.rows(rows), known[rows], training.rows(asked), plan)

    for rows, found in held_out(folds_of(known, FOLDS, classes=True, seed=plan.seeds[0]), answer):
        unseen[:, rows] = found
    return {"logits": logits, "truth": classes[inside], "unseen": unseen, "known": known}


def log_loss(logits: np.ndarray, truth: np.ndarray, temperature: float) -> float:
    """Sum over the cases."""
    chosen = class_shares(logits, temperature)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, 1e-12)).sum())


def fold_row(kept: dict[str, np.ndarray]) -> dict[str, Any]:
    """Log loss and accuracy on a fold, without a temperature and with one found on the others."""
    logits, truth = kept["logits"], kept["truth"]
    soft = find_temperature(kept["unseen"], kept["known"])
    # As the paper has it, from the cases as they are: at the end of its range where all of them are right.
    grid = np.geomspace(0.05, 20.0, 200)
    hard = float(grid[np.argmin([log_loss(kept["unseen"], kept["known"], heat) for heat in grid])])
    return {
        "cases": len(truth),
        "temperature": soft,
        "loss": log_loss(logits, truth, 1.0),
        "calibrated": log_loss(logits, truth, soft),
        "unsoftened": log_loss(logits, truth, hard),
        "right": int((class_shares(logits, 1.0).argmax(axis=1) == truth).sum()),
    }


def rows_of(options: argparse.Namespace, cache: Path) -> list[dict[str, Any]]:
    """A row for each problem, recipe, seed and fold, kept or new."""
    rows = []
    for recipe in options.recipes:
        for seed in range(options.seeds):
            for problem in options.problems:
                read = read_labelled(options.data / problem / f"{problem}_TRAIN.ts")
                names, classes = np.unique(np.asarray(read.labels), return_inverse=True)
                widths, architecture = RECIPES[recipe]
                plan = LabelledPlan(
                    task="classify",
                    outputs=len(names),
                    widths=widths,
                    architecture=architecture,
                    seeds=(seed,),
                )
                dealt = folds_of(classes, FOLDS, classes=True, seed=100 + seed)
                for fold in range(FOLDS):
                    kept = cache / f"{problem}-{recipe}-{seed}-{fold}.npz"
                    if not kept.exists():
                        if options.finished:
                            continue
                        np.savez(kept, **fold_logits(read.sequences, classes, plan, dealt == fold))
                        print(kept.stem, flush=True)
                    about = {"problem": problem, "recipe": recipe, "seed": seed, "fold": fold}
                    rows.append(about | fold_row(dict(np.load(kept))))
    return rows


def losses(rows: list[dict[str, Any]], key: str) -> list[float]:
    """Mean log loss of each seed, over all its folds."""
    seeds = sorted({row["seed"] for row in rows})
    found = []
    for seed in seeds:
        own = [row for row in rows if row["seed"] == seed]
        found.append(sum(row[key] for row in own) / sum(row["cases"] for row in own))
    return found


def spread(values: list[float]) -> str:
    """The mean, and where there are several the lowest and the highest."""
    text = f"{statistics.mean(values):.3f}"
    return text if len(values) < 2 else f"{text} ({min(values):.3f}–{max(values):.3f})"


def section(rows: list[dict[str, Any]], recipe: str) -> str:
    """The table of one recipe, and what it says."""
    own = [row for row in rows if row["recipe"] == recipe]
    problems = [name for name in PROBLEMS if any(row["problem"] == name for row in own)]
    lines, gains = [], []
    for problem in problems:
        part = [row for row in own if row["problem"] == problem]
        before, after, hard = (losses(part, key) for key in ("loss", "calibrated", "unsoftened"))
        gains.append(statistics.mean(before) - statistics.mean(after))
        heats = [row["temperature"] for row in part]
        accuracy = 100 * sum(row["right"] for row in part) / sum(row["cases"] for row in part)
        lines.append(
            [
                problem,
                f"{accuracy:.1f}",
                spread(before),
                spread(after),
                spread(hard),
                f"{-gains[-1]:+.3f}",
                f"{statistics.median(heats):.2f} ({min(heats):.2f}–{max(heats):.2f})",
            ]
        )
    better = sum(gain > 0 for gain in gains)
    head = ["problem", "accuracy, %", "log loss", "calibrated", "not softened", "change", "temperature"]
    return f"""## Recipe "{recipe}"

{markdown_table(head, lines)}

Lower on {better} of {len(problems)} problems; mean change {-statistics.mean(gains):+.3f}.
"""


def page(table: dict[str, Any]) -> str:
    """The page of results."""
    rows = table["rows"]
    seeds = len({row["seed"] for row in rows})
    recipes = [recipe for recipe in RECIPES if any(row["recipe"] == recipe for row in rows)]
    sections = "\n".join(section(rows, recipe) for recipe in recipes)
    return f"""# What a fitted temperature is worth

Log loss on held-out folds of the **training files**, {FOLDS} folds, {seeds} seeds (cases are dealt anew for
each): mean over seeds, in brackets the lowest and the highest. "Calibrated" divides the logits by the
temperature that `calibration="temperature"` finds inside each training part, at the cost of three more fits;
"change" is what that does. "Not softened" is the temperature of Guo et al. 2017 to the letter, which has no
bound where all held-out cases are right. No test file was read. Lower is better; accuracy does not change
with one member.

{sections}
Machine: {machine_words(table["machine"])}, torch {table["torch"]}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data" / "ucr_uea")
    parser.add_argument(
        "--problems",
        nargs="+",
        choices=list(PROBLEMS),
        default=[problem for problem in PROBLEMS if problem not in LONG],
    )
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=["default"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--finished", action="store_true", help="fit nothing, write what is kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cache = HERE.parent / "runs" / "benchmarks" / "calibration"
    cache.mkdir(parents=True, exist_ok=True)
    rows = rows_of(options, cache)
    table = {"machine": describe_machine(), "torch": torch.__version__, "folds": FOLDS, "rows": rows}
    results = HERE / "results"
    (results / "calibration.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    (results / "calibration.md").write_text(page(table), encoding="utf-8")
    print(f"wrote {results / 'calibration.json'} and {results / 'calibration.md'}")


if __name__ == "__main__":
    main()
