"""What a fitted forecaster knows: its network, the end of the data, and the state of each series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from gatestack.data.calendar_encoding import calendar_features
from gatestack.data.series_cut import cut_table
from gatestack.data.series_table import SeriesTable
from gatestack.errors import DataError, nearest_name, quote_value
from gatestack.tasks.forecast.autoregression import Autoregression
from gatestack.tasks.forecast.cold_start import with_season_before
from gatestack.tasks.forecast.intervals.adaptive import AdaptiveShares
from gatestack.tasks.forecast.intervals.conformal import Calibration
from gatestack.tasks.forecast.network import ForecastNetwork
from gatestack.tasks.forecast.options import Architecture, Mode
from gatestack.tasks.forecast.panel import Panel, static_columns
from gatestack.tasks.forecast.paths import PATHS, sample_paths, sample_quantiles
from gatestack.tasks.forecast.runner import final_state, forecast_at
from gatestack.tasks.forecast.scaling import ScaleOverTime, SeriesScale, TrailingScale
from gatestack.tasks.forecast.state import SeriesState
from gatestack.training import TrainingRecord

__all__ = ["FittedForecast"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FittedForecast:
    """Everything that fitting found.

    Attributes:
        network: in eval mode, on the CPU.
        horizon: steps ahead of a forecast (the network's own horizon is 1 in the mode `"recursive"`).
        levels: of the quantiles.
        mode: `"direct"`, `"windows"` or `"recursive"`.
        calendar: names of the calendar features.
        season: of the naive forecast, or None.
        architecture: of the network.
        series_scale: level and scale of the training part of each series with `scaling="series"`, else None.
        autoregression: the linear baseline, fitted on all steps that were given.
        tail: the last steps of every series, as they were given.
        state: the state after the last step of every series.
        record: of the training.
        seed: of sampled paths.
        calibration: of the intervals; None with `intervals="model"`.
        shares: what the adaptive intervals of each series may miss by now; None where they do not adapt.
    """

    network: ForecastNetwork
    horizon: int
    levels: tuple[float, ...]
    mode: Mode
    calendar: tuple[str, ...]
    season: int | None
    architecture: Architecture
    series_scale: SeriesScale | None
    autoregression: Autoregression
    tail: SeriesTable
    state: SeriesState
    record: TrainingRecord
    seed: int
    calibration: Calibration | None = None
    shares: AdaptiveShares | None = None

    def panel(self, table: SeriesTable) -> Panel:
        """Prepare a table with the columns of the fit."""
        return Panel.from_table(table, self.scaling_of(table), self.calendar)

    def state_after(self, panel: Panel) -> SeriesState:
        """Run every series to its end."""
        return final_state(self.network, panel, windows=self.mode == "windows")

    def state_of(self, table: SeriesTable) -> SeriesState:
        """Run every series of a table to its end; see `cold_start.py` for those shorter than a window."""
        shape = self.network.shape
        return self.state_after(self.panel(with_season_before(table, shape.window, shape.seasons)))

    def quantiles_ahead(
        self, state: SeriesState, table: SeriesTable, future: npt.NDArray[np.float32]
    ) -> FloatArray:
        """Forecast the steps after the end of each series.

        Args:
            state: after the last step of each series.
            table: the series.
            future: (series, horizon, future columns) in the user's unit.

        Returns:
            shape (series, horizon, quantiles), ascending.
        """
        return self.quantiles_from(state, *self._known_ahead(table, future))

    def paths_ahead(
        self,
        state: SeriesState,
        table: SeriesTable,
        future: npt.NDArray[np.float32],
        *,
        paths: int,
        seed: int,
    ) -> FloatArray:
        """Draw paths over the steps after the end of each series, in the mode `"recursive"`.

        Args:
            state: after the last step of each series.
            table: the series.
            future: (series, horizon, future columns) in the user's unit.
            paths: per series.
            seed: of the draws.

        Returns:
            shape (series, paths, horizon).
        """
        ahead, static = self._known_ahead(table, future)
        return sample_paths(self.network, state, ahead, static, paths=paths, seed=seed)

    def _known_ahead(
        self, table: SeriesTable, future: npt.NDArray[np.float32]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give what is known of the steps ahead, (series, horizon, ·), and the static columns."""
        times = table.to_wall(table.forecast_times(self.horizon))
        known = [future]
        if self.calendar:
            features = calendar_features(times.reshape(-1), self.calendar)[0]
            known.append(features.reshape(*times.shape, -1))
        static = torch.from_numpy(static_columns(table))
        return torch.from_numpy(np.concatenate(known, axis=2)), static

    def quantiles_from(self, state: SeriesState, ahead: torch.Tensor, static: torch.Tensor) -> FloatArray:
        """Forecast from a state.

        Args:
            state: after the last step of each series.
            ahead: (series, horizon, future columns and calendar features).
            static: (series, static columns).

        Returns:
            shape (series, horizon, quantiles), ascending.
        """
        if self.mode == "recursive":
            return sample_quantiles(self.network, state, ahead, static, seed=self.seed)
        return self.network.distribution.quantiles(state.forecast(self.network, ahead, static))

    def centres_from(self, state: SeriesState, ahead: torch.Tensor, static: torch.Tensor) -> FloatArray:
        """Give the middle of what is said from a state, (series, horizon); shapes as in `quantiles_from`.

        Unlike the median of counts it moves with every input: the mean of counts, the mean over paths in the
        mode `"recursive"`, the median otherwise.
        """
        if self.mode == "recursive":
            paths = sample_paths(self.network, state, ahead, static, paths=PATHS, seed=self.seed)
            mean: FloatArray = paths.mean(axis=1)
            return mean
        said = state.forecast(self.network, ahead, static)
        return self.network.distribution.centre(said).numpy().astype(np.float64)

    def quantiles_at(
        self, table: SeriesTable, panel: Panel, rows: IntArray, positions: IntArray
    ) -> FloatArray:
        """Forecast from steps inside a table, reading nothing after each but what is known ahead.

        Args:
            table: the series.
            panel: the same series, prepared.
            rows: (R,) series.
            positions: (R,) step of each origin; what is known ahead is read up to the end of the table.

        Returns:
            shape (R, horizon, quantiles), ascending.
        """
        # Sampling needs the state at the origin itself, and a history shorter than a window is lengthened:
        # there, the series are run up to each origin anew.
        shape, known = self.network.shape, positions + 1
        short = (known < shape.window) & (known >= min(shape.seasons, default=shape.window))
        anew = short | (self.mode == "recursive")
        result = np.empty((len(rows), self.horizon, len(self.levels)))
        if not anew.all():
            windows = self.mode == "windows"
            result[~anew] = forecast_at(self.network, panel, rows[~anew], positions[~anew], windows=windows)
        past = len(table.columns.past) + 1
        for position in np.unique(positions[anew]):
            here = np.flatnonzero(positions == position)
            part = cut_table(table, rows[here], np.full(len(here), position + 1))
            ahead = table.sequences.offsets[rows[here]][:, None] + position + np.arange(1, self.horizon + 1)
            # What lies past the end of the table has no truth to compare with, and moves no step before it.
            ahead = np.minimum(ahead, table.sequences.offsets[rows[here] + 1][:, None] - 1)
            future = table.sequences.values[ahead][..., past:].astype(np.float32)
            result[here] = self.quantiles_ahead(self.state_of(part), part, future)
        return result

    def scaling_of(self, table: SeriesTable) -> ScaleOverTime:
        """Give a fresh scaling for the series of a table."""
        keys = table.sequences.keys or ()
        if self.series_scale is None:
            return TrailingScale(len(keys), self.network.shape.window)
        place = {key: row for row, key in enumerate(self.tail.sequences.keys or ())}
        for key in keys:
            if key not in place:
                raise DataError(
                    f"series {quote_value(key)} was not in the fit: scaling='series' knows no scale for it",
                    where=table.source,
                    expected="a series of the fit",
                    hint=f"{nearest_name(key, place)}; or fit with Architecture(scaling='window')",
                )
        return self.series_scale.take(np.array([place[key] for key in keys]))
