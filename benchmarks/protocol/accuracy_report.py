"""The committed page of the accuracy benchmark: verdicts first, then every number, losses included."""

from __future__ import annotations

from typing import Any

from protocol.contenders import GATESTACK, NHITS
from protocol.jobs import Budget
from protocol.machine import machine_words
from protocol.problems import PROBLEMS, Problem
from protocol.results import Row, Summary, summarise
from protocol.scores import first_quarter
from protocol.tables import markdown_table

__all__ = ["accuracy_page"]

_CAVEATS = """\
What to know before reading the numbers:

- Every model sees the target only, reads the same window, makes the same number of updates of the same
  number of windows, and forecasts the same (origin, step) pairs. It is fitted once, on what lies before the
  test part.
- "Gatestack Forecaster, carried" is the same fit with its state carried on from the start of the series, as
  in a stream: it may remember more than the window. No verdict rests on it.
- Gatestack runs at one setting for all problems. Each peer runs at the setting that did best on the
  validation split of *that* problem ([peer_settings.md](peer_settings.md)), which favours the peers.
- The recurrent models are equally wide and deep. NHITS has no recurrent layer and keeps its own default
  width, so it has far more parameters.
- `m4_hourly` mixes series of very different size: read MASE there; its MAE is that of its few largest series.
- Missing values (`beijing_pm25`) are part of no score. Models without a mask get them filled forward.
- Denormal numbers are taken as zero for every model; without that, windows of 240 steps and more train up to
  ten times slower on this CPU, whichever library runs them.
- Seconds are those of one thread while other fits ran on the machine: read them as a magnitude.
"""


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def _with_spread(spread: tuple[float, float, float], seeds: int) -> str:
    middle, low, high = (_number(value) for value in spread)
    return middle if seeds == 1 else f"{middle} ({low}–{high})"


def _error(summary: Summary, problem: Problem) -> float:
    """The error by which models are ranked: MASE where series differ in size, else MAE."""
    return summary.mase[0] if len(problem.series.values) > 1 else summary.mae[0]


def _steps(summary: Summary, problem: Problem) -> list[float]:
    """The same error for each step of the first quarter of the horizon."""
    steps = summary.mase_per_step if len(problem.series.values) > 1 else summary.mae_per_step
    return steps[: first_quarter(problem.settings.horizon)]


def _against(own: Summary, group: list[Summary], problem: Problem) -> str:
    """The error of Gatestack relative to the best of `group`, in per cent."""
    if not group:
        return "–"
    best = min(group, key=lambda s: _error(s, problem))
    return f"{100 * (_error(own, problem) / _error(best, problem) - 1):+.1f} % ({best.model})"


def _verdict(summaries: list[Summary], problem: Problem) -> list[str] | None:
    """One line of the table of verdicts, or None when Gatestack did not take part."""
    own = next((s for s in summaries if s.model == GATESTACK.label), None)
    if own is None:
        return None
    recurrent = [s for s in summaries if s.kind == "recurrent" and s is not own]
    steps = _steps(own, problem)
    ahead = sum(all(steps[k] < _steps(s, problem)[k] for s in recurrent) for k in range(len(steps)))
    return [
        problem.name,
        _against(own, recurrent, problem),
        f"{ahead} of {len(steps)}",
        _against(own, [s for s in summaries if s.kind == "baseline"], problem),
        _against(own, [s for s in summaries if s.model == NHITS], problem),
    ]


def _score_table(summaries: list[Summary], problem: Problem) -> str:
    quarter = first_quarter(problem.settings.horizon)
    rows = []
    for summary in sorted(summaries, key=lambda s: _error(s, problem)):
        facts = summary.facts
        rows.append(
            [
                f"**{summary.model}**" if summary.model == GATESTACK.label else summary.model,
                _with_spread(summary.mae, summary.seeds),
                _with_spread(summary.mase, summary.seeds),
                _number(sum(summary.mae_per_step[:quarter]) / quarter),
                _number(sum(summary.mase_per_step[:quarter]) / quarter),
                f"{facts['parameters']:,}" if "parameters" in facts else "–",
                str(facts.get("loss", "–")),
                f"{facts['fit_seconds']:.0f}" if "fit_seconds" in facts else "–",
            ]
        )
    quarters = ["MAE, first quarter", "MASE, first quarter"]
    return markdown_table(["model", "MAE", "MASE", *quarters, "parameters", "loss", "fit, s"], rows)


def _step_table(summaries: list[Summary], problem: Problem) -> str:
    ranked = sorted(summaries, key=lambda s: _error(s, problem))
    rows = [[s.model, *(_number(x) for x in _steps(s, problem))] for s in ranked]
    score = "MASE" if len(problem.series.values) > 1 else "MAE"
    steps = range(1, first_quarter(problem.settings.horizon) + 1)
    return markdown_table([f"{score} at step", *map(str, steps)], rows)


def _problem_section(problem: Problem, summaries: list[Summary]) -> str:
    settings = problem.settings
    count = len(problem.series.values)
    stride = "one per series" if settings.test_steps == 0 else f"{settings.stride} apart"
    facts = (
        f"Horizon {settings.horizon}, window {settings.window}, {count} series, "
        f"{sum(problem.train_ends):,} values before the {problem.split} part, "
        f"{len(problem.origins)} origins ({stride}); MASE against season {settings.seasons[0]}."
    )
    return "\n\n".join(
        [
            f"## {problem.name}",
            facts,
            _score_table(summaries, problem),
            "Each step of the first quarter of the horizon (median over seeds):",
            _step_table(summaries, problem),
        ]
    )


def _how(rows: list[Row], problems: list[Problem], budget: Budget, machine: dict[str, Any]) -> str:
    seeds = sorted({row.seed for row in rows if row.seed is not None})
    packages = sorted({f"{k} {v}" for row in rows for k, v in row.facts.get("packages", {}).items()})
    command = "python benchmarks/forecast_accuracy.py"
    if problems[0].split == "validation":
        command += " --split validation"
    if len(problems) < len(PROBLEMS):
        command += " --problems " + " ".join(problem.name for problem in problems)
    return (
        f"{budget.layers} layers of {budget.hidden_size}, "
        f"{budget.updates} updates of {budget.batch_size} windows, "
        f"seeds {', '.join(map(str, seeds))}, {budget.threads} thread per fit, float32.\n"
        f"{machine_words(machine)}.\n"
        f"{', '.join(packages)}.\n\n"
        f"Again: `{command}`; the protocol is in [the README](../README.md)."
    )


def accuracy_page(rows: list[Row], problems: list[Problem], budget: Budget, machine: dict[str, Any]) -> str:
    """Markdown of the whole benchmark."""
    summaries = {problem.name: summarise(rows, problem.name) for problem in problems}
    verdicts = [line for p in problems if (line := _verdict(summaries[p.name], p)) is not None]
    parts = [
        f"# Forecast accuracy ({problems[0].split} split)",
        "Median over seeds, in brackets the lowest and the highest seed. Sorted by MAE (`m4_hourly`: MASE).",
        _CAVEATS.rstrip(),
    ]
    if verdicts:
        head = [
            "problem",
            "against the best recurrent peer",
            "first-quarter steps ahead of every recurrent peer",
            "against the best naive or linear baseline",
            "against NHITS",
        ]
        parts += [
            "Error of Gatestack relative to others (minus: Gatestack is better):",
            markdown_table(head, verdicts),
        ]
    parts += [_problem_section(problem, summaries[problem.name]) for problem in problems]
    parts += ["## How it was run", _how(rows, problems, budget, machine)]
    return "\n\n".join(parts) + "\n"
