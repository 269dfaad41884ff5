"""What a budgeted search found, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gatestack.study.folded_task import Measure
from gatestack.study.space import shown

if TYPE_CHECKING:
    import polars as pl

__all__ = ["HeldBack", "TrialRow", "TuneStudy", "tune_sentence"]


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One trial of a search.

    Attributes:
        number: from 1 on, in the order of their beginning; None for the settings as they were given.
        settings: that differ from those of the estimator, by name.
        score: mean over the folds that were fitted.
        scores: of each fold that was fitted.
        state: `"complete"`, `"pruned"`: it was left early, since it fell behind, or `"failed"`.
        seconds: of its fits together.
        error: why it failed.

    Example:
        >>> TrialRow(number=3, settings={}, score=1.0, scores=(1.0,), state="pruned", seconds=2.0).number
        3
    """

    number: int | None
    settings: dict[str, Any]
    score: float | None
    scores: tuple[float, ...]
    state: str
    seconds: float
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class HeldBack:
    """Scores on the fold that the search never looked at.

    Attributes:
        best: of the winner, one per seed.
        given: of the settings as they were given.
        baseline: name of the best plain answer there.
        baseline_score: its score.

    Example:
        >>> HeldBack(best=(0.9,), given=(1.0,), baseline="linear", baseline_score=1.1).baseline
        'linear'
    """

    best: tuple[float, ...]
    given: tuple[float, ...]
    baseline: str
    baseline_score: float


@dataclass(frozen=True, kw_only=True)
class TuneStudy:
    """The result of a budgeted search.

    Attributes:
        best: settings of the winner by name; empty where the settings as given were not beaten.
        given: the settings as they were given.
        rows: the trials, in the order of their beginning.
        baselines: name → mean score over the folds of the search.
        held_back: winner and given settings on the fold that the search never looked at, with fresh seeds.
        importance: setting → its share of what the trials differ by; empty where there are too few.
        space: setting → its range, for people.
        measure: what was compared.
        folds: of the search; one more is held back.
        sentence: the result in words.

    Example:
        >>> from gatestack import Regressor, tune
        >>> waves = [[0.0, float(size), 0.0] for size in range(9)]
        >>> model = Regressor(layers=1, hidden_size=4, max_steps=2)
        >>> found = tune(model, waves, {"y": range(9)}, search=["zoneout"], trials=2, folds=3, check_seeds=1)
        >>> [row.state for row in found.rows], found.folds
        (['complete', 'complete'], 2)
    """

    best: dict[str, Any]
    given: TrialRow
    rows: tuple[TrialRow, ...]
    baselines: dict[str, float]
    held_back: HeldBack
    importance: dict[str, float]
    space: dict[str, str]
    measure: Measure
    folds: int
    sentence: str

    @property
    def winner(self) -> TrialRow:
        """The trial that is best on the folds of the search, or the settings as they were given."""
        found = [row for row in self.rows if row.state == "complete" and row.settings == self.best]
        return found[0] if self.best and found else self.given

    @property
    def failures(self) -> str | None:
        """How many trials could not be fitted, and why the first could not; None where all could."""
        errors = [row.error for row in self.rows if row.error is not None]
        if not errors:
            return None
        count = "1 trial" if len(errors) == 1 else f"{len(errors)} trials"
        return f"{count} of {len(self.rows)} could not be fitted; the first: {errors[0]}"

    @property
    def best_baseline(self) -> str:
        """Name of the best baseline over the folds of the search."""
        return min(self.baselines, key=lambda name: self.measure.loss(self.baselines[name]))

    @property
    def holds(self) -> bool:
        """Whether the winner is better than the settings as given on the fold held back too."""
        return _holds(self.held_back, self.measure)

    @property
    def beats_baseline(self) -> bool:
        """Whether a network, winner or as given, is better than the best baseline on the fold held back."""
        return not _beside_baseline(self.held_back, self.measure)

    @property
    def table(self) -> pl.DataFrame:
        """One row per trial: number, score, state, seconds and each setting."""
        import polars as pl

        rows = [
            {"trial": row.number, self.measure.name: row.score, "state": row.state, "seconds": row.seconds}
            | row.settings
            for row in (self.given, *self.rows)
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON values."""
        return asdict(self)


def tune_sentence(
    winner: TrialRow,
    given: TrialRow,
    trials: int,
    baselines: Mapping[str, float],
    held: HeldBack,
    measure: Measure,
) -> str:
    """Say what was found, and what it is worth where the search did not look.

    Args:
        winner: best trial, or the settings as given.
        given: the settings as given.
        trials: number of them.
        baselines: name → mean score over the folds of the search.
        held: scores on the fold held back.
        measure: that was compared.
    """
    plain = min(baselines, key=lambda name: measure.loss(baselines[name]))
    beside = f"{plain} {measure.text(baselines[plain])}"
    own = measure.text(sum(held.given) / len(held.given))
    last = f"{held.baseline} {measure.text(held.baseline_score)}"
    if winner.number is None:
        return (
            f"None of {trials} trials is better than the settings as given: {measure.label} "
            f"{measure.text(_known(given))}, {beside}. On the part held back: {own}, {last}."
            f"{_beside_baseline(held, measure)}"
        )
    fresh = sum(held.best) / len(held.best)
    return (
        f"Best of {trials} trials: {shown(winner.settings)}, with {measure.label} "
        f"{measure.text(_known(winner))} against {measure.text(_known(given))} as given and "
        f"{beside}. The best of many flatters itself on the folds that chose it; on the part held back, with "
        f"fresh seeds, it has {measure.text(fresh)} against {own} as given and {last}. "
        f"{_worth(held, measure)}{_beside_baseline(held, measure)}"
    )


def _worth(held: HeldBack, measure: Measure) -> str:
    """Say whether the gain holds on the part held back, and how surely as far as seeds tell."""
    if not _holds(held, measure):
        return "The gain does not hold there: keep the settings as given."
    best, given = ([measure.loss(score) for score in scores] for scores in (held.best, held.given))
    if len(best) == 1:
        return "The gain holds there, as far as one seed tells."
    if max(best) < min(given):
        return "The gain holds there, with every seed."
    return "The gain holds there on average, but seeds differ by more: it may be chance."


def _beside_baseline(held: HeldBack, measure: Measure) -> str:
    """Warn where the best plain answer is better than both networks."""
    networks = [sum(scores) / len(scores) for scores in (held.best, held.given)]
    if min(map(measure.loss, networks)) < measure.loss(held.baseline_score):
        return ""
    return f" No network is better than {held.baseline} there: take {held.baseline}."


def _known(row: TrialRow) -> float:
    if row.score is None:
        raise ValueError("what is compared has a score")
    return row.score


def _holds(held: HeldBack, measure: Measure) -> bool:
    best, given = (sum(scores) / len(scores) for scores in (held.best, held.given))
    return measure.loss(best) < measure.loss(given)
