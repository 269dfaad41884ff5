"""The page of `depth_recovery.py`: what each depth is worth on the test parts, and what each rule costs."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean, median, stdev
from typing import Any

from scipy import stats

from protocol.machine import machine_words
from protocol.tables import markdown_table

__all__ = ["Mean", "depth_recovery_page", "regrets", "summary_of"]

Found = list[dict[str, Any]]  # the repetitions of a task
STUDY, ARGMIN, TWO = RULES = ("study", "argmin", "always two")


@dataclass(frozen=True)
class Mean:
    """A mean over repetitions, with its standard error."""

    value: float
    error: float
    count: int

    @classmethod
    def of(cls, values: list[float]) -> Mean:
        """Summarise one value per repetition; two or more."""
        return cls(mean(values), stdev(values) / len(values) ** 0.5, len(values))

    @property
    def sure(self) -> bool:
        """Whether the 95 % interval leaves 0 out."""
        if self.count < 3:
            return False
        return abs(self.value) > float(stats.distributions.t.ppf(0.975, self.count - 1)) * self.error

    def percent(self, sign: str = "") -> str:
        """Write it in per cent."""
        return f"{100 * self.value:{sign}.1f} ± {100 * self.error:.1f}"


def regrets(found: Found, rule: str) -> list[float]:
    """Give, for each repetition, how much higher the test error of the depth taken is than the lowest."""
    return [one["test"][str(one["chosen"][rule])] / min(one["test"].values()) - 1 for one in found]


def best_depths(found: Found) -> list[int]:
    """Give the depth with the lowest test error of each repetition."""
    return [int(min(one["test"], key=lambda depth: one["test"][depth])) for one in found]


def counted(depths: list[int]) -> str:
    """Write depths and how often they occur."""
    return ", ".join(f"{depth}: {depths.count(depth)}×" for depth in sorted(set(depths)))


def summary_of(found: Found, right: tuple[int, ...]) -> dict[str, Any]:
    """Summarise the repetitions of a task; shares, not per cent.

    Args:
        found: what the benchmark kept of each repetition.
        right: depths that are right by how the answers are made; empty where nobody knows.
    """
    own = regrets(found, STUDY)
    rules: dict[str, Any] = {}
    for rule in RULES:
        taken, lost = [one["chosen"][rule] for one in found], regrets(found, rule)
        rules[rule] = {
            "taken": counted(taken),
            "right": sum(depth in right for depth in taken) if right else None,
            "regret": Mean.of(lost),
            "worst": max(lost),
            "study_less": Mean.of([other - mine for other, mine in zip(lost, own, strict=True)]),
            "study_better": sum(mine < other for mine, other in zip(own, lost, strict=True)),
            "study_worse": sum(mine > other for mine, other in zip(own, lost, strict=True)),
        }
    depths = sorted(found[0]["test"], key=int)
    return {
        "repetitions": len(found),
        "measure": found[0]["measure"],
        "test": {depth: mean(one["test"][depth] for one in found) for depth in depths},
        "wide": {"units": found[0]["wide"]["units"], "test": mean(one["wide"]["test"] for one in found)},
        "naive": mean(one["naive"] for one in found),
        "best": counted(best_depths(found)),
        "rules": rules,
        "second_layer": Mean.of([1 - one["test"]["2"] / one["test"]["1"] for one in found]),
        "second_over_wide": Mean.of([1 - one["test"]["2"] / one["wide"]["test"] for one in found]),
        "seconds": median(one["seconds"] for one in found),
    }


def depth_recovery_page(page: dict[str, Any]) -> str:
    """Write the page.

    Args:
        page: `tasks`, for each its settings, its right depths and its summary; `folds`; `repetitions` that
            were asked for; `machine`; `versions`.
    """
    tasks: dict[str, dict[str, Any]] = page["tasks"]
    versions = ", ".join(f"{name} {number}" for name, number in page["versions"].items())
    least = min(task["summary"]["repetitions"] for task in tasks.values())
    unfinished = ""
    if least < page["repetitions"]:
        unfinished = f"\n**{least} of {page['repetitions']} repetitions are finished.**\n"
    return f"""# Does a study of depth choose well?

Made by `benchmarks/depth_recovery.py`; the draws are in `benchmarks/depth_tasks.py`.
{unfinished}
Five tasks are made up, so that the rule behind the answers is known; three are real sets. A study of
{page["folds"]} folds and 1 seed (2 are usual) sees the training part alone and looks at depths 0, the best
of the baselines and a perceptron, to 3, at equal width. Then one network per depth is fitted on the whole
training part and scored once on the test part. **Regret**: how much higher that error is, at the depth that
a rule takes, than at the best depth of the same repetition. The error is the MAE; for classes the share of
wrong answers. Beside the study's rule stand the depth with the lowest mean error in the same folds
("argmin"), and "always two".

## What is drawn

{_design_table(tasks)}

Networks are plain LSTMs read at the last step; on `demand` the usual forecaster. The sizes keep a fit at a
second or so. Those of the made-up tasks were chosen on other draws: `map` is one that a perceptron of this
width learns, `signs` and `scales` are learned by layers so narrow that a second one can help.

Tried and not taken: the deepest nesting of brackets (16 to 32 of them, 400 cases, 6 units). On eight draws of
its own the test MAE was 0.34, 0.31 and 0.28 with one, two and three layers, but 0.26 (five draws) with one
layer of 10 units, which has as many parameters as two. An earlier `scales` with 150 cases and 12 units was
learned best by one layer.

