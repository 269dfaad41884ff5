"""A history inside an ONNX graph: gaps filled, level and scale at each step, what the next call goes on from.

The formulas are those of `scaling.py` and of `SeriesState.advance`, for many steps at once. The sums are
float64, as there: squares of values far from the first one leave no digits in float32. Letters: N series, T
steps of this call, W window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gatestack.convert.onnx.builder import Tensor
from gatestack.convert.onnx.terms import Term, concat, constant, stack, where, zeros
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.scaling import (
    LEVEL_SHARE,
    LONG_RUN_SHARE,
    SMALLEST_VARIANCE,
    SeriesScale,
)

__all__ = ["Carried", "History", "carried_arrays", "nothing_yet", "read_history"]

Carried: TypeAlias = dict[str, Term]
"""What goes from one call to the next, by name; see `carried_arrays`. The layers' states stand beside it."""


def carried_arrays(fitted: FittedForecast) -> tuple[Tensor, ...]:
    """Say what is carried from one call to the next; zeros are a series that has not begun.

    `steps` counts the steps so far; `begun` tells that one of them had a value; `values` are the last W
    values, gaps filled, and `seen` tells which were real; `origin`, the first value, and `sums` (count, sum
    and sum of squares around it) make level and scale; `hidden` are the last outputs of the stack.
    """
    window, shape = fitted.network.shape.window, fitted.network.shape
    arrays = [
        Tensor("steps", "int64", ("batch",)),
        Tensor("begun", "bool", ("batch",)),
        Tensor("values", "float32", ("batch", window)),
        Tensor("hidden", "float32", ("batch", fitted.network.head.reach + 1, shape.widths[-1])),
    ]
    if fitted.series_scale is None:
        arrays += [
            Tensor("seen", "bool", ("batch", window)),
            Tensor("origin", "float64", ("batch",)),
            Tensor("sums", "float64", ("batch", 3)),
        ]
    return tuple(arrays)


def nothing_yet(fitted: FittedForecast, rows: Term) -> Carried:
    """Give what is carried before the first step of `rows` series, int64 (1,)."""
    return {
        array.name: zeros(
            rows, *(size for size in array.shape[1:] if isinstance(size, int)), dtype=array.dtype
        )
        for array in carried_arrays(fitted)
    }


@dataclass(frozen=True)
class History:
    """The steps of a call with the window before them.

    Attributes:
        known: float32 (N, W + T), gaps filled.
        observed: bool (N, T).
        moments: float32 (N, 1 + T, 4): at the step before this call, then at each of its steps.
        after: what is carried on, but for `hidden`, which the network knows.
    """

    known: Term
    observed: Term
    moments: Term
    after: Carried


def read_history(
    fitted: FittedForecast, carried: Carried, target: Term, lengths: Term, series: Term | None
) -> History:
    """Fill the gaps and find the scale at each step.

    Args:
        fitted: what fitting found.
        carried: from the call before.
        target: float32 (N, T), NaN where missing.
        lengths: int64 (N,), real steps of each row.
        series: int64 (N,), the number of each series in the fit, where each has a scale of its own.
    """
    window = fitted.network.shape.window
    time = target.size(1).upto()
    observed = (time < lengths.axes(1)) & target.observed()  # (N, T)
    plain = where(observed, target, np.float32(0))
    count = observed.to("int64").sums()
    first, held = _filled(plain, observed, count, time)
    last = carried["values"].pick(1, window - 1)
    # The first value also stands for those before it.
    leading = where(carried["begun"], last, first)
    before = where(carried["begun"].axes(1), carried["values"], leading.axes(1))
    known = concat(1, before, where(count > 0, held, leading.axes(1)))
    has_begun = carried["begun"].axes(1)
    begun = concat(1, has_begun, has_begun | (count > 0))  # (N, 1 + T)
    after = {
        "steps": carried["steps"] + lengths,
        "begun": carried["begun"] | (observed.to("int64").total(1).without(1) > 0),
        "values": known.at(_last(lengths, window)),
    }
    if fitted.series_scale is None:
        moments, sums = _trailing(carried, plain, observed, first, window)
        after |= sums
        after["seen"] = concat(1, carried["seen"], observed).at(_last(lengths, window))
    else:
        moments = _own(fitted.series_scale, series, begun)
    # Before the first value the network reads zeros, whatever fills the gap.
    filled = known.cut(1, window - 1)
    level, scale, long_level, long_scale = (moment.to("float32") for moment in moments)
    level, long_level = (where(begun, part, filled) for part in (level, long_level))
    return History(known, observed, stack(level, scale, long_level, long_scale), after)


