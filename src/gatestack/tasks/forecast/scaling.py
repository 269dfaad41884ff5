"""Scaling that looks only backwards: what a value is worth, judged by the values before it.

At step t of a series, with the last `window` values (w of them observed) and all values up to t,

    level_t = mean(y_{t-window+1} … y_t)
    scale_t = sqrt(var(y_{t-window+1} … y_t) + (0.05)² var(y_0 … y_t) + (1e-5 level_t)² + 1e-16)

Nothing here is fitted, so nothing can leak from the future. The second term keeps a long flat stretch from
blowing up the next small change; the last two keep a constant series finite. A stream that carries a
`TrailingScale` finds the same numbers as a pass over the whole series: they are the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

__all__ = ["ScaleOverTime", "SeriesScale", "TrailingScale", "series_scale"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# Share of the whole series' deviation below which a window's deviation does not fall.
_LONG_RUN_SHARE = 0.05
_LEVEL_SHARE = 1e-5
_SMALLEST_VARIANCE = 1e-16


class ScaleOverTime(Protocol):
    """What the panel and the stream need of a scaling: the two ways below, in one shape."""

    def advance(
        self, values: npt.NDArray[np.floating], observed: BoolArray
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Go on by some steps; see `TrailingScale.advance`."""
        ...

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Give everything that is carried, as arrays."""
        ...

    def take(self, rows: npt.NDArray[np.integer]) -> Self:
        """Give a copy that holds these rows, in this order; a row may be named more than once."""
        ...

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put the rows of several together."""
        ...


