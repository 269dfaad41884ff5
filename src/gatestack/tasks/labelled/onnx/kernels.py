"""Fixed kernels, segments and the linear part inside an ONNX graph, in float64.

Letters: N series, T steps, C channels, S segments, F features.
"""

from __future__ import annotations

import numpy as np

from gatestack.convert.onnx.terms import Term, concat, constant, where
from gatestack.tasks.labelled.kernels import FixedKernels
from gatestack.tasks.labelled.linear import LinearPart
from gatestack.tasks.labelled.onnx.inputs import Steps, differences, resampled
from gatestack.tasks.labelled.segments import SegmentReader

__all__ = ["linear_outputs", "segments_told"]


def linear_outputs(part: LinearPart, steps: Steps) -> Term:
    """Run the linear part on scaled steps -> float64 (N, K); see `LinearPart.forward`."""
    read = steps.cut(part.read)
    averaging = steps.real.to("float64") / steps.count().axes(2)  # -> (N, T, 1)
    features = concat(
        1,
        _shares(part.of_values, read, averaging).without(2),
        _shares(part.of_differences, differences(read), averaging).without(2),
        _shape(part, steps),
    )
    graph = features.graph
    weight = Term(graph, graph.matrix("linear_weight", part.weight.numpy()), "float32").to("float64")
    bias, mean = part.bias.numpy().astype(np.float64), part.mean.numpy().astype(np.float64)
    return (features - mean) @ weight + bias


def segments_told(reader: SegmentReader, steps: Steps) -> tuple[Term, Term]:
    """Give what the stack reads of each segment, float32 (N, S, size), and how many segments there are (N,).

    See `SegmentReader.tell` and `SegmentReader.forward`; there are always as many segments as the reader
    makes at most, those that a short row lacks being empty.
    """
    parts = steps.lengths.op("Min", np.int64(reader.segments))
    averaging = _averaging(steps, parts, reader.segments)
    read = steps.cut(reader.read)
    told = concat(
        1,
        _shares(reader.of_values, read, averaging),
        _shares(reader.of_differences, differences(read), averaging),
        steps.values.op("Transpose", perm=[0, 2, 1]) @ averaging,
    ).op("Transpose", perm=[0, 2, 1])  # -> (N, S, F)
    mean, unit = (part.numpy().astype(np.float64) for part in (reader.mean, reader.unit))
    return ((told - mean) * unit).to("float32"), parts


def _averaging(steps: Steps, parts: Term, segments: int) -> Term:
    """Give the matrices that average steps over segments, (N, T, S); see `segment_averaging`."""
    number = constant(parts, np.arange(segments + 1)).op("Min", parts.axes(1))
    # Neither is negative, so that ONNX's division rounds down. A row without a step spoils its answer only.
    edges = number * steps.lengths.axes(1) / parts.axes(1).op("Max", np.int64(1))  # -> (N, S + 1)
    begins, ends = (edges.cut(1, *part).axes(1) for part in ((0, -1), (1, None)))  # -> (N, 1, S)
    place = steps.values.size(1).upto().axes(1)
    inside = (place < ends) & ~(place < begins)
    return inside.to("float64") / (ends - begins).op("Max", np.int64(1)).to("float64")


def _shares(kernels: FixedKernels, steps: Steps, averaging: Term) -> Term:
    """Give how often the responses of kernels lie above their thresholds -> (N, F, S)."""
    channels = steps.values.op("Transpose", perm=[0, 2, 1])  # -> (N, C, T)
    parts = []
    for number, dilation in enumerate(kernels.dilations):
        responses = _responses(kernels, channels, number, dilation)
        thresholds = kernels.thresholds[number].numpy().astype(np.float64)
        for level in range(thresholds.shape[1]):
            above = responses > thresholds[:, level, None]
            parts.append(above.to("float64") @ averaging)  # -> (N, 84, S)
    return concat(1, *parts)


def _responses(kernels: FixedKernels, channels: Term, number: int, dilation: int) -> Term:
    """Slide the kernels of one dilation over channels (N, C, T) -> (N, 84, T)."""
    taps = kernels.taps.shape[1]
    reach = dilation * (taps // 2)
    padded = channels.op("Pad", np.array([0, 0, reach, 0, 0, reach]), np.float64(0))
    shifted = []
    for tap in range(taps):
        end = (tap - taps + 1) * dilation
        shifted.append(padded.cut(2, tap * dilation, end if end else None))
    weights = constant(channels, kernels.taps.numpy().astype(np.float64))
    if kernels.groups.shape[2] > 1:
        # Kept as a mask: as weights it would be 72 times as large.
        mask = constant(channels, kernels.groups[number].numpy() > 0).to("float64")
        weights = (weights.axes(2) * mask.axes(1)).shaped(0, -1)
    return weights @ concat(1, *shifted)


def _shape(part: LinearPart, steps: Steps) -> Term:
    """Give level, spread, ends and points of each row; see `LinearPart`."""
    x, count = steps.values, steps.count()
    mean = x.total(1).without(1) / count
    around = where(steps.real, x - mean.axes(1), 0.0)
    variance = (around * around).total(1).without(1) / count
    infinite = float("inf")
    least, greatest = (
        where(steps.real, x, far).op(name, axes=[1], keepdims=0)
        for name, far in (("ReduceMin", infinite), ("ReduceMax", -infinite))
    )
    return concat(
        1,
        mean,
        variance.op("Max", 1e-12).op("Sqrt"),
        least,
        greatest,
        x.pick(1, 0),
        x.at((steps.lengths - 1).axes(1)),
        count.op("Log"),
        resampled(steps, part.points).op("Flatten", axis=1),
    )
