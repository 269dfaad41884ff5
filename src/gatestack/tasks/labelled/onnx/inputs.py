"""What the network reads, inside an ONNX graph: the formulas of `scaling.py` and `resampled`, in float64.

The shares of fixed kernels jump where a response crosses its threshold. In float32 other responses would
cross than in the model, which runs in float64; so everything up to the shares is float64 here as well.

Letters: N series, T steps, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gatestack.convert.onnx.terms import Term, concat, where, zeros
from gatestack.tasks.labelled.scaling import GRID, SMALLEST_DEVIATION, InputScaling

__all__ = ["Steps", "differences", "resampled", "scaled"]


@dataclass(frozen=True)
class Steps:
    """Steps of series.

    Attributes:
        values: float64 (N, T, C), zero where a step is not real.
        lengths: int64 (N,), real steps of each row.
        real: bool (N, T, 1).
    """

    values: Term
    lengths: Term
    real: Term

    def cut(self, channels: int) -> Steps:
        """Leave the first channels only."""
        return Steps(self.values.cut(2, 0, channels), self.lengths, self.real)

    def count(self) -> Term:
        """Give the real steps of each row as float64 (N, 1)."""
        return self.lengths.axes(1).to("float64")

    def zeroed(self, values: Term) -> Term:
        """Set to zero what stands after the last real step."""
        return where(self.real, values, 0.0)


def scaled(scaling: InputScaling, x: Term, lengths: Term) -> Steps:
    """Put values into the units that the network reads; see `InputScaling.forward`.

    Args:
        scaling: of the network.
        x: float32 (N, T, C), NaN where a value is missing; anything after the last real step.
        lengths: int64 (N,), at least 1.
    """
    wide = x.to("float64")
    time = x.size(1).upto()
    real = (time < lengths.axes(1)).axes(2)
    observed = wide.observed() & real
    mean, deviation = (part.numpy().astype(np.float64) for part in (scaling.mean, scaling.deviation))
    standard = where(real, _bridged((wide - mean) / deviation, observed, time), 0.0)
    parts = []
    if scaling.scaling in ("series", "both"):
        count = observed.to("float64").total(1).op("Max", 1.0)
        level = where(observed, standard, 0.0).total(1) / count
        centred = where(real, standard - level, 0.0)
        seen = where(observed, centred, 0.0)
        variance = (seen * seen).total(1) / count
        constant = variance < SMALLEST_DEVIATION**2
        root = where(~constant, variance, 1.0).op("Sqrt")
        parts.append(where(~constant, centred, 0.0) / root)
    if scaling.scaling in ("training", "both"):
        parts.append(standard)
    if scaling.flags:
        parts.append(observed.to("float64"))
    values = concat(2, *parts)
    if scaling.scaling != "training":
        values = (values * GRID).op("Round") / GRID
    return Steps(values, lengths, real)


def differences(steps: Steps) -> Steps:
    """Give the change from the step before; zero at the first step."""
    values = steps.values
    nothing = (values.cut(1, 0, 1)) * 0.0
    change = concat(1, nothing, values.cut(1, 1) - values.cut(1, 0, -1))
    return Steps(steps.zeroed(change), steps.lengths, steps.real)


def resampled(steps: Steps, points: int) -> Term:
    """Read each row at evenly spaced points of its real part -> float64 (N, points, C)."""
    last = (steps.lengths - 1).axes(1)
    # The very numbers of the model: where a point falls on a step, rounding decides between which it lies.
    grid = torch.linspace(0, 1, points, dtype=torch.float64).numpy()
    place = last.to("float64") * grid
    below = place.op("Floor").to("int64")
    above = (below + 1).op("Min", last)
    share = (place - place.op("Floor")).axes(2)
    return steps.values.at(below.axes(2)) * (share * -1.0 + 1.0) + steps.values.at(above.axes(2)) * share


def _bridged(values: Term, observed: Term, time: Term) -> Term:
    """Fill gaps by straight lines; see `gatestack.tasks.labelled.scaling.bridged`.

    ONNX has no running maximum. The place of the k-th observed step is written to entry k of a long row, the
    places of all others past what is read; with c steps observed up to a step, itself included, the observed
    one at or before it is entry c, and the one at or after it entry c, or c + 1 if it is not observed itself.
    """
    steps = values.size(1)
    place = time.axes(1).shared(values.op("Shape", dtype="int64"))  # -> (N, T, C)
    seen = observed.to("int64")
    count = seen.sums()
    entries = zeros(values.size(0), steps * 2 + 2, values.size(2), dtype="int64").op(
        "ScatterElements", where(observed, count, place + steps + 1), place, axis=1
    )
    following = count - seen + 1
    has_before, has_after = count > 0, (following > count.op("ReduceMax", axes=[1], keepdims=1)).op("Not")
    before = where(has_before, entries.op("GatherElements", count, axis=1), 0)
    after = where(has_after, entries.op("GatherElements", following, axis=1), 0)
    clean = where(observed, values, 0.0)
    left, right = (clean.op("GatherElements", index, axis=1) for index in (before, after))
    # A quotient of whole numbers is float32 in torch, also beside float64.
    share = (place - before).to("float32") / (after - before).op("Max", np.int64(1)).to("float32")
    between = left + (right - left) * share.to("float64")
    one_sided = where(has_before, left, where(has_after, right, 0.0))
    return where(observed, values, where(has_before & has_after, between, one_sided))
