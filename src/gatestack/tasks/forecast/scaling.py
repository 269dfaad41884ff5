"""Scaling that looks only backwards: what a value is worth, judged by the values before it.

At step t of a series, with the observed ones of the last `window` values and of all values up to t,

    long_level_t = mean(y_0 … y_t)
    long_scale_t = sqrt(var(y_0 … y_t) + (1e-5 long_level_t)² + 1e-36)
    level_t      = mean(y_{t-window+1} … y_t)
    scale_t      = sqrt(var(y_{t-window+1} … y_t) + (0.05 long_scale_t)² + (1e-5 level_t)² + 1e-36)

Values are brought to `level` and `scale`; where they stand in the long run tells how far the present is from
the usual. Nothing here is fitted, so nothing can leak from the future. The second term of `scale` keeps a
long flat stretch from blowing up the next small change; the last two keep a constant series finite. A stream
that carries a `TrailingScale` finds the same numbers as a pass over the whole series: they are the same code.

`SeriesScale` is the other choice: level and scale of a series' training part, the same at each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

__all__ = [
    "LEVELS",
    "LEVEL_SHARE",
    "LONG_RUN_SHARE",
    "MOMENTS",
    "SMALLEST_VARIANCE",
    "ScaleOverTime",
    "SeriesScale",
    "TrailingScale",
    "series_scale",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MOMENTS = ("level", "scale", "long_level", "long_scale")
"""What is found at each step, in the order of the last axis of every array and tensor called `moments`."""

LEVELS = slice(0, None, 2)
"""Where the levels are among them; the scales are the others."""

LONG_RUN_SHARE = 0.05
"""Share of the whole series' deviation below which a window's deviation does not fall."""

LEVEL_SHARE = 1e-5
"""Share of the level below which no scale falls."""

SMALLEST_VARIANCE = 1e-36
"""What keeps the scale of a series of zeros finite."""

# Values of windows that are looked at together: bounds the memory.
_WINDOWED = 2**18


class ScaleOverTime(Protocol):
    """What the panel and the stream need of a scaling: the two ways below, in one shape."""

    def advance(self, values: npt.NDArray[np.floating], observed: BoolArray) -> npt.NDArray[np.float32]:
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
        >>> moments = scale.advance(np.array([[1.0, 3.0, 5.0]]), np.ones((1, 3), dtype=bool))
        >>> moments[..., MOMENTS.index("level")]
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

    def advance(self, values: npt.NDArray[np.floating], observed: BoolArray) -> npt.NDArray[np.float32]:
        """Go on by some steps.

        Args:
            values: shape (rows, steps).
            observed: shape (rows, steps), True where a value is real.

        Returns:
            The `MOMENTS` at each step, (rows, steps, 4); before the first observed value levels are 0 and
            scales 1.
        """
        self._start(values, observed)
        centred = np.where(observed, values - self.origin[:, None], 0.0)
        known = np.concatenate([self.recent, centred], axis=1)
        seen = np.concatenate([self.recent_seen, observed], axis=1)
        new = (observed.astype(np.float64), centred, centred * centred)
        # The sums so far are the first terms of the sums to come: added up afterwards, the last bit would
        # depend on where one call ends and the next begins.
        running = [
            np.cumsum(np.concatenate([sums[:, None], added], axis=1), axis=1)[:, 1:]
            for sums, added in zip(self.sums, new, strict=True)
        ]
        recent = self._trailing(known, seen)
        self.recent, self.recent_seen = known[:, -self.window :], seen[:, -self.window :]
        self.sums = np.stack([sums[:, -1] for sums in running])
        return self._moments(recent, running)

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

    def _trailing(self, known: FloatArray, seen: BoolArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Give count, mean and variance of each step's last `window` values, (rows, steps).

        Each step is summed from its own values alone, not from the sums of the step before it: so a step has
        the same bits however the steps are given, and a series far from its first value loses no digits.

        Args:
            known: (rows, window + steps); the first `window` columns are those carried from before.
            seen: of the same shape, True where a value is real.
        """
        steps = known.shape[1] - self.window
        shape = (len(known), steps)
        count, mean, variance = np.empty(shape), np.empty(shape), np.empty(shape)
        at_once = max(_WINDOWED // (len(known) * self.window), 1)
        values, real = (sliding_window_view(part, self.window, axis=1)[:, 1:] for part in (known, seen))
        for first in range(0, steps, at_once):
            part = slice(first, first + at_once)
            here, among = np.ascontiguousarray(values[:, part]), real[:, part]
            count[:, part] = among.sum(axis=-1)
            divisor = np.maximum(count[:, part], 1.0)
            mean[:, part] = here.sum(axis=-1) / divisor
            apart = np.where(among, here - mean[:, part, None], 0.0)
            variance[:, part] = (apart * apart).sum(axis=-1) / divisor
        return count, mean, variance

    def _moments(
        self, recent: tuple[FloatArray, FloatArray, FloatArray], running: list[FloatArray]
    ) -> npt.NDArray[np.float32]:
        own_mean, own_variance = _mean_and_variance(*running)
        count, mean, variance = recent
        origin = self.origin[:, None]
        long_level = origin + own_mean
        long_scale = _root(own_variance, long_level)
        # A window without a single observed value keeps to the long run.
        empty = count < 0.5
        level = np.where(empty, long_level, origin + mean)
        variance = np.where(empty, long_scale**2, variance) + (LONG_RUN_SHARE * long_scale) ** 2
        moments = np.stack([level, _root(variance, level), long_level, long_scale], axis=-1)
        begun = running[0][..., None] > 0.5
        return np.where(begun, moments, (0.0, 1.0, 0.0, 1.0)).astype(np.float32)


class SeriesScale:
    """One level and one scale per series, found on its training part and kept.

    Args:
        level, scale: shape (rows,).

    Example:
        >>> scale = SeriesScale(np.array([2.0]), np.array([4.0]))
        >>> scale.advance(np.zeros((1, 1)), np.ones((1, 1), dtype=bool))
        array([[[2., 4., 2., 4.]]], dtype=float32)
    """

    def __init__(self, level: FloatArray, scale: FloatArray) -> None:
        self.level = level
        self.scale = scale

    def advance(self, values: npt.NDArray[np.floating], observed: BoolArray) -> npt.NDArray[np.float32]:
        """Repeat the moments for each step, shape (rows, steps, 4)."""
        del observed
        moments = np.stack([self.level, self.scale, self.level, self.scale], axis=-1)
        return np.repeat(moments[:, None], values.shape[1], axis=1).astype(np.float32)

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
        values: shape (time,).
        observed: shape (time,), True where a value is real.
    """
    known = values[observed].astype(np.float64)
    level = float(known.mean()) if len(known) else 0.0
    variance = float(known.var()) if len(known) else 1.0
    return SeriesScale(np.array([level]), _root(np.array([variance]), np.array([level])))


def _mean_and_variance(
    count: FloatArray, total: FloatArray, square: FloatArray
) -> tuple[FloatArray, FloatArray]:
    divisor = np.maximum(count, 1.0)
    mean = total / divisor
    return mean, np.maximum(square / divisor - mean * mean, 0.0)


def _root(variance: FloatArray, level: FloatArray) -> FloatArray:
    """Give the scale of a variance; never 0, so that a constant series stays finite."""
    root: FloatArray = np.sqrt(variance + (LEVEL_SHARE * level) ** 2 + SMALLEST_VARIANCE)
    return root
