"""The committed page of the accuracy benchmark: verdicts first, then every number, losses included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from protocol.contenders import GATESTACK
from protocol.jobs import Budget
from protocol.machine import machine_words
from protocol.problems import PROBLEMS, Problem
from protocol.results import Row, Summary, summarise
from protocol.scores import first_quarter
from protocol.tables import markdown_table
from protocol.verdicts import error, step_errors, verdict_sentence, verdict_tables

__all__ = ["accuracy_page"]

_CAVEATS = """\
What to know before reading the numbers:

- Every model sees the target only, reads the same window, makes the same number of updates of the same
  number of windows, and forecasts the same (origin, step) pairs. It is fitted once, on what lies before the
  test part.
- "Gatestack Forecaster, carried" is the same fit with its state carried on from the start of the series, as
  in a stream: it may remember more than the window. No verdict rests on it.
- Gatestack runs at one setting for all problems, its defaults. Each peer runs at the better of two scalings
  for *that* problem, tried on a validation split ([peer_settings.md](peer_settings.md), which also names the
  problems without a trial of their own). Nothing else of the peers was tuned: another learning rate, or the
  recursive mode of NeuralForecast's LSTM, might serve them better.
- The number of updates is small: it was set by the time at hand, and is half of what NeuralForecast takes by
  default. Where a recurrent peer is worse than the last value at step 1, it may be far from trained. Read
  this page as "what is learned in so few updates", not as what each library reaches.
- The losses differ: the peers train on the absolute error, which is also the score; Gatestack trains on
  quantiles, of which the median is scored.
- Gatestack starts from a linear autoregression of its own, fitted to the same data, and learns what that
  lacks; the weights of that start are in its number of parameters. The peers have no such part. "linear
  autoregression" in the tables is a separate model of the benchmark, and shows how far a line alone gets.
- The recurrent models are equally wide and deep. NHITS has no recurrent layer and keeps its own default
  width, so it has far more parameters.
- `m4_hourly` mixes series of very different size: read MASE there; its MAE is that of its few largest series.
- Missing values (`beijing_pm25`) are part of no score. Models without a mask get them filled forward.
- Denormal numbers are taken as zero for every model; without that, windows of 240 steps and more train up to
  ten times slower on this CPU, whichever library runs them.
- Seconds are those of one thread while other fits ran on the machine: read them as a magnitude.
"""

_MISSING = """\
**Not finished.** The fits below are in no number of this page, for want of time. A median over two seeds is
their mean; where one seed is there, no spread is known, and a difference of a few per cent may be chance. The
column "seeds" says how many there are.
"""


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def _with_spread(spread: tuple[float, float, float], seeds: int) -> str:
    middle, low, high = (_number(value) for value in spread)
    return middle if seeds == 1 else f"{middle} ({low}–{high})"


def _score_table(summaries: list[Summary], problem: Problem) -> str:
    rows = []
    for summary in sorted(summaries, key=lambda s: error(s, problem)[0]):
        facts, seeds = summary.facts, summary.seeds
        spreads = (summary.mae, summary.mase, summary.mae_first, summary.mase_first)
        rows.append(
            [
                f"**{summary.model}**" if summary.model == GATESTACK.label else summary.model,
                "–" if summary.kind == "baseline" else str(seeds),
                *(_with_spread(spread, seeds) for spread in spreads),
                f"{facts['parameters']:,}" if "parameters" in facts else "–",
                str(facts.get("loss", "–")),
                f"{facts['fit_seconds']:.0f}" if "fit_seconds" in facts else "–",
            ]
        )
    quarters = ["MAE, first quarter", "MASE, first quarter"]
    head = ["model", "seeds", "MAE", "MASE", *quarters, "parameters", "loss", "fit, s"]
    return markdown_table(head, rows)


def _settings_line(summaries: list[Summary]) -> str:
    """What was chosen for this problem, model by model."""
    said = []
    for summary in summaries:
        options = summary.facts.get("options")
        if options is not None and summary.kind != "variant":
            words = ", ".join(f"{name}={value}" for name, value in options.items())
            said.append(f"{summary.model}: {words or 'defaults'}")
    return "Settings: " + "; ".join(said) + "."


def _step_table(summaries: list[Summary], problem: Problem) -> str:
    ranked = sorted(summaries, key=lambda s: error(s, problem)[0])
    rows = [[s.model, *(_number(x) for x in step_errors(s, problem))] for s in ranked]
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
    verdict = verdict_sentence(summaries, problem)
    return "\n\n".join(
        [
            f"## {problem.name}",
            *([verdict] if verdict else []),
            facts,
            _score_table(summaries, problem),
            _settings_line(summaries),
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


def _missing_lines(missing: Sequence[tuple[str, str, int]]) -> str:
    """One line per problem: which seeds of which model are not there."""
    seeds: dict[str, dict[str, list[int]]] = {}
    for problem, model, seed in missing:
        seeds.setdefault(problem, {}).setdefault(model, []).append(seed)
    lines = []
    for problem, models in seeds.items():
        said = [f"{model}: {', '.join(map(str, sorted(own)))}" for model, own in models.items()]
        lines.append(f"- `{problem}`, seeds missing of {'; '.join(said)}")
    return "\n".join(lines)


def accuracy_page(
    rows: list[Row],
    problems: list[Problem],
    budget: Budget,
    machine: dict[str, Any],
    missing: Sequence[tuple[str, str, int]] = (),
) -> str:
    """Markdown of the whole benchmark; `missing` names (problem, model, seed) of the fits not in it."""
    summaries = {problem.name: summarise(rows, problem.name) for problem in problems}
    parts = [f"# Forecast accuracy ({problems[0].split} split)"]
    if missing:
        parts += [_MISSING.rstrip(), _missing_lines(missing)]
    parts += [
        "Median over seeds, in brackets the lowest and the highest seed. Sorted by MAE (`m4_hourly`: MASE).",
        *verdict_tables(summaries, problems),
        _CAVEATS.rstrip(),
    ]
    parts += [_problem_section(problem, summaries[problem.name]) for problem in problems]
    parts += ["## How it was run", _how(rows, problems, budget, machine)]
    return "\n\n".join(parts) + "\n"
