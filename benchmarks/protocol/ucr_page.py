"""The page of the classification benchmark."""

from __future__ import annotations

import statistics
from typing import Any

from protocol.machine import machine_words
from protocol.tables import markdown_table

__all__ = ["DEFAULT", "ENSEMBLE", "LINEAR", "PROBLEMS", "PUBLISHED", "UNSEEN", "ucr_page"]

DEFAULT, ENSEMBLE, LINEAR = "Gatestack default", "Gatestack default, seeds as one", "its linear part alone"

PROBLEMS = {
    "GunPoint": "50 / 150, 2 classes",
    "ItalyPowerDemand": "67 / 1,029, 2 classes",
    "ArrowHead": "36 / 175, 3 classes",
    "OSULeaf": "200 / 242, 6 classes",
    "ECG200": "100 / 100, 2 classes",
    "PLAID": "537 / 537, 11 classes, unequal length",
    "BasicMotions": "40 / 40, 4 classes, 6 channels",
    "Epilepsy": "137 / 138, 4 classes, 3 channels",
    "AtrialFibrillation": "15 / 15, 3 classes, 2 channels",
    "JapaneseVowels": "270 / 370, 9 classes, 12 channels, unequal length",
}

UNSEEN = {
    "ACSF1": "100 / 100, 10 classes",
    "Coffee": "28 / 28, 2 classes",
    "PickupGestureWiimoteZ": "50 / 50, 10 classes, unequal length",
    "PigCVP": "104 / 208, 52 classes",
    "Trace": "100 / 100, 4 classes",
}

# Per cent, over the problems in this order: GunPoint, ItalyPowerDemand, ArrowHead, OSULeaf, ECG200, PLAID,
# JapaneseVowels. Means of 10 runs (PLAID: 5), from the README and result files of hfawaz/dl-4-tsc.
_PUBLISHED_ON = ("GunPoint", "ItalyPowerDemand", "ArrowHead", "OSULeaf", "ECG200", "PLAID", "JapaneseVowels")
_PUBLISHED = {
    "MLP": (92.7, 95.4, 77.8, 55.7, 91.6, 62.5, 97.6),
    "FCN": (100.0, 96.1, 84.3, 97.7, 88.9, 90.4, 99.3),
    "ResNet": (99.1, 96.3, 84.5, 97.9, 87.4, 94.0, 99.2),
    "Encoder": (93.6, 96.5, 80.4, 57.6, 92.3, 72.8, 97.6),
    "Time-CNN": (93.2, 95.5, 72.3, 46.2, 81.4, 64.1, 95.6),
    "TWIESN": (96.1, 88.0, 65.9, 59.5, 84.2, 53.3, 96.5),
}
PUBLISHED = {
    model: dict(zip(_PUBLISHED_ON, (value / 100 for value in values), strict=True))
    for model, values in _PUBLISHED.items()
}


def _means(rows: list[dict[str, Any]], key: str = "accuracy") -> dict[str, dict[str, list[float]]]:
    """Model -> problem -> one value per seed."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if row[key] is not None:
            found.setdefault(row["model"], {}).setdefault(row["problem"], []).append(row[key])
    return found


def _cell(values: list[float]) -> str:
    text = f"{100 * statistics.mean(values):.1f}"
    if len(values) > 1:
        text += f" ({100 * min(values):.1f}–{100 * max(values):.1f})"
    return text


def _ranks(scores: dict[str, dict[str, float]], problems: list[str]) -> dict[str, float]:
    """Mean rank of each model over problems that all have; equal scores share their ranks."""
    ranks: dict[str, list[float]] = {model: [] for model in scores}
    for problem in problems:
        for model, own in scores.items():
            better = sum(other[problem] > own[problem] + 1e-9 for other in scores.values())
            equal = sum(abs(other[problem] - own[problem]) <= 1e-9 for other in scores.values())
            ranks[model].append(better + (equal + 1) / 2)
    return {model: statistics.mean(values) for model, values in ranks.items()}


def _ours_and_peers(accuracy: dict[str, dict[str, list[float]]], problems: list[str]) -> str:
    models = [
        DEFAULT,
        ENSEMBLE,
        LINEAR,
        *(model for model in accuracy if model not in (DEFAULT, ENSEMBLE, LINEAR)),
    ]
    models = [model for model in models if any(problem in accuracy.get(model, {}) for problem in problems)]
    rows = [
        [problem, *(_cell(accuracy[m][problem]) if problem in accuracy[m] else "–" for m in models)]
        for problem in problems
    ]
    whole = [m for m in models if all(problem in accuracy[m] for problem in problems)]
    means = ["**mean**"]
    for model in models:
        value = statistics.mean(statistics.mean(v) for p, v in accuracy[model].items() if p in problems)
        means.append(f"**{100 * value:.1f}**" if model in whole else f"({100 * value:.1f})")
    return markdown_table(["problem", *models], [*rows, means])


def _beside_published(ours: dict[str, float]) -> str:
    problems = [problem for problem in _PUBLISHED_ON if problem in ours]
    scores = {DEFAULT: {problem: ours[problem] for problem in problems}, **PUBLISHED}
    ranks = _ranks(scores, problems)
    rows = []
    for model in sorted(scores, key=lambda m: -statistics.mean(scores[m][p] for p in problems)):
        own = [scores[model][problem] for problem in problems]
        rows.append(
            [
                model,
                *(f"{100 * value:.1f}" for value in own),
                f"{100 * statistics.mean(own):.1f}",
                f"{ranks[model]:.1f}",
            ]
        )
    return markdown_table(["model", *problems, "mean", "mean rank"], rows)


def _finished(fitted: dict[str, list[float]]) -> str:
    """Say how many seeds there are, and what was not fitted."""
    seeds = sorted({len(values) for values in fitted.values()})
    counts = " or ".join(str(count) for count in seeds)
    words = f"Seeds of the default: {counts} a problem"
    words += "; of one seed no spread is known." if seeds[0] == 1 else "."
    missing = [problem for problem in PROBLEMS | UNSEEN if problem not in fitted]
    return words + (f" Not fitted, for want of time: {', '.join(missing)}." if missing else "")


def _unseen(accuracy: dict[str, dict[str, list[float]]], problems: list[str]) -> str:
    if not problems:
        return "\nNone were fitted.\n"
    return f"""
