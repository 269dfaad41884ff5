"""Find the step of a time index, or say which times contradict every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gatestack.data.frequency import Frequency, FrequencyUnit, TimeArray
from gatestack.data.zones import to_wall
from gatestack.errors import ArgumentError, DataError

__all__ = ["BLOCK_ROWS", "infer_frequency"]

# Long time indexes are looked at in blocks, so that a check needs little memory beside the data.
BLOCK_ROWS = 1 << 18

_DAY_US = 86_400_000_000
# So many equal, wider steps in a row are another frequency, not gaps.
_RUN_OF_WIDER_STEPS = 10
# A series with fewer steps than this need not show the common step itself.
_STEPS_TO_JUDGE = 3


def infer_frequency(
    times: TimeArray,
    offsets: npt.NDArray[np.int64] | None = None,
    *,
    zone: str | None = None,
    keys: Sequence[str] | None = None,
    where: str = "time",
) -> Frequency:
    """Find the frequency that explains all times of one or many series.

    The step is the most common difference (the smallest of equally common ones). Every other difference must
    be a whole multiple of it: those are gaps. Times at one time of day are counted in days; in months when
    they fall on one day of the month or on month ends; in business days when weekdays follow each other and
    no weekend occurs.

    Args:
        times: datetime64[us] (UTC) or int64, shape (steps,), increasing inside each series.
        offsets: shape (series + 1,), where each series begins; None for one series.
        zone: IANA zone whose wall clock counts for days and months.
        keys: name of each series, for messages.
        where: what messages call the data.

    Returns:
        The Frequency.

    Raises:
        DataError: fewer than two times in every series, no common step, or different steps in or between
            series.

    Example:
        >>> days = np.array(["2024-01-31", "2024-02-29", "2024-04-30"], dtype="datetime64[us]")
        >>> infer_frequency(days).alias
        '1ME'
    """
    bounds = np.array([0, len(times)], dtype=np.int64) if offsets is None else offsets
    inside = np.ones(max(len(times) - 1, 0), dtype=np.bool_)
    cuts = bounds[1:-1]
    inside[cuts[(cuts > 0) & (cuts < len(times))] - 1] = False
    if not inside.any():
        raise DataError(
            "the frequency cannot be told from one time per series",
            where=where,
            expected="at least two times in a series",
            hint="pass frequency=, for instance frequency='1h' or '1d'",
        )
    unit, counted, month_end = _unit_of(times, inside, zone)
    differences = np.diff(counted)
    within = differences if inside.all() else differences[inside]
    if np.any(within <= 0):
        raise ArgumentError(
            "the times do not increase", where=where, expected="increasing times in each series"
        )
    step = _most_common(within)
    frequency = Frequency(unit, step, month_end, zone if unit != "step" else None)
    judge = _Judge(times, bounds, inside, differences, keys, where, frequency)
    judge.refuse_off_grid()
    judge.refuse_other_steps()
    judge.refuse_change_of_step()
    return frequency


def _unit_of(
    times: TimeArray, inside: npt.NDArray[np.bool_], zone: str | None
) -> tuple[FrequencyUnit, npt.NDArray[np.int64], bool]:
    """Choose what to count, and count it from a common origin."""
    if times.dtype.kind != "M":
        return "step", np.asarray(times, dtype=np.int64), False
    stamps = np.asarray(times, dtype="datetime64[us]")
    wall = to_wall(stamps, zone)
    wall_us = wall.view(np.int64)
    if not _one_clock(wall_us, inside):
        return "microsecond", stamps.view(np.int64), False
    days = wall_us // _DAY_US
    apart = np.diff(days)[inside]
    if apart.min() >= 28:
        day = days.astype("datetime64[D]")
        month = day.astype("datetime64[M]")
        months = month.astype(np.int64)
        of_month = (day - month.astype("datetime64[D]")).astype(np.int64)
        at_end = (day + 1).astype("datetime64[M]") != month
        used = np.concatenate([inside, [False]]) | np.concatenate([[False], inside])
        if not np.any((np.diff(of_month) != 0) & inside):
            only_end = bool(at_end[used].all() and np.all(of_month[used] == 30))
            return "month", months, only_end
        if at_end[used].all():
            return "month", months, True
    if _most_common(apart) == 1 and len(apart) >= 4 and apart.max() >= 3:
        weekday = (days + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
        if np.all(weekday < 5):
            # Counted from a Monday; days before 1970 are negative and counted too.
            monday, day_of_week = np.divmod(days + 3, 7)
            return "business day", monday * 5 + day_of_week, False
    return "day", days, False


def _one_clock(wall_us: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_]) -> bool:
    """True when each series keeps one time of day."""
    for start in range(0, len(inside), BLOCK_ROWS):
        clock = wall_us[start : start + BLOCK_ROWS + 1] % _DAY_US
        if np.any((np.diff(clock) != 0) & inside[start : start + BLOCK_ROWS]):
            return False
    return True


def _most_common(differences: npt.NDArray[np.int64]) -> int:
    # One difference nearly always has the majority: then no sorting is needed.
    guess = differences[len(differences) // 2]
    if np.count_nonzero(differences == guess) * 2 > len(differences):
        return int(guess)
    values, counts = np.unique(differences, return_counts=True)
    return int(values[np.argmax(counts)])


class _Judge:
    """Raises when a series contradicts the frequency found."""

    def __init__(
        self,
        times: TimeArray,
        bounds: npt.NDArray[np.int64],
        inside: npt.NDArray[np.bool_],
        differences: npt.NDArray[np.int64],
        keys: Sequence[str] | None,
        where: str,
        frequency: Frequency,
    ) -> None:
        self.times, self.bounds, self.inside, self.differences = times, bounds, inside, differences
        self.keys, self.where, self.frequency = keys, where, frequency

    def _place(self, index: int) -> str:
        series = int(np.searchsorted(self.bounds, index, side="right")) - 1
        return self.where if self.keys is None else f"{self.where}, series {self.keys[series]!r}"

    def _label(self, step: int) -> str:
        return replace(self.frequency, every=step).label

    def _span(self, index: int) -> str:
        return f"between {show_time(self.times[index])} and {show_time(self.times[index + 1])}"

    def refuse_off_grid(self) -> None:
        every, odd, first = self.frequency.every, 0, -1
        for start in range(0, len(self.inside), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            found = np.flatnonzero(self.inside[block] & (self.differences[block] % every != 0))
            if found.size and first < 0:
                first = start + int(found[0])
            odd += found.size
        if odd:
            raise DataError(
                f"the step {self._span(first)} is not a whole number of the most common step, "
                f"{self.frequency.label}"
                f" ({odd:,} such {'place' if odd == 1 else 'places'})",
                where=self._place(first),
                expected="times on one regular grid; gaps are allowed",
                hint="bring the times to one grid first, for instance by rounding or averaging per hour "
                "or day",
            )

    def refuse_other_steps(self) -> None:
        """Refuse a series whose own most common step is another than the common one."""
        if len(self.bounds) == 2:
            return
        common = np.concatenate([[0], np.cumsum(self.inside & (self.differences == self.frequency.every))])
        starts, ends = self.bounds[:-1], np.maximum(self.bounds[1:] - 1, self.bounds[:-1])
        limit = len(common) - 1
        own = common[np.minimum(ends, limit)] - common[np.minimum(starts, limit)]
        steps = ends - starts
        for series in np.flatnonzero((own * 2 <= steps) & (steps >= _STEPS_TO_JUDGE)):
            start, end = int(starts[series]), int(ends[series])
            step = _most_common(self.differences[start:end])
            if step != self.frequency.every:
                raise DataError(
                    f"its most common step is {self._label(step)}, that of the whole table is "
                    f"{self.frequency.label}",
                    where=self._place(start),
                    expected="one frequency for all series",
                    hint="bring the series to one frequency, or pass frequency= when the wider steps "
                    "are gaps",
                )

    def refuse_change_of_step(self) -> None:
        """Refuse a long run of equal, wider steps: another frequency rather than gaps."""
        wider = self.inside & (self.differences > self.frequency.every)
        if np.count_nonzero(wider) < _RUN_OF_WIDER_STEPS:
            return
        changes = np.flatnonzero(np.diff(np.where(wider, self.differences, 0))) + 1
        edges = np.concatenate([[0], changes, [len(wider)]])
        runs = np.diff(edges)
        long = np.flatnonzero((runs >= _RUN_OF_WIDER_STEPS) & wider[edges[:-1]])
        if long.size:
            first = int(edges[long[0]])
            step = int(self.differences[first])
            raise DataError(
                f"from {show_time(self.times[first])} on, {runs[long[0]]:,} steps in a row are "
                f"{self._label(step)}, the rest is {self.frequency.label}",
                where=self._place(first),
                expected="one frequency for the whole series",
                hint="bring the series to one frequency, or pass frequency= when the wider steps are gaps",
            )


def show_time(time: np.datetime64 | np.int64) -> str:
    """Write a time for a message: no more digits than it needs.

    Example:
        >>> show_time(np.datetime64("2024-01-01T06:00:00.000000"))
        '2024-01-01 06:00'
    """
    if not isinstance(time, np.datetime64):
        return str(time)
    text = str(time.astype("datetime64[us]"))
    return text.removesuffix(".000000").removesuffix(":00").removesuffix("T00:00").replace("T", " ")