class TrailingScale:
    """Level and scale of several series, carried along as they go on.

    Args:
        rows: number of series.
        window: number of steps looked back over, the present one included, 1 or more.

    Example:
        >>> scale = TrailingScale(rows=1, window=2)
        >>> level, _ = scale.advance(np.array([[1.0, 3.0, 5.0]]), np.ones((1, 3), dtype=bool))
        >>> level
        array([[1., 2., 4.]], dtype=float32)
    """

    def __init__(self, rows: int, window: int) -> None:
        self.window = window
        # Sums are taken around the first observed value, so that a large offset costs no digits.
        self.origin = np.zeros(rows)
        self.started = np.zeros(rows, dtype=bool)
        self.recent = np.zeros((rows, window))
        self.recent_seen = np.zeros((rows, window), dtype=bool)
        # Count, sum and sum of squares over the whole series so far.
        self.sums = np.zeros((3, rows))

    def advance(
        self, values: npt.NDArray[np.floating], observed: BoolArray
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Go on by some steps.

        Args:
            values: shape (rows, steps).
            observed: shape (rows, steps), True where a value is real.

        Returns:
            `level` and `scale`, each (rows, steps), float32; 0 and 1 before the first observed value.
        """
        self._start(values, observed)
        centred = np.where(observed, values - self.origin[:, None], 0.0)
        known = np.concatenate([self.recent, centred], axis=1)
        seen = np.concatenate([self.recent_seen, observed], axis=1)
        new = (observed.astype(np.float64), centred, centred * centred)
        running = [
            sums[:, None] + np.cumsum(added, axis=1) for sums, added in zip(self.sums, new, strict=True)
        ]
        recent = [self._trailing(terms) for terms in (seen.astype(np.float64), known, known * known)]
        self.recent, self.recent_seen = known[:, -self.window :], seen[:, -self.window :]
        self.sums = np.stack([sums[:, -1] for sums in running])
        return self._level_and_scale(recent, running)

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Give everything that is carried, as arrays."""
        return {
            "origin": self.origin,
            "started": self.started,
            "recent": self.recent,
            "recent_seen": self.recent_seen,
            "sums": self.sums,
        }

    @classmethod
    def from_state(cls, state: dict[str, npt.NDArray[np.generic]]) -> TrailingScale:
        """Go on from what `state` gave."""
        scale = cls(*state["recent"].shape)
        for name in scale.state():
            setattr(scale, name, state[name].copy())
        return scale

    def take(self, rows: npt.NDArray[np.integer]) -> TrailingScale:
        """Give a copy that holds these rows, in this order; a row may be named more than once."""
        state = {
            name: array[:, rows] if name == "sums" else array[rows] for name, array in self.state().items()
        }
        return self.from_state(state)

    @classmethod
    def join(cls, parts: Sequence[TrailingScale]) -> TrailingScale:
        """Put the rows of several together."""
        states = [part.state() for part in parts]
        axis = {name: 1 if name == "sums" else 0 for name in states[0]}
        return cls.from_state(
            {name: np.concatenate([state[name] for state in states], axis=axis[name]) for name in states[0]}
        )

    def _start(self, values: npt.NDArray[np.floating], observed: BoolArray) -> None:
        starting = ~self.started & observed.any(axis=1)
        first = np.argmax(observed, axis=1)
        self.origin = np.where(starting, values[np.arange(len(values)), first], self.origin)
        self.started = self.started | starting

    def _trailing(self, terms: FloatArray) -> FloatArray:
        """Sum each step's last `window` terms; the first `window` columns are those carried from before."""
        sums = np.cumsum(terms, axis=1)
        return sums[:, self.window :] - sums[:, : -self.window]

    def _level_and_scale(
        self, recent: list[FloatArray], running: list[FloatArray]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        long_mean, long_variance = _moments(*running)
        mean, variance = _moments(*recent)
        # A window without a single observed value keeps to the long run.
        empty = recent[0] < 0.5
        level = self.origin[:, None] + np.where(empty, long_mean, mean)
        variance = np.where(empty, long_variance, variance) + _LONG_RUN_SHARE**2 * long_variance
        scale = np.sqrt(variance + (_LEVEL_SHARE * level) ** 2 + _SMALLEST_VARIANCE)
        some = running[0] > 0.5
        return np.where(some, level, 0.0).astype(np.float32), np.where(some, scale, 1.0).astype(np.float32)


class SeriesScale:
    """One level and one scale per series, found on its training part and kept.

    Args:
        level, scale: shape (rows,).

    Example:
        >>> scale = SeriesScale(np.array([2.0]), np.array([4.0]))
        >>> scale.advance(np.zeros((1, 2)), np.ones((1, 2), dtype=bool))[1]
        array([[4., 4.]], dtype=float32)
    """

    def __init__(self, level: FloatArray, scale: FloatArray) -> None:
        self.level = level
        self.scale = scale

    def advance(
        self, values: npt.NDArray[np.floating], observed: BoolArray
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Repeat level and scale for each step, shapes (rows, steps)."""
        del observed
        level, scale = (
            np.repeat(moment[:, None], values.shape[1], axis=1) for moment in (self.level, self.scale)
        )
        return level.astype(np.float32), scale.astype(np.float32)

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Give everything that is carried, as arrays."""
        return {"level": self.level, "scale": self.scale}

    @classmethod
    def from_state(cls, state: dict[str, npt.NDArray[np.generic]]) -> SeriesScale:
        """Go on from what `state` gave."""
        return cls(np.asarray(state["level"], dtype=float), np.asarray(state["scale"], dtype=float))

    def take(self, rows: npt.NDArray[np.integer]) -> SeriesScale:
        """Give a copy that holds these rows."""
        return SeriesScale(self.level[rows], self.scale[rows])

    @classmethod
    def join(cls, parts: Sequence[SeriesScale]) -> SeriesScale:
        """Put the rows of several together."""
        return cls(
            np.concatenate([part.level for part in parts]), np.concatenate([part.scale for part in parts])
        )


def series_scale(values: npt.NDArray[np.floating], observed: BoolArray) -> SeriesScale:
    """Find mean and deviation of one series' training part.

    Args:
        values, observed: shape (time,).
    """
    known = values[observed].astype(np.float64)
    level = float(known.mean()) if len(known) else 0.0
    variance = float(known.var()) if len(known) else 1.0
    scale = np.sqrt(variance + (_LEVEL_SHARE * level) ** 2 + _SMALLEST_VARIANCE)
    return SeriesScale(np.array([level]), np.array([scale]))


def _moments(count: FloatArray, total: FloatArray, square: FloatArray) -> tuple[FloatArray, FloatArray]:
    divisor = np.maximum(count, 1.0)
    mean = total / divisor
    return mean, np.maximum(square / divisor - mean * mean, 0.0)
