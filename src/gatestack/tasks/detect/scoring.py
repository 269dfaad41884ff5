"""From deviations to scores: a running scale, three kinds of evidence, and how rare they are.

At step t, with the deviation u_t of each channel (see `networks`) and its standardised value v_t,

    z_t = (u_t - centre) / scale_t          in units of the running scale of the channel
    a_t = max |z_t|                         how unusual the step is; for a reconstruction of several channels
                                            sqrt(z' R^-1 z / C) with the correlation R of usual errors
    b_t = running mean of min(a_t, 8)       whether the last steps together are unusual
    l_t = max |v_t - level_t| / spread_t    how far the value is from where it has been for long
    score_t = -log10 min(1, 3 min(P(a_t), P(b_t), P(l_t)))

P is the share of usual steps that are as far out (`Tail`), the 3 pays for looking three times. A score of 3
is reached once in 1,000 usual steps, or less often. `scale`, `level` and `spread` follow the series slowly;
the first `quiet` steps of an event do not feed them. What lasts longer does, a bounded step at a time, until
it is the new normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatestack.tasks.detect.alarms import AlarmRule, AlarmState
from gatestack.tasks.detect.tail import Tail

__all__ = [
    "EVIDENCE",
    "LARGEST",
    "LEAST_SHARE",
    "PULL",
    "SPAN",
    "ScoreState",
    "ScoredSteps",
    "Scorer",
    "Usual",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

EVIDENCE = ("step", "mean", "level")
"""The kinds of evidence, in their order."""

LARGEST = 8.0
SPAN = 10.0
# A deviation counts at most so many scales when the scale is moved, and the scale never falls below this
# share of what it was in the fit: a quiet night is no reason for alarms by day.
PULL = 4.0
LEAST_SHARE = 0.25


@dataclass(frozen=True)
class Usual:
    """What is usual, as found on the training part.

    Attributes:
        centre: (C,) of the deviations.
        scale: (C,) mean absolute deviation from the centre.
        pull: (C,) mean of min(|z|, 4): what keeps the running scale where it is.
        spread: (C,) mean absolute distance of the standardised values from their running level.
        spread_pull: (C,) mean of min(distance / spread, 4).
        mixing: (C, C) R^-1 / C, or None to take the largest channel.
        memory: steps over which scale, level and spread follow the series.
        tails: one for each kind of evidence.
    """

    centre: FloatArray
    scale: FloatArray
    pull: FloatArray
    spread: FloatArray
    spread_pull: FloatArray
    mixing: FloatArray | None
    memory: int
    tails: tuple[Tail, ...]


@dataclass(frozen=True)
class ScoreState:
    """What the scorer of one series carries from step to step.

    Attributes:
        scale, level, spread: (C,).
        mean: the running mean b of the last steps.
        alarm: of the rule of alarms.
    """

    scale: FloatArray
    level: FloatArray
    spread: FloatArray
    mean: float
    alarm: AlarmState


@dataclass(frozen=True)
class ScoredSteps:
    """Scores of T steps of one series.

    Attributes:
        score: (T,) -log10 of the share of usual steps that are as far out; NaN where nothing is known.
        evidence: (T, 3) a, b and l.
        kind: (T,) number of the rarest kind of evidence.
        channel: (T,) number of the channel that is furthest out.
        above: (T,) True where the rule calls the step anomalous.
        alarm: (T,) True at the first step of each event.
    """

    score: FloatArray
    evidence: FloatArray
    kind: IntArray
    channel: IntArray
    above: BoolArray
    alarm: BoolArray


class Scorer:
    """Turns deviations into scores and alarms, step by step; a whole series is the same steps in a row.

    Args:
        usual: what is usual.
        rule: when to raise an alarm.
    """

    def __init__(self, usual: Usual, rule: AlarmRule) -> None:
        self.usual, self.rule = usual, rule

    def start(self) -> ScoreState:
        """Give the state before the first step of a series."""
        usual = self.usual
        return ScoreState(
            usual.scale, np.zeros_like(usual.scale), usual.spread, float(np.mean(usual.pull)), AlarmState()
        )

    def run(
        self, deviations: FloatArray, values: FloatArray, state: ScoreState
    ) -> tuple[ScoredSteps, ScoreState]:
        """Go on by some steps of one series.

        Args:
            deviations: (T, C), NaN where there is none.
            values: (T, C) standardised, NaN where missing.
            state: after the step before.

        Returns:
            Scores and the new state.
        """
        steps = len(deviations)
        found = ScoredSteps(
            np.full(steps, np.nan),
            np.full((steps, len(EVIDENCE)), np.nan),
            np.zeros(steps, dtype=np.int64),
            np.zeros(steps, dtype=np.int64),
            np.zeros(steps, dtype=bool),
            np.zeros(steps, dtype=bool),
        )
        for step in range(steps):
            state = self._step(deviations[step], values[step], state, found, step)
        return found, state

    def _step(
        self, deviation: FloatArray, value: FloatArray, state: ScoreState, found: ScoredSteps, step: int
    ) -> ScoreState:
        usual = self.usual
        z = np.abs(deviation - usual.centre) / state.scale
        away = np.abs(value - state.level) / state.spread
        real = ~np.isnan(z)
        if not real.any():
            # A gap: nothing is known of this step, and time goes on.
            return ScoreState(
                state.scale, state.level, state.spread, state.mean, self.rule.advance(None, 0.0, state.alarm)
            )
        a = self._distance(np.where(real, z, 0.0))
        b = state.mean + (min(a, LARGEST) - state.mean) / SPAN
        far = float(np.max(np.where(real, away, 0.0)))
        shares = [tail.share_above(part) for tail, part in zip(usual.tails, (a, b, far), strict=True)]
        kind = int(np.argmin(shares))
        score = abs(math.log10(min(1.0, len(shares) * shares[kind])))  # no minus before a zero
        alarm = self.rule.advance(score, a, state.alarm)
        found.score[step], found.kind[step], found.evidence[step] = score, kind, (a, b, far)
        found.channel[step] = int(np.argmax(np.where(real, away if kind == 2 else z, -1.0)))
        found.above[step], found.alarm[step] = alarm.above, alarm.raised
        if alarm.above and alarm.length <= self.rule.quiet:
            return ScoreState(state.scale, state.level, state.spread, b, alarm)
        return self._moved(state, z, away, value, real, b, alarm)

    def _distance(self, z: FloatArray) -> float:
        mixing = self.usual.mixing
        return float(z.max()) if mixing is None else math.sqrt(max(float(z @ mixing @ z), 0.0))

    def _moved(
        self,
        state: ScoreState,
        z: FloatArray,
        away: FloatArray,
        value: FloatArray,
        real: BoolArray,
        mean: float,
        alarm: AlarmState,
    ) -> ScoreState:
        """Let scale, level and spread follow; one step moves them by 1 / memory of a bounded distance."""
        usual, rate = self.usual, 1.0 / self.usual.memory
        z, away = np.where(real, z, usual.pull), np.where(real, away, usual.spread_pull)
        scale = state.scale * (1 + rate * (np.minimum(z, PULL) - usual.pull))
        spread = state.spread * (1 + rate * (np.minimum(away, PULL) - usual.spread_pull))
        pulled = np.clip(np.nan_to_num(value - state.level), -PULL * state.spread, PULL * state.spread)
        return ScoreState(
            np.maximum(scale, LEAST_SHARE * usual.scale),
            state.level + rate * pulled,
            np.maximum(spread, LEAST_SHARE * usual.spread),
            mean,
            alarm,
        )
