"""The table of trials: one column for each setting where they are few, else all in one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gatestack.study import TrialRow, TuneStudy
from gatestack.study.space import shown, shown_value

__all__ = ["TrialTable", "trial_table"]

_MOST_COLUMNS = 5
_AS_GIVEN = "as given"


@dataclass(frozen=True)
class TrialTable:
    """Rows as texts, the best baseline and the settings as given first, then the trials, best first.

    Attributes:
        heads: of the columns.
        rows: cells of each row.
        chosen: number of the winner's row.
        compact: the last column is words: all settings of the trial.
    """

    heads: list[str]
    rows: list[list[str]]
    chosen: int
    compact: bool


def trial_table(study: TuneStudy) -> TrialTable:
    """Give the table of a search.

    Args:
        study: what was found.
    """
    measure, names = study.measure, list(study.space)
    compact = len(names) > _MOST_COLUMNS
    heads = ["trial", measure.label]
    heads += [] if compact else [name.replace("_", " ") for name in names]
    heads += ["folds", "seconds", *(["settings"] if compact else [])]

    def cells(name: str, score: float | None, row: TrialRow | None) -> list[str]:
        settings = row.settings if row else {}
        values = [shown_value(settings[key]) if key in settings else "–" for key in names]
        folds = f"{len(row.scores)} of {study.folds}" if row else f"{study.folds} of {study.folds}"
        if row is not None and row.state != "complete":
            folds += ", left early" if row.state == "pruned" else ", failed"
        return [
            name,
            "–" if score is None else measure.text(score),
            *([] if compact else values),
            folds,
            f"{row.seconds:.1f}" if row else "–",
            *([(shown(settings) if settings else "") if row else ""] if compact else []),
        ]

    plain, winner = study.best_baseline, study.winner
    trials = sorted(
        study.rows,
        key=lambda row: (
            row.state != "complete",
            math.inf if row.score is None else measure.loss(row.score),
        ),
    )
    return TrialTable(
        heads=heads,
        rows=[
            cells(f"baseline: {plain.replace('_', ' ')}", study.baselines[plain], None),
            cells(_AS_GIVEN, study.given.score, study.given),
            *(
                cells(f"{row.number}, winner" if row == winner else str(row.number), row.score, row)
                for row in trials
            ),
        ],
        chosen=1 if winner.number is None else 2 + trials.index(winner),
        compact=compact,
    )