## What each depth is worth

Mean test error of all repetitions. "Wide" is one layer with as many parameters as two of the study's width.

{_worth_table(tasks)}

{_worth_words(tasks)}

## What each rule costs

Means over repetitions ± one standard error. "Study less": by how much lower the study's regret is in the same
repetition, in points of per cent; bold where the 95 % interval leaves 0 out.

{_rules_table(tasks)}

{_verdicts(tasks)}

### Why the study takes fewer layers than argmin

It asks another layer to gain more than a standard error, which is made for folds that overlap: with five
folds 0.67 deviations of their differences, 1.5 times the plain standard error. And one seed per fold, as
here, leaves the noise of single fits in these differences. Regret on eleven draws of their own (four of
`memory`, four of `scales`, three of `signs`; depths 1 to 3, fitted twice per fold and for the test part):

| | `memory` | `scales` | `signs` |
| --- | --- | --- | --- |
| study, 1 seed | 4.6 % | 2.6 % | 1.9 % |
| argmin, 1 seed | 0.6 % | 0.8 % | 1.1 % |
| study, 2 seeds | 3.9 % | 0.7 % | 0.9 % |
| argmin, 2 seeds | 1.2 % | 0.7 % | 0.0 % |

## What this does not say

- The repetitions of a real set draw from one finite set: their standard errors speak of other draws from
  that set, not of other sets.
- One test fit per depth: the best depth of a repetition is partly chance, so no rule can have regret 0.
- Where errors are a few per cent of the cases, as on `power`, a small difference is a large relative regret.
- Networks are small and trained briefly; larger ones may have another best depth.

{machine_words(page["machine"])}, one thread, other work beside it; {versions}.
"""


def _design_table(tasks: dict[str, dict[str, Any]]) -> str:
    heads = ["task", "answer", "right depth", "training", "test", "units", "updates", "seconds a study"]
    return markdown_table(
        heads,
        [
            [
                f"`{name}`",
                task["words"],
                " or ".join(map(str, task["right"])) or "unknown",
                *(f"{task[key]:,}" for key in ("training", "test", "units", "updates")),
                f"{task['summary']['seconds']:.0f}",
            ]
            for name, task in tasks.items()
        ],
    )


def _worth_table(tasks: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, task in tasks.items():
        found = task["summary"]
        low = min(found["test"].values())
        errors = [f"**{error:.3g}**" if error == low else f"{error:.3g}" for error in found["test"].values()]
        wide = f"{found['wide']['test']:.3g} ({found['wide']['units']} units)"
        rows.append([f"`{name}`", f"{found['naive']:.3g}", *errors, wide, found["best"]])
    heads = ["task", "naive", "0", "1", "2", "3", "wide", "best depth"]
    return markdown_table(heads, rows)


def _worth_words(tasks: dict[str, dict[str, Any]]) -> str:
    """Say of each made-up task whether its test errors agree with its right depth."""
    lines = []
    for name, task in tasks.items():
        if not task["right"]:
            continue
        found = task["summary"]
        best = int(min(found["test"], key=lambda depth: found["test"][depth]))
        right = " or ".join(map(str, task["right"]))
        agrees = (
            "as it should be"
            if best in task["right"]
            else f"though the rule behind the answers would let one expect {right}"
        )
        line = f"- `{name}`: the lowest mean error is that of depth {best}, {agrees}."
        if task["right"] != (0,):
            line += (
                f" A second layer lowers the error by {found['second_layer'].percent()} %;"
                f" against one layer with as many parameters by {found['second_over_wide'].percent()} %."
            )
        lines.append(line)
    return "\n".join(lines)


def _rules_table(tasks: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, task in tasks.items():
        for rule, found in task["summary"]["rules"].items():
            less: Mean = found["study_less"]
            mark = "**" if less.sure else ""
            rows.append(
                [
                    f"`{name}`",
                    rule,
                    "" if found["right"] is None else f"{found['right']} of {less.count}",
                    found["taken"],
                    f"{found['regret'].percent()} %",
                    f"{100 * found['worst']:.1f} %",
                    "" if rule == STUDY else f"{mark}{less.percent('+')}{mark}",
                    "" if rule == STUDY else f"{found['study_better']} : {found['study_worse']}",
                ]
            )
    heads = ["task", "rule", "right", "taken", "regret", "worst", "study less", "study better : worse"]
    return markdown_table(heads, rows)


def _verdicts(tasks: dict[str, dict[str, Any]]) -> str:
    """Say where the study's rule has less regret than another, and where more."""
    lines = []
    for rule in (ARGMIN, TWO):
        less = {name: task["summary"]["rules"][rule]["study_less"] for name, task in tasks.items()}
        overall = mean(found.value for found in less.values())
        side = "lower" if overall > 0 else "higher"
        parts = [
            f"Against {rule}: the study's regret is {100 * abs(overall):.1f} points {side} on the mean of "
            f"the {len(less)} tasks"
        ]
        for words, sign in (("less", 1), ("more", -1)):
            names = [
                f"`{name}` ({found.percent('+')})"
                for name, found in less.items()
                if found.sure and sign * found.value > 0
            ]
            parts.append(f"measurably {words} on {', '.join(names) if names else 'none'}")
        unsure = [f"`{name}`" for name, found in less.items() if not found.sure]
        parts.append(f"no measurable difference on {', '.join(unsure) if unsure else 'none'}")
        lines.append(f"- {'; '.join(parts)}.")
    return "\n".join(lines)