def _last(lengths: Term, window: int) -> Term:
    """Point at the last `window` of W + T steps, of which `lengths` of the T are real; (N, window, 1)."""
    return (lengths.axes(1) + np.arange(window)).axes(2)


def _filled(plain: Term, observed: Term, count: Term, time: Term) -> tuple[Term, Term]:
    """Find the first observed value (N,), 0 where there is none, and the last one up to each step (N, T).

    The k-th observed value goes to place k of a long row, all others past what is read; step t then reads
    place `count[t]`. ONNX has no running maximum, with which `last_observed` does it.
    """
    steps = time.size(0)
    places = where(observed, count, time.shared(observed.op("Shape", dtype="int64")) + steps + 1)
    room = zeros(plain.size(0), steps + steps + 2, dtype="float32")
    placed = room.op("ScatterElements", places, plain, axis=1)
    return placed.pick(1, 1), placed.op("GatherElements", count, axis=1)


def _trailing(
    carried: Carried, plain: Term, observed: Term, first: Term, window: int
) -> tuple[list[Term], Carried]:
    """Find the moments of `TrailingScale`, float64 (N, 1 + T) each, and the sums to carry on."""
    origin = where(carried["begun"], carried["origin"], first.to("float64"))
    around = origin.axes(1)
    recent = where(carried["seen"], carried["values"].to("float64") - around, 0.0)
    centred = where(observed, plain.to("float64") - around, 0.0)
    new = stack(observed.to("float64"), centred, centred * centred)  # (N, T, 3)
    running = concat(1, carried["sums"].axes(1), carried["sums"].axes(1) + new.sums())  # (N, 1 + T, 3)
    seen = concat(1, carried["seen"], observed).to("float64")
    # Around the last values of the steps before, so that a series far from its first value loses no digits.
    number = carried["seen"].to("float64").total(1)
    near = recent.total(1) / number.op("Max", np.float64(1))
    local = (concat(1, recent, centred) - near) * seen
    within = _over_window(stack(seen, local, local * local), window)  # (N, 1 + T, 3)
    own_mean, own_variance, own_count = _mean_and_variance(running)
    mean, variance, count = _mean_and_variance(within)
    long_level = around + own_mean
    long_scale = _root(own_variance, long_level)
    # A window without a single observed value keeps to the long run.
    full = count > 0.5
    level = where(full, around + near + mean, long_level)
    variance = where(full, variance, long_scale * long_scale) + (long_scale * LONG_RUN_SHARE).op("Pow", 2.0)
    begun = own_count > 0.5
    moments = [
        where(begun, found, standard)
        for found, standard in zip(
            (level, _root(variance, level), long_level, long_scale), (0.0, 1.0, 0.0, 1.0), strict=True
        )
    ]
    # Unreal steps add nothing, so the last sums are those after the last real step.
    return moments, {"origin": origin, "sums": running.pick(1, -1)}


def _over_window(terms: Term, window: int) -> Term:
    """Sum the last `window` terms (N, W + T, ·) up to each step, the one before the call included."""
    sums = terms.sums()
    nothing = zeros(terms.size(0), 1, terms.size(2), dtype="float64")
    whole = concat(1, nothing, sums)  # (N, 1 + W + T, ·)
    return whole.cut(1, window) - whole.cut(1, 0, -window)


def _mean_and_variance(sums: Term) -> tuple[Term, Term, Term]:
    count, total, square = (sums.pick(2, place) for place in range(3))
    divisor = count.op("Max", np.float64(1))
    mean = total / divisor
    return mean, (square / divisor - mean * mean).op("Max", np.float64(0)), count


def _root(variance: Term, level: Term) -> Term:
    """Give the scale of a variance; never 0, so that a constant series stays finite."""
    share = level * LEVEL_SHARE
    return (variance + share * share + SMALLEST_VARIANCE).op("Sqrt")


def _own(scale: SeriesScale, series: Term | None, begun: Term) -> list[Term]:
    """Give the level and scale of each series, float64 (N, 1 + T), twice."""
    if series is None:
        raise RuntimeError("a scale of each series needs the numbers of the series")
    shape = begun.op("Shape", dtype="int64")
    # A number below 0 would count from the end: it is sent past the end, where ONNX Runtime refuses it.
    row = where(series < 0, constant(series, len(scale.level)), series)
    found = [constant(series, kept).pick(0, row).axes(1).shared(shape) for kept in (scale.level, scale.scale)]
    return [*found, *found]
