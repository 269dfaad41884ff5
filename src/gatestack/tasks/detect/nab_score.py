"""The score of the Numenta Anomaly Benchmark: early alarms count more, alarms far from any anomaly cost.

Source: Lavin & Ahmad 2015, "Evaluating Real-time Anomaly Detection Algorithms: the Numenta Anomaly
Benchmark"; the rules of probation and normalisation as its repository states them (version 1.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatestack.errors import ArgumentError

__all__ = ["PROFILES", "NabProfile", "NabResult", "nab_score", "probation_steps", "score_file"]

Windows = Sequence[tuple[int, int]]

_PROBATION_SHARE = 0.15
_LONGEST_FILE = 5000
# Further than so many lengths behind a window a false alarm costs its whole weight.
_FAR = 3.0


@dataclass(frozen=True)
class NabProfile:
    """What is gained and lost.

    Args:
        hit: for the first alarm in a window, at its left edge.
        false_alarm: cost of an alarm outside all windows, far behind the last one.
        miss: cost of a window without an alarm.

    Example:
        >>> PROFILES["standard"].false_alarm
        0.11
    """

    hit: float
    false_alarm: float
    miss: float


PROFILES = {
    "standard": NabProfile(hit=1.0, false_alarm=0.11, miss=1.0),
    "few_false_alarms": NabProfile(hit=1.0, false_alarm=0.22, miss=1.0),
    "few_misses": NabProfile(hit=1.0, false_alarm=0.11, miss=2.0),
}
"""The three profiles; NAB calls the last two `reward_low_FP_rate` and `reward_low_FN_rate`."""


@dataclass(frozen=True)
class NabResult:
    """The raw score of a file and what it consists of.

    Attributes:
        raw: sum of gains and costs.
        windows: how many there are.
        hits: windows with at least one alarm.
        false_alarms: alarms outside all windows, after probation.
    """

    raw: float
    windows: int
    hits: int
    false_alarms: int


def probation_steps(steps: int) -> int:
    """Count the first steps of a file that are not scored, in which a detector may learn.

    Example:
        >>> probation_steps(1000), probation_steps(20_000)
        (150, 750)
    """
    return int(_PROBATION_SHARE * min(steps, _LONGEST_FILE))


def score_file(
    alarms: npt.NDArray[np.bool_], windows: Windows, profile: NabProfile, *, probation: int | None = None
) -> NabResult:
    """Score the alarms of one file.

    Args:
        alarms: (steps,) True where an alarm was raised; those in the probation are not counted.
        windows: first and last step of each window, in order, without overlap.
        profile: gains and costs.
        probation: number of first steps that are not scored; None takes the benchmark's, `probation_steps`.

    Raises:
        ArgumentError: a window lies outside the file, or the windows are not in order.

    Example:
        >>> alarms = np.zeros(1000, dtype=bool)
        >>> alarms[500] = True
        >>> score_file(alarms, [(500, 599)], PROFILES["standard"]).hits
        1
    """
    steps = len(alarms)
    _check_windows(windows, steps)
    raised = np.flatnonzero(alarms)
    raised = raised[raised >= (probation_steps(steps) if probation is None else probation)]
    raw, hits, inside = 0.0, 0, np.zeros(len(raised), dtype=bool)
    for first, last in windows:
        within = (raised >= first) & (raised <= last)
        inside |= within
        if not within.any():
            raw -= profile.miss
            continue
        hits += 1
        # The earliest alarm counts: from -1 at the left edge of the window to 0 behind the right one.
        place = -(last - int(raised[within][0]) + 1) / (last - first + 1)
        raw += profile.hit * _sigmoid(place) / _sigmoid(-1.0)
    for step in raised[~inside]:
        raw += profile.false_alarm * _after(int(step), windows)
    return NabResult(raw, len(windows), hits, int((~inside).sum()))


def nab_score(results: Iterable[NabResult], profile: NabProfile) -> float:
    """Bring raw scores of a corpus to the scale on which no alarm at all is 0 and a perfect detector 100.

    Args:
        results: of every file, each by `score_file` with the same profile.
        profile: gains and costs.

    Returns:
        The score, at most 100; below 0 where silence would have been better.

    Raises:
        ArgumentError: no file has a window.

    Example:
        >>> alarms = np.zeros(1000, dtype=bool)
        >>> nab_score([score_file(alarms, [(500, 599)], PROFILES["standard"])], PROFILES["standard"])
        0.0
        >>> alarms[500] = True
        >>> nab_score([score_file(alarms, [(500, 599)], PROFILES["standard"])], PROFILES["standard"])
        100.0
    """
    scored = list(results)
    windows = sum(result.windows for result in scored)
    if windows == 0:
        raise ArgumentError("no file has a window", where="nab_score", expected="at least one anomaly")
    silent, perfect = -profile.miss * windows, profile.hit * windows
    return 100 * (sum(result.raw for result in scored) - silent) / (perfect - silent)


def _sigmoid(place: float) -> float:
    """Value an alarm by its place, counted in windows from the right edge; Lavin & Ahmad, scaled sigmoid."""
    return float(2 / (1 + np.exp(5 * place)) - 1)


def _after(step: int, windows: Windows) -> float:
    """Value a false alarm: near 0 just behind a window, -1 far behind it or before the first one."""
    before = [(first, last) for first, last in windows if last < step]
    if not before:
        return -1.0
    first, last = before[-1]
    place = (step - last) / max(last - first, 1)
    return -1.0 if place > _FAR else _sigmoid(place)


def _check_windows(windows: Windows, steps: int) -> None:
    end = -1
    for first, last in windows:
        if not end < first <= last < steps:
            raise ArgumentError(
                f"the window from step {first} to {last}",
                where="score_file",
                expected=f"windows in order, without overlap, within {steps} steps",
            )
        end = last
