"""What every task's scores share: a table with the baselines beside the model, and a sentence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

__all__ = ["MODEL", "Evaluation", "ScoreColumn"]

MODEL = "gatestack"
"""Our row in the table of scores."""


@dataclass(frozen=True)
class ScoreColumn:
    """What a column of the table of scores means.

    Args:
        label: its heading.
        meaning: one line, with the unit or range.
        better: which end is good; None where neither is, as for a coverage.
        percent: the numbers are shares, shown as per cent.

    Example:
        >>> ScoreColumn("accuracy", "share of cases named rightly", better="higher", percent=True).text(0.93)
        '93.0 %'
    """

    label: str
    meaning: str
    better: Literal["lower", "higher"] | None = "lower"
    percent: bool = False

    def text(self, value: float | None) -> str:
        """Write a number as the table shows it; a dash where there is none."""
        if value is None:
            return "–"
        return f"{100 * value:.1f} %" if self.percent else f"{value:.4g}"

    def best_of(self, values: pl.Series) -> Any:
        """Give the best of the numbers; None where neither end is good, or nothing is known."""
        known = values.drop_nulls().drop_nans()
        return {"lower": known.min(), "higher": known.max(), None: None}[self.better]


class Evaluation(ABC):
    """How a model stands beside its baselines, on the same cases.

    Attributes:
        scores: one row per model; the column `model` names it, ours is `"gatestack"` and stands first.
        sentence: the result in words.
    """

    scores: pl.DataFrame
    sentence: str

    @property
    @abstractmethod
    def columns(self) -> Mapping[str, ScoreColumn]:
        """Columns of `scores` to show, in order, with their meaning."""

    @property
    @abstractmethod
    def extent(self) -> str:
        """How much was scored, for a heading: `"12 origins, 7 steps ahead"`."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Give scores and sentence as JSON values."""

    def __str__(self) -> str:
        """The table of scores and the sentence."""
        with pl.Config(tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, float_precision=3):
            return f"{self.scores}\n{self.sentence}"
