"""Gatestack beside each of the others on one problem: in per cent, step by step, and in a sentence."""

from __future__ import annotations

from protocol.contenders import GATESTACK, NHITS
from protocol.problems import Problem
from protocol.results import Summary
from protocol.scores import first_quarter
from protocol.tables import markdown_table

__all__ = ["error", "first_quarter_error", "step_errors", "verdict_sentence", "verdict_tables"]

LINEAR = "linear autoregression"
LAST_VALUE = "last value"

Spread = tuple[float, float, float]


def _ranked_by_mase(problem: Problem) -> bool:
    """Whether models are ranked by MASE (series differ in size) and not by MAE."""
    return len(problem.series.values) > 1


def error(summary: Summary, problem: Problem) -> Spread:
    """The error by which models are ranked: (median, lowest, highest) over seeds."""
    return summary.mase if _ranked_by_mase(problem) else summary.mae


def first_quarter_error(summary: Summary, problem: Problem) -> Spread:
    """The same error over the first quarter of the horizon."""
    return summary.mase_first if _ranked_by_mase(problem) else summary.mae_first


def step_errors(summary: Summary, problem: Problem) -> list[float]:
    """The same error for each step of the first quarter of the horizon, median over seeds."""
    steps = summary.mase_per_step if _ranked_by_mase(problem) else summary.mae_per_step
    return steps[: first_quarter(problem.settings.horizon)]


def _more(own: Spread, other: Spread) -> float:
    return 100 * (own[0] / other[0] - 1)


def _overlap(own: Spread, other: Spread) -> bool:
    """Whether some seed of one lies within the range of the other."""
    return own[1] <= other[2] and other[1] <= own[2]


def _cell(own: Spread, other: Spread, seeds: int) -> str:
    """Per cent and what may be chance about it; `seeds` is the smaller number of the two models."""
    doubt = " ≈" if _overlap(own, other) else " (1 seed)" if seeds == 1 else ""
    return f"{_more(own, other):+.1f} %{doubt}"


def _columns(summaries: list[Summary], problem: Problem) -> dict[str, Summary]:
    """The others in the order of the tables: recurrent peers, the best naive answer, linear, NHITS."""
    by_name = {s.model: s for s in summaries}
    columns = {s.model: s for s in summaries if s.kind == "recurrent" and s.model != GATESTACK.label}
    naive = [s for s in summaries if s.kind == "baseline" and s.model != LINEAR]
    if naive:
        columns["best naive"] = min(naive, key=lambda s: error(s, problem)[0])
    columns |= {name: by_name[name] for name in (LINEAR, NHITS) if name in by_name}
    return columns


def _own(summaries: list[Summary]) -> Summary | None:
    return next((s for s in summaries if s.model == GATESTACK.label), None)


def verdict_tables(summaries: dict[str, list[Summary]], problems: list[Problem]) -> list[str]:
    """Two tables of all problems, over the whole horizon and over its first quarter."""
    columns = {p.name: _columns(summaries[p.name], p) for p in problems}
    names = list(dict.fromkeys(name for others in columns.values() for name in others))
    whole, early = [], []
    for problem in problems:
        own = _own(summaries[problem.name])
        if own is None:
            continue
        steps, own_first = step_errors(own, problem), first_quarter_error(own, problem)
        row, row_early = [problem.name], [problem.name]
        for name in names:
            other = columns[problem.name].get(name)
            if other is None:
                row, row_early = [*row, "not run"], [*row_early, "not run"]
                continue
            ahead = sum(a < b for a, b in zip(steps, step_errors(other, problem), strict=True))
            seeds = own.seeds if other.kind == "baseline" else min(own.seeds, other.seeds)
            row.append(_cell(error(own, problem), error(other, problem), seeds))
            cell = _cell(own_first, first_quarter_error(other, problem), seeds)
            row_early.append(f"{cell}, {ahead} of {len(steps)}")
        whole.append(row)
        early.append(row_early)
    if not whole:
        return []
    return [
        "Error of Gatestack relative to each other model over the whole horizon, in per cent of theirs. "
        "Minus: Gatestack is better. ≈: the ranges of the seeds overlap, so the order may be chance.",
        markdown_table(["problem", *names], whole),
        "The same over the first quarter of the horizon, and the number of its steps at which the median of "
        "Gatestack is the lower one.",
        markdown_table(["problem", *names], early),
    ]


def _phrase(own: Spread, other: Spread) -> str:
    more = _more(own, other)
    if _overlap(own, other):
        return f"level within the seeds ({more:+.1f} %)"
    return f"better ({more:+.1f} %)" if more < 0 else f"worse ({more:+.1f} %)"


def verdict_sentence(summaries: list[Summary], problem: Problem) -> str | None:
    """Where Gatestack stands on one problem, or None when it did not take part."""
    own = _own(summaries)
    if own is None:
        return None
    others = [s for s in summaries if s.kind != "variant"]
    ranking = sorted(others, key=lambda s: error(s, problem)[0])
    place = ranking.index(own) + 1
    recurrent = [s for s in ranking if s.kind == "recurrent" and s is not own]
    simple = [s for s in ranking if s.kind == "baseline"]
    before = ", ".join(s.model for s in ranking[: place - 1])
    parts = [
        f"Gatestack is number {place} of {len(ranking)} models" + (f", behind {before}" if before else "")
    ]
    for group, title in ((recurrent, "best recurrent peer"), (simple, "best naive or linear answer")):
        if group:
            best = group[0]
            name = best.model
            behind = _more(error(best, problem), error(simple[0], problem)) if simple else 0.0
            if group is recurrent and behind > 0:
                name += f" (itself {behind:.1f} % behind {simple[0].model})"
            phrase = _phrase(error(own, problem), error(best, problem))
            parts.append(f"against the {title}, {name}: {phrase}")
    last = next((s for s in simple if s.model == LAST_VALUE), None)
    if recurrent and last is not None:
        times = step_errors(recurrent[0], problem)[0] / step_errors(last, problem)[0]
        if times > 1:
            parts.append(
                f"at step 1 that peer errs {times:.1f} times as much as the last value, so it may be far "
                "from trained and the difference says little about what it can reach"
            )
    own_steps, counts = step_errors(own, problem), []
    for other in (*recurrent, *simple[:1], *(s for s in simple[1:] if s.model == LINEAR)):
        ahead = sum(a < b for a, b in zip(own_steps, step_errors(other, problem), strict=True))
        counts.append(f"{ahead} against {other.model}")
    if counts:
        parts.append(f"steps ahead among the first {len(own_steps)}: {', '.join(counts)}")
    return "**Verdict.** " + "; ".join(parts) + "."
