"""When scores become alarms: one alarm per event, by a calibrated or a dynamic threshold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["LONG_AGO", "AlarmRule", "AlarmState", "CalibratedRule", "DynamicRule", "events_of"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# Hundman et al. 2018, sections 3.2 and 3.3: steps looked back over, candidates for z, least drop of a kept
# maximum.
_LOOK_BACK = 2100
_DEVIATIONS = np.arange(2.5, 12.01, 0.5)
_LEAST_DROP = 0.13
_FEWEST = 30
_SPAN = 10.0
LONG_AGO = 2**31


@dataclass(frozen=True)
class AlarmState:
    """What a rule carries from step to step.

    Attributes:
        above: whether the last step was anomalous.
        raised: whether it raised an alarm.
        since: steps since the last anomalous one.
        length: steps since the start of the event; 0 outside.
        errors: (n,) the last smoothed errors, for the dynamic threshold.
    """

    above: bool = False
    raised: bool = False
    since: int = LONG_AGO
    length: int = 0
    errors: FloatArray = field(default_factory=lambda: np.zeros(0))


class AlarmRule(ABC):
    """Calls steps anomalous; those less than `quiet` steps apart are one event, with one alarm.

    Args:
        quiet: steps without an anomalous one after which the next one raises an alarm again, 1 or more.
    """

    def __init__(self, quiet: int) -> None:
        self.quiet = quiet

    def advance(self, score: float | None, error: float, state: AlarmState) -> AlarmState:
        """Go on by one step.

        Args:
            score: of the step; None in a gap.
            error: how unusual the step is, without an upper bound; 0 in a gap.
            state: after the step before.
        """
        above, errors = (False, state.errors) if score is None else self._judge(score, error, state.errors)
        since = 0 if above else min(state.since + 1, LONG_AGO)
        raised = above and state.since + 1 >= self.quiet
        going_on = since < self.quiet
        length = (1 if raised else state.length + 1) if going_on else 0
        return AlarmState(above, raised, since, length, errors)

    @abstractmethod
    def _judge(self, score: float, error: float, errors: FloatArray) -> tuple[bool, FloatArray]:
        """Say whether a step is anomalous, and what to remember."""


class CalibratedRule(AlarmRule):
    """A fixed threshold of the score: reached in usual data at most as often as false alarms are allowed.

    An event of several steps is one alarm, so that there are fewer alarms than anomalous steps, never more.

    Args:
        threshold: of the score.
        quiet: as in the base.
    """

    def __init__(self, threshold: float, quiet: int) -> None:
        super().__init__(quiet)
        self.threshold = threshold

    def _judge(self, score: float, error: float, errors: FloatArray) -> tuple[bool, FloatArray]:
        del error
        return score >= self.threshold, errors


class DynamicRule(AlarmRule):
    """A threshold that follows the errors, without a distribution and without a rate.

    Over the last 2,100 smoothed errors e, with mean μ and deviation σ, the threshold is ε = μ + zσ with the z
    for which (Δμ/μ + Δσ/σ) / (|e_a| + |E|²) is largest: Δμ and Δσ are what mean and deviation lose without
    the errors e_a above ε, which form |E| runs. A run is kept only where its maximum lies enough above the
    next lower one.

    Source:
        Hundman et al. 2018, "Detecting Spacecraft Anomalies Using LSTMs and Nonparametric Dynamic
        Thresholding", sections 3.2 (threshold) and 3.3 (pruning). Departure: each step is judged when it
        comes, by the errors up to it, so that a stream and a batch agree.
    """

    def _judge(self, score: float, error: float, errors: FloatArray) -> tuple[bool, FloatArray]:
        del score
        smoothed = errors[-1] + (error - errors[-1]) / _SPAN if len(errors) else error
        kept = np.append(errors[1 - _LOOK_BACK :], smoothed)
        mean, deviation = float(kept.mean()), float(kept.std())
        if len(kept) < _FEWEST or smoothed <= mean + _DEVIATIONS[0] * deviation:
            return False, kept
        return smoothed >= _best_threshold(kept, mean, deviation) and _stands_out(kept), kept


def _best_threshold(errors: FloatArray, mean: float, deviation: float) -> float:
    best, threshold = -np.inf, np.inf
    for candidate in mean + _DEVIATIONS * deviation:
        above = errors >= candidate
        if not above.any():
            break
        below = errors[~above]
        gain = (mean - below.mean()) / mean + (deviation - below.std()) / deviation
        runs = int(np.diff(above.astype(np.int8), prepend=0).clip(min=0).sum())
        value = gain / (above.sum() + runs**2)
        if value > best:
            best, threshold = value, candidate
    return float(threshold)


def _stands_out(errors: FloatArray) -> bool:
    """Tell whether the newest maximum lies enough above the largest usual error."""
    threshold = _best_threshold(errors, float(errors.mean()), float(errors.std()))
    above = errors >= threshold
    edges = np.flatnonzero(np.diff(above.astype(np.int8), prepend=0, append=0))
    peaks = np.array([errors[a:b].max() for a, b in edges.reshape(-1, 2)])
    own = peaks[-1]
    ladder = np.append(np.sort(peaks[peaks <= own])[::-1], errors[~above].max())
    # A run is kept if any step down the ladder from it is large: what follows a large drop is usual.
    drops = (ladder[:-1] - ladder[1:]) / ladder[:-1]
    return bool((drops > _LEAST_DROP).any())


def events_of(above: BoolArray, quiet: int) -> BoolArray:
    """Mark the first step of each event, (T,)."""
    raised, last = np.zeros(len(above), dtype=bool), -quiet
    for step in np.flatnonzero(above).tolist():
        raised[step], last = step - last >= quiet, step
    return raised
