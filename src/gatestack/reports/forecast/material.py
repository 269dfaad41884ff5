"""What the figures are drawn from: the series, where they were split, and the forecasts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.series_table import SeriesTable
from gatestack.tasks.forecast import ForecastEvaluation
from gatestack.tasks.forecast.split import training_ends

__all__ = ["Material", "SeriesView", "evenly"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SeriesView:
    """One series, ready to draw.

    Attributes:
        key: its name.
        times: of each step, as the user writes them.
        values: (steps,), NaN where missing.
        validation: the first step that told when to stop training; `len(values)` if none did.
        test: the first step that was forecast and scored; `len(values)` if none was.
    """

    key: str
    times: pl.Series
    values: FloatArray
    validation: int
    test: int

    def before(self, cutoff: object, steps: int) -> tuple[pl.Series, FloatArray]:
        """Give the last `steps` times and values up to and with `cutoff`."""
        end = int((self.times <= cutoff).sum())
        return self.times[max(end - steps, 0) : end], self.values[max(end - steps, 0) : end]


@dataclass(frozen=True)
class Material:
    """A table and an evaluation, cut for drawing.

    Attributes:
        table: the series.
        evaluation: the scores, or None.
        window: steps that one training example reads.
        horizon: steps ahead.
    """

    table: SeriesTable
    evaluation: ForecastEvaluation | None
    window: int
    horizon: int

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the series."""
        return self.table.sequences.keys or ()

    def view(self, row: int) -> SeriesView:
        """Give the series of number `row`."""
        table, offsets = self.table, self.table.sequences.offsets
        begin, end = int(offsets[row]), int(offsets[row + 1])
        values = table.target_at(slice(begin, end))
        times = table.time_kind.to_series(table.times[begin:end], table.columns.time)
        fitted = len(values)
        cutoff = self._first_cutoffs().get(self.keys[row])
        if cutoff is not None:
            fitted = int((times <= cutoff).sum())
        held = training_ends(np.array([fitted]), window=self.window, horizon=self.horizon)
        return SeriesView(self.keys[row], times, values, int(held[0]), fitted)

    def _first_cutoffs(self) -> dict[str, object]:
        if self.evaluation is None:
            return {}
        first = self.evaluation.forecasts.group_by("unique_id").agg(pl.col("cutoff").min())
        return dict(first.iter_rows())

    def origins(self, most: int) -> list[pl.DataFrame]:
        """Choose origins evenly, over the series and then over time, never by how good they look.

        Returns:
            The rows of `evaluation.forecasts` of each.
        """
        if self.evaluation is None:
            return []
        forecasts = self.evaluation.forecasts
        pairs = forecasts.select("unique_id", "cutoff").unique(maintain_order=True)
        keys = pairs["unique_id"].unique(maintain_order=True).to_list()
        shown = [keys[index] for index in evenly(len(keys), most)]
        chosen = []
        for number, key in enumerate(shown):
            cutoffs = pairs.filter(pl.col("unique_id") == key)["cutoff"]
            share = most // len(shown) + (number < most % len(shown))
            # A series that is shown once is shown at its middle origin.
            places = evenly(len(cutoffs), share) if share > 1 else [len(cutoffs) // 2]
            chosen += [(key, cutoffs[place]) for place in places]
        return [
            forecasts.filter((pl.col("unique_id") == key) & (pl.col("cutoff") == cutoff))
            for key, cutoff in chosen
        ]


def evenly(count: int, most: int) -> list[int]:
    """Choose at most `most` of `count` places, evenly, with the first and the last.

    Example:
        >>> evenly(10, 4), evenly(2, 4), evenly(5, 1)
        ([0, 3, 6, 9], [0, 1], [0])
    """
    return sorted({round(place) for place in np.linspace(0, max(count - 1, 0), min(count, most))})
