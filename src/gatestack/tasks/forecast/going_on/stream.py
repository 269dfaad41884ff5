"""A forecaster that runs: one step in, one forecast out, in constant memory, with a state to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gatestack.data.calendar_encoding import calendar_features
from gatestack.data.category_column import code_of
from gatestack.errors import ArgumentError, DataError, nearest_name, quote_value
from gatestack.tasks.evaluation import MODEL
from gatestack.tasks.forecast.evaluation import interval_columns
from gatestack.tasks.forecast.going_on.step import forecast_and_learn, go_on
from gatestack.tasks.forecast.intervals.adaptive import AdaptiveShares
from gatestack.tasks.forecast.panel import static_columns
from gatestack.tasks.forecast.state import SeriesState

if TYPE_CHECKING:
    from gatestack.tasks.forecast.fitted import FittedForecast

__all__ = ["ForecastStream"]


class ForecastStream:
    """Goes on from the end of a series, one step at a time; made by `Forecaster.stream`.

    A step fed here moves the state exactly as the same step in a longer table does.

    Attributes:
        steps: number of steps fed so far.
        state: the state after the last of them; arrays that can be stored (`state.to_arrays()`).
        shares: what adaptive intervals may miss by now, with what was given; None where they do not adapt.
            Arrays that can be stored, as the state.

    Example:
        >>> import polars as pl
        >>> from gatestack import Forecaster
        >>> frame = pl.DataFrame({"ds": range(60), "y": [float(step % 5) for step in range(60)]})
        >>> model = Forecaster(horizon=2, hidden_size=4, max_steps=5, season=5).fit(frame)
        >>> stream = model.stream()
        >>> sorted(stream.step({"y": 0.0}))[:2]
        ['gatestack', 'gatestack-hi-50']
    """

    def __init__(self, fitted: FittedForecast, row: int) -> None:
        self._fitted = fitted
        self._row = row
        self.state: SeriesState = fitted.state.take(np.array([row]))
        self.shares: AdaptiveShares | None = fitted.shares and fitted.shares.take(np.array([row]))
        self.steps = 0

    @classmethod
    def after_fit(cls, fitted: FittedForecast, series: str | int | None) -> ForecastStream:
        """Start at the end of a series of the fit; see `Forecaster.stream`."""
        if fitted.mode == "windows":
            raise ArgumentError(
                "mode is 'windows', which starts every window from a zero state",
                where="stream",
                expected="mode 'direct' or 'recursive'",
            )
        keys = fitted.tail.sequences.keys or ()
        if series is None and len(keys) > 1:
            raise ArgumentError(
                f"the model was fitted on {len(keys)} series",
                where="stream",
                expected="the key of one as series=",
            )
        key = keys[0] if series is None else str(series)
        if key not in keys:
            raise ArgumentError(
                f"there is no series {quote_value(series)}", where="stream", hint=nearest_name(key, keys)
            )
        row = keys.index(key)
        return cls(fitted, row)

    def step(
        self, values: Mapping[str, float | str | None], future: Mapping[str, npt.ArrayLike] | None = None
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Feed the next step and forecast the `horizon` steps after it.

        Args:
            values: the target and the past and future columns of this step; None or NaN where one is missing.
                A column of categories takes names; one that the fit did not know is taken as unknown.
            future: the future columns for the next `horizon` steps, each of shape (horizon,).

        Returns:
            `gatestack` and the bounds of its intervals, each of shape (horizon,).

        Raises:
            ArgumentError: `values` is not a mapping.
            DataError: a column is missing, unknown, or not finite; the state stays as it was.
        """
        columns = self._fitted.tail.columns
        if not isinstance(values, Mapping):
            raise ArgumentError(
                f"values is {quote_value(values)}",
                where="step",
                expected=f"the columns by name, such as {{{columns.target!r}: 1.5}}",
            )
        _refuse_unknown(values, columns.features)
        _refuse_unknown(future or {}, columns.future)
        known = self._known_ahead(columns.future, future or {})
        row = np.array([self._number(values, name) for name in columns.features], dtype=np.float32)
        distribution = self._fitted.network.distribution
        if not distribution.takes(row[:1]).all():
            raise DataError(
                f"{columns.target} is {quote_value(values[columns.target])}",
                where="step",
                expected=distribution.expected,
            )
        fitted = self._fitted
        key = (fitted.tail.sequences.keys or ())[self._row]
        static = static_columns(fitted.tail)[[self._row]]
        step = np.concatenate([row, self._calendar(self.steps + 1, 1)[0]])
        self.state = go_on(fitted, self.state, step[None], static)
        self.steps += 1
        ahead = np.concatenate([known, self._calendar(self.steps + 1, fitted.horizon)], axis=1)
        given, self.shares = forecast_and_learn(
            fitted, (key,), self.state, self.shares, row[:1], ahead[None], static
        )
        quantiles = given[0]
        levels = fitted.levels
        bounds = {name: quantiles[:, index] for name, index in interval_columns(levels).items()}
        return {MODEL: quantiles[:, len(levels) // 2]} | bounds

    def _number(self, values: Mapping[str, float | str | None], name: str) -> float:
        if name not in values:
            raise DataError(
                f"the column {name!r} is missing",
                where="step",
                expected="every column of the fit, None where its value is not known",
            )
        value = values[name]
        categories = self._fitted.tail.categories.get(name)
        if categories is not None:
            return code_of(value, categories)
        if value is None:
            return math.nan
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or math.isinf(value):
            raise DataError(
                f"{name} is {quote_value(value)}", where="step", expected="a finite number, or None"
            )
        return float(value)

    def _known_ahead(
        self, names: tuple[str, ...], future: Mapping[str, npt.ArrayLike]
    ) -> npt.NDArray[np.float32]:
        horizon = self._fitted.horizon
        known = np.empty((horizon, len(names)), dtype=np.float32)
        for column, name in enumerate(names):
            ahead = np.asarray(future.get(name, ()))
            categories = self._fitted.tail.categories.get(name)
            if categories is not None and ahead.shape == (horizon,):
                ahead = np.array([code_of(value, categories) for value in ahead])
            if ahead.shape != (horizon,) or ahead.dtype.kind not in "iuf" or not np.isfinite(ahead).all():
                raise DataError(
                    f"the future values of {name!r} are {quote_value(ahead.tolist())}",
                    where="step",
                    expected=f"{horizon} finite numbers, one for each step ahead",
                )
            known[:, column] = ahead
        return known

    def _calendar(self, first: int, steps: int) -> npt.NDArray[np.float32]:
        """Give the calendar features (steps, features) of steps after the end of the fit, counted from 1."""
        if not self._fitted.calendar:
            return np.zeros((steps, 0), dtype=np.float32)
        tail = self._fitted.tail
        times = tail.frequency.advance(tail.last_times[self._row], np.arange(first, first + steps))
        return calendar_features(tail.to_wall(times), self._fitted.calendar)[0]


def _refuse_unknown(given: Mapping[str, object], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            raise DataError(
                f"there is no column {quote_value(name)}", where="step", hint=nearest_name(str(name), known)
            )
