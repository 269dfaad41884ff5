"""The rows of the benchmark: one per problem, model and seed; and their median over seeds."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any

from protocol.jobs import Answer, Contender
from protocol.problems import Problem
from protocol.scores import Scores, first_quarter, score

__all__ = ["Row", "Summary", "summarise", "trained_rows"]


@dataclass(frozen=True)
class Row:
    """Scores of one model on one problem with one seed.

    Attributes:
        kind: "recurrent", "network" (no recurrence), "baseline", or "variant" (other forecasts of a fit).
        seed: None for a model without randomness.
        facts: loss, parameters, seconds, versions, options.
    """

    problem: str
    model: str
    kind: str
    seed: int | None
    scores: Scores
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The row as plain data for JSON."""
        return {
            "problem": self.problem,
            "model": self.model,
            "kind": self.kind,
            "seed": self.seed,
            **self.scores.as_dict(),
            **self.facts,
        }


@dataclass(frozen=True)
class Summary:
    """One model on one problem: median over seeds, and the lowest and highest seed.

    Attributes:
        mae, mase: (median, lowest, highest).
        mae_first, mase_first: the same over the first quarter of the horizon.
        mae_per_step: median over seeds, step by step.
    """

    model: str
    kind: str
    seeds: int
    mae: tuple[float, float, float]
    mase: tuple[float, float, float]
    mae_first: tuple[float, float, float]
    mase_first: tuple[float, float, float]
    mae_per_step: list[float]
    mase_per_step: list[float]
    facts: dict[str, Any]


def trained_rows(problem: Problem, contender: Contender, kind: str, seed: int, answer: Answer) -> list[Row]:
    """The row of a trained model, and one for each further set of forecasts that it gave.

    The times of single updates stay out of the committed file.
    """
    facts = {name: value for name, value in answer.facts.items() if name != "seconds_per_update"}
    facts["options"] = contender.options
    rows = [Row(problem.name, contender.label, kind, seed, score(problem, answer.forecasts), facts)]
    for name, forecasts in answer.others.items():
        label = f"{contender.label}, {name}"
        rows.append(Row(problem.name, label, "variant", seed, score(problem, forecasts), facts))
    return rows


def _spread(values: list[float]) -> tuple[float, float, float]:
    return median(values), min(values), max(values)


def summarise(rows: list[Row], problem: str) -> list[Summary]:
    """Summaries of all models on `problem`, in the order in which the models first appear."""
    by_model: dict[str, list[Row]] = {}
    for row in rows:
        if row.problem == problem:
            by_model.setdefault(row.model, []).append(row)
    summaries = []
    for model, own in by_model.items():
        steps = range(len(own[0].scores.mae_per_step))
        early = first_quarter(len(steps))
        facts = dict(own[0].facts)
        for name in ("fit_seconds", "forecast_seconds"):
            if name in facts:
                facts[name] = median(row.facts[name] for row in own)
        summaries.append(
            Summary(
                model,
                own[0].kind,
                len(own),
                _spread([row.scores.mae for row in own]),
                _spread([row.scores.mase for row in own]),
                _spread([mean(row.scores.mae_per_step[:early]) for row in own]),
                _spread([mean(row.scores.mase_per_step[:early]) for row in own]),
                [median(row.scores.mae_per_step[k] for row in own) for k in steps],
                [median(row.scores.mase_per_step[k] for row in own) for k in steps],
                facts,
            )
        )
    return summaries