These five come with Python packages. The recipe was chosen without them, and they were scored once.

{_ours_and_peers(accuracy, problems)}
"""


def _lost(ours: dict[str, float], accuracy: dict[str, dict[str, list[float]]]) -> str:
    others = PUBLISHED | {
        model: {problem: statistics.mean(values) for problem, values in found.items()}
        for model, found in accuracy.items()
        if not model.startswith("Gatestack") and model != LINEAR
    }
    lines = []
    for problem, own in ours.items():
        better = {
            m: found[problem] - own for m, found in others.items() if found.get(problem, 0) > own + 1e-9
        }
        if better:
            words = ", ".join(
                f"{m} +{100 * gap:.1f}" for m, gap in sorted(better.items(), key=lambda p: -p[1])
            )
            lines.append(f"- {problem}: {words}")
    return "\n".join(lines) if lines else "None."


def ucr_page(table: dict[str, Any]) -> str:
    """The page, from the rows of all fits.

    Args:
        table: machine, torch, and rows with problem, model, seed, accuracy, log_loss, seconds.
    """
    rows = table["rows"]
    accuracy = _means(rows)
    fitted = accuracy.get(DEFAULT, {})
    problems = [problem for problem in PROBLEMS if problem in fitted]
    unseen = [problem for problem in UNSEEN if problem in fitted]
    ours = {problem: statistics.mean(accuracy[DEFAULT][problem]) for problem in problems}
    seconds, loss = _means(rows, "seconds"), _means(rows, "log_loss")
    cost = [
        [
            problem,
            (PROBLEMS | UNSEEN)[problem],
            f"{statistics.median(seconds[DEFAULT][problem]):.0f}",
            f"{statistics.mean(loss[DEFAULT][problem]):.3f}",
            f"{statistics.mean(loss[LINEAR][problem]):.3f}",
            str(len(accuracy[DEFAULT][problem])),
        ]
        for problem in problems + unseen
    ]
    head = ["problem", "train / test", "seconds a fit", "log loss", "log loss, linear part", "seeds"]
    return f"""# Classification on ten archive problems

Accuracy on the test files in per cent: mean over seeds, in brackets the lowest and the highest seed. Models
were fitted on the training files; the recipe was chosen by cross-validation on training files alone
([ucr_recipe.md](ucr_recipe.md)), and no epoch, seed or setting was chosen by a test score. A mean in brackets
is over fewer problems than the others. {_finished(fitted)}

{_ours_and_peers(accuracy, problems)}

"{LINEAR}" is the same fit without its recurrent stack: what the stack adds, or costs, is the
difference. "{ENSEMBLE}" is the mean of the seeds' probabilities, as with `members`. MiniRocket
is aeon's, as are the distances of DTW, run on the same files; series of unequal length were filled with zeros
for MiniRocket and the Euclidean distance. DTW was left out where it would have taken longest.

## On problems that nothing was chosen on
{_unseen(accuracy, unseen)}
## Beside published numbers

{_beside_published(ours)}

Published: Fawaz et al. 2019 and the result files beside it, means of 10 runs (PLAID 5).

## Where the default loses

Points by which the mean of another model, measured here or published, is above ours.

{_lost(ours, accuracy)}

## Cost and log loss

{markdown_table(head, cost)}

One thread, on a machine that other work shared: take the seconds for an upper bound.
AtrialFibrillation has 15 test cases; one case is 6.7 points.

Machine: {machine_words(table["machine"])}, torch {table["torch"]}.
"""
