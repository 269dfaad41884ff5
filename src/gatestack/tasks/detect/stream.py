"""A detector that runs: one step in, its score and perhaps an alarm out, in constant memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.data.time_column import read_time
from gatestack.errors import ArgumentError, DataError, nearest_name, quote_value
from gatestack.tasks.detect.explanation import explain, rarity
from gatestack.tasks.detect.fitted import LONGEST_GAP
from gatestack.tasks.detect.reading import LARGEST_VALUE
from gatestack.tasks.detect.state import Arrays, state_from_arrays, state_to_arrays

if TYPE_CHECKING:
    from gatestack.tasks.detect.fitted import DetectedSteps, FittedDetector

__all__ = ["DetectedStep", "DetectorStream"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DetectedStep:
    """What the detector says about one step.

    Attributes:
        score: -log10 of the share of usual steps that are as far out; None where nothing is known.
        alarm: whether an event begins here.
        anomalous: whether the step is part of one.
        expected: what was expected of each channel, None where nothing was.
        channel: the channel that is furthest out, None without an alarm.
        explanation: in words, None without an alarm.

    Example:
        >>> DetectedStep(0.2, False, False, {"load": 1.5}, None, None).expected
        {'load': 1.5}
    """

    score: float | None
    alarm: bool
    anomalous: bool
    expected: dict[str, float | None]
    channel: str | None
    explanation: str | None


class DetectorStream:
    """Goes on from the end of a series, one step at a time; made by `AnomalyDetector.stream`.

    A step fed here gets the score and the alarm that the same step gets in a longer table.

    Attributes:
        steps: number of steps since the data of the fit, gaps included.

    Example:
        >>> import polars as pl
        >>> from gatestack.tasks.detect import AnomalyDetector
        >>> frame = pl.DataFrame({"ds": range(80), "y": [float(step % 5) for step in range(80)]})
        >>> detector = AnomalyDetector(hidden_size=4, window=8, max_steps=5).fit(frame)
        >>> stream = detector.stream()
        >>> stream.step({"y": 0.0}).alarm, stream.steps
        (False, 1)
    """

    def __init__(self, fitted: FittedDetector, series: str | None, state: Arrays | None) -> None:
        keys = fitted.series.keys
        if series is None and len(keys) > 1:
            raise ArgumentError(
                f"the detector was fitted on {len(keys)} series",
                where="stream",
                expected="the key of one as series=",
            )
        if series is not None and series not in keys:
            raise ArgumentError(
                f"there is no series {quote_value(series)}", where="stream", hint=nearest_name(series, keys)
            )
        self._fitted = fitted
        self._row = 0 if series is None else keys.index(series)
        self._state, self.steps = fitted.states[self._row], 0
        if state is not None:
            if "steps" not in state or state["steps"].shape != () or state["steps"].dtype != np.int64:
                raise DataError("the state has no 'steps'", where="stream", expected="what `state` gave")
            rest = {name: array for name, array in state.items() if name != "steps"}
            self._state, self.steps = state_from_arrays(rest, fitted.start()), int(state["steps"])

    @property
    def state(self) -> Arrays:
        """Where the stream stands, as arrays that can be stored; `AnomalyDetector.stream` takes them."""
        return state_to_arrays(self._state) | {"steps": np.array(self.steps, dtype=np.int64)}

    def step(self, values: Mapping[str, float | None], time: Any = None) -> DetectedStep:
        """Feed the next step.

        Args:
            values: by channel; None or NaN where one is missing.
            time: of the step; where steps lie between it and the last one, they are a gap. None is the next.

        Returns:
            Its score, and the alarm with its explanation.

        Raises:
            DataError: a channel is missing, unknown or not finite, or the time does not lie after the last
                step on the grid; the stream stays where it was.
        """
        fitted = self._fitted
        row = np.array([[self._number(values, name) for name in fitted.channels]])
        for name in values:
            if name not in fitted.channels:
                raise DataError(
                    f"there is no column {quote_value(name)}",
                    where="step",
                    hint=nearest_name(str(name), fitted.channels),
                )
        gap = 0 if time is None else self._steps_to(time) - 1
        before = fitted.over_gap(self._row, self.steps, gap, self._state)
        ahead = self.steps + gap + 1
        times = fitted.frequency.advance(fitted.last_times[self._row], np.array([ahead]))
        found, self._state = fitted.run(self._row, row, fitted.calendar_of(times), before)
        self.steps = ahead
        return self._told(row[0], found)

    def _told(self, values: FloatArray, found: DetectedSteps) -> DetectedStep:
        scored, names = found.scored, self._fitted.channels
        score, alarm = float(scored.score[-1]), bool(scored.alarm[-1])
        expected = found.expected[-1]
        channel, kind = int(scored.channel[-1]), int(scored.kind[-1])
        rare = rarity(score, self._fitted.frequency) if alarm else ""
        return DetectedStep(
            score=None if np.isnan(score) else score,
            alarm=alarm,
            anomalous=bool(scored.above[-1]),
            expected={
                name: None if np.isnan(value) else float(value)
                for name, value in zip(names, expected, strict=True)
            },
            channel=names[channel] if alarm else None,
            explanation=explain(names, values, expected, channel, kind, rare) if alarm else None,
        )

    def _steps_to(self, time: Any) -> int:
        fitted = self._fitted
        stamp, kind = read_time(pl.Series("time", [time]), source="step")
        if (kind.kind == "integer") != (fitted.time_kind.kind == "integer"):
            raise DataError(f"the time is {quote_value(time)}", where="step", expected=fitted.time_kind.kind)
        ahead = (fitted.steps_ahead(self._row, stamp) or 0) - self.steps
        if not 1 <= ahead <= LONGEST_GAP:
            raise DataError(
                f"the time is {quote_value(time)}",
                where="step",
                expected=f"a time after the last step, on the grid ({fitted.frequency.label}), at most "
                f"{LONGEST_GAP:,} steps away",
            )
        return ahead

    def _number(self, values: Mapping[str, float | None], name: str) -> float:
        if name not in values:
            raise DataError(
                f"the column {name!r} is missing",
                where="step",
                expected="every column of the fit, None where its value is not known",
            )
        value = values[name]
        if value is None:
            return float("nan")
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number or abs(value) > LARGEST_VALUE:
            raise DataError(
                f"{name} is {quote_value(value)}",
                where="step",
                expected=f"a number up to {LARGEST_VALUE:g}, or None",
            )
        return float(value)
