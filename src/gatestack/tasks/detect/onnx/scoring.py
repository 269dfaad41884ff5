"""Scores and alarms of one step inside an ONNX graph, in float64: as in `scoring.py`, `alarms.py`, `tail.py`.

Letters: N series, C channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gatestack.convert.onnx.terms import Term, concat, constant, where
from gatestack.tasks.detect.alarms import LONG_AGO, CalibratedRule
from gatestack.tasks.detect.scoring import LARGEST, LEAST_SHARE, PULL, SPAN, Usual
from gatestack.tasks.detect.tail import BODY, EXPONENTIAL, RAREST, Tail

__all__ = ["SCORE_STATE", "Scored", "scored"]

SCORE_STATE = ("scale", "level", "spread", "evidence", "since", "length")
"""What the scorer carries from step to step: (N, C) thrice, (N,), and two counts (N,) int64."""


@dataclass(frozen=True)
class Scored:
    """What is said about a step.

    Attributes:
        score: float64 (N,), NaN where nothing is known.
        above: bool (N,), whether the step is anomalous.
        alarm: bool (N,), whether an event begins.
        channel: int64 (N,), the one that is furthest out.
        after: the state, by the names of `SCORE_STATE`.
    """

    score: Term
    above: Term
    alarm: Term
    channel: Term
    after: dict[str, Term]


def scored(
    usual: Usual, rule: CalibratedRule, deviation: Term, value: Term, state: dict[str, Term]
) -> Scored:
    """Score one step of N series.

    Args:
        usual: what is usual.
        rule: when to raise an alarm.
        deviation: float64 (N, C), NaN where there is none.
        value: float64 (N, C), standardised, NaN where missing.
        state: after the step before.
    """
    z = (deviation - usual.centre).op("Abs") / state["scale"]
    away = (value - state["level"]).op("Abs") / state["spread"]
    real = z.observed()
    known = _any(real)  # (N,)
    seen, far = where(real, z, 0.0), _largest(where(real, away, 0.0))
    a = _distance(usual, seen)
    mean = state["evidence"]
    b = mean + (a.op("Min", LARGEST) - mean) / SPAN
    shares = concat(
        1, *(_share_above(tail, part).axes(1) for tail, part in zip(usual.tails, (a, b, far), strict=True))
    )
    kind = shares.op("ArgMin", dtype="int64", axis=1, keepdims=0)
    rarest = shares.op("ReduceMin", axes=[1], keepdims=0)
    together = (rarest * float(len(usual.tails))).op("Min", 1.0)
    score = (together.op("Log") / math.log(10.0)).op("Abs")
    out = where(kind.equals(2).axes(1), away, z)
    channel = where(real, out, -1.0).op("ArgMax", dtype="int64", axis=1, keepdims=0)
    above = known & ~(score < rule.threshold)
    alarm, counts = _alarm(rule, above, state)
    # The first steps of an event do not feed what is usual; nor does a step of which nothing is known.
    moves = known & ~(above & (counts["length"] < rule.quiet + 1))
    after = _moved(usual, state, where(real, z, usual.pull), where(real, away, usual.spread_pull), value)
    kept = {name: where(moves.axes(1), after[name], state[name]) for name in after}
    kept |= {"evidence": where(known, b, mean)} | counts
    nothing = constant(score, np.float64(np.nan))
    return Scored(
        where(known, score, nothing),
        above,
        alarm,
        where(known, channel, 0),
        {n: kept[n] for n in SCORE_STATE},
    )


def _distance(usual: Usual, z: Term) -> Term:
    if usual.mixing is None:
        return _largest(z)
    return ((z @ usual.mixing) * z).total(1).without(1).op("Max", 0.0).op("Sqrt")


def _share_above(tail: Tail, number: Term) -> Term:
    """Give the share of usual numbers that are at least as large, (N,); see `Tail.share_above`."""
    edge = float(tail.body[-1])
    # The quantiles on both sides of the number, as np.interp finds them.
    count = (~(number.axes(1) < tail.body)).to("int64").total(1).without(1)
    below = (count - 1).op("Max", np.int64(0)).op("Min", np.int64(len(tail.body) - 2))
    quantiles, shares = constant(number, tail.body), constant(number, BODY)
    left, right = quantiles.pick(0, below), quantiles.pick(0, below + 1)
    low, high = shares.pick(0, below), shares.pick(0, below + 1)
    width = right - left
    inside = low + (high - low) * (number - left) / where(width > 0, width, 1.0)
    inside = where(count > 0, inside, 0.0)
    inside = where(number < edge, inside, float(BODY[-1]))
    beyond = ((number - edge) / tail.scale).op("Max", 0.0)
    if tail.shape < EXPONENTIAL:
        left_over = (beyond * -1.0).op("Exp")
    else:
        left_over = (beyond * tail.shape + 1.0).op("Pow", -1.0 / tail.shape)
    return where(number > edge, (left_over * 0.1).op("Max", RAREST), inside * -1.0 + 1.0)


def _alarm(rule: CalibratedRule, above: Term, state: dict[str, Term]) -> tuple[Term, dict[str, Term]]:
    """Say where an event begins, and count on; see `AlarmRule.advance`."""
    later = state["since"] + 1
    raised = above & (later > rule.quiet - 1)
    # Not "Min": ONNX Runtime 1.31 compares whole numbers by their last 32 bits there.
    since = where(above, constant(later, 0), where(later < LONG_AGO, later, LONG_AGO))
    length = where(raised, constant(later, 1), state["length"] + 1)
    return raised, {"since": since, "length": where(since < rule.quiet, length, 0)}


def _moved(usual: Usual, state: dict[str, Term], z: Term, away: Term, value: Term) -> dict[str, Term]:
    """Let scale, level and spread follow; see `Scorer`."""
    rate = 1.0 / usual.memory
    scale = state["scale"] * (((z.op("Min", PULL) - usual.pull) * rate) + 1.0)
    spread = state["spread"] * (((away.op("Min", PULL) - usual.spread_pull) * rate) + 1.0)
    gap, widest = value - state["level"], state["spread"] * PULL
    pulled = where(value.observed(), gap, 0.0).op("Min", widest).op("Max", widest * -1.0)
    return {
        "scale": scale.op("Max", LEAST_SHARE * usual.scale),
        "level": state["level"] + pulled * rate,
        "spread": spread.op("Max", LEAST_SHARE * usual.spread),
    }


def _largest(values: Term) -> Term:
    return values.op("ReduceMax", axes=[1], keepdims=0)


def _any(values: Term) -> Term:
    return values.to("int64").total(1).without(1) > 0
