"""Precision and recall of ranges, and the volume under the precision-recall surface.

A detector that finds one step of a long anomaly has found it, and one that is a few steps late is not wrong
at each of them: scores per step alone are unfair to both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gatestack.errors import ArgumentError

__all__ = ["range_precision", "range_recall", "ranges_of", "vus_pr"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Ranges = Sequence[tuple[int, int]]


def ranges_of(flags: BoolArray) -> list[tuple[int, int]]:
    """Give first and last step of each run of True.

    Args:
        flags: (steps,).

    Example:
        >>> ranges_of(np.array([True, True, False, True]))
        [(0, 1), (3, 3)]
    """
    edges = np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def range_recall(truth: BoolArray, alarms: BoolArray, *, existence: float = 0.5) -> float:
    """Measure how much of the anomalies was found; each anomaly counts alike, however long it is.

    Of each anomaly a share `existence` is earned by any alarm within it, the rest by how much of it the
    alarms cover, divided by the number of separate alarms.

    Args:
        truth: (steps,) True within anomalies.
        alarms: (steps,) True where an alarm was raised.
        existence: α in the source, from 0 to 1.

    Returns:
        0 to 1; NaN where there is no anomaly.

    Source:
        Tatbul et al. 2018, "Precision and Recall for Time Series": range-based recall with flat positional
        bias and reciprocal cardinality.

    Example:
        >>> truth = np.array([False, True, True, False])
        >>> range_recall(truth, np.array([False, True, False, False]))
        0.75
    """
    _check_pair(truth, alarms, "range_recall")
    raised = ranges_of(alarms)
    rewards = [
        existence * bool(overlap) + (1 - existence) * overlap
        for overlap in (_overlap(anomaly, raised) for anomaly in ranges_of(truth))
    ]
    return float(np.mean(rewards)) if rewards else float("nan")


def range_precision(truth: BoolArray, alarms: BoolArray) -> float:
    """Measure how much of the alarms was right; each run of alarms counts alike.

    Args:
        truth: (steps,) True within anomalies.
        alarms: (steps,) True where an alarm was raised.

    Returns:
        0 to 1; NaN where there is no alarm.

    Source:
        Tatbul et al. 2018, "Precision and Recall for Time Series": range-based precision with flat positional
        bias and reciprocal cardinality.

    Example:
        >>> truth = np.array([False, True, True, False])
        >>> range_precision(truth, np.array([True, True, False, False]))
        0.5
    """
    _check_pair(truth, alarms, "range_precision")
    anomalies = ranges_of(truth)
    rewards = [_overlap(run, anomalies) for run in ranges_of(alarms)]
    return float(np.mean(rewards)) if rewards else float("nan")


def _overlap(range_: tuple[int, int], others: Ranges) -> float:
    """Share of a range that others cover, divided by how many of them do."""
    first, last = range_
    shared = [
        min(last, end) - max(first, start) + 1 for start, end in others if start <= last and end >= first
    ]
    return sum(shared) / (last - first + 1) / len(shared) if shared else 0.0


def vus_pr(truth: BoolArray, scores: FloatArray, *, buffers: npt.ArrayLike) -> float:
    """Measure the volume under the precision-recall surface: no threshold, and late or early alarms count.

    Around each anomaly lies a buffer in which an alarm is partly right, the less the further away. The area
    under the precision-recall curve is averaged over `buffers`.

    Args:
        truth: (steps,) True within anomalies.
        scores: (steps,) the higher, the more anomalous; finite.
        buffers: steps, each 0 or more. The source takes all from 0 to L, about the length of a typical
            anomaly or season; some of them, evenly spaced, give nearly the same for less.

    Returns:
        0 to 1. A detector without any knowledge gets about the share of anomalous steps. NaN without anomaly.

    Raises:
        ArgumentError: the lengths differ, a score is not finite, or the buffer is negative.

    Source:
        Paparrizos et al. 2022, "Volume Under the Surface: A New Accuracy Evaluation Measure for Time-Series
        Anomaly Detection".

    Example:
        >>> truth = np.array([False, False, True, False])
        >>> vus_pr(truth, np.array([0.0, 0.1, 0.9, 0.2]), buffers=[0])
        1.0
    """
    _check_pair(truth, scores, "vus_pr")
    if not np.isfinite(scores).all():
        raise ArgumentError("a score is not finite", where="vus_pr", expected="finite scores")
    steps = np.atleast_1d(np.asarray(buffers))
    if steps.dtype.kind not in "iu" or not len(steps) or steps.min() < 0:
        raise ArgumentError(f"buffers is {buffers!r}", where="vus_pr", expected="whole numbers of 0 or more")
    if not truth.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    # Steps of equal score are told apart by no threshold: a curve has a point at the last of them only.
    last_of_equal = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    areas = [_range_area(truth, scores, buffer, order, last_of_equal) for buffer in steps.tolist()]
    return float(np.mean(areas))


def _range_area(
    truth: BoolArray,
    scores: FloatArray,
    buffer: int,
    order: npt.NDArray[np.int64],
    points: npt.NDArray[np.int64],
) -> float:
    labels = _softened(truth, buffer)
    hits = np.cumsum(labels[order])[points]
    precision = hits / (points + 1)
    positives = (truth.sum() + labels.sum()) / 2
    found = np.sort([-scores[first : last + 1].max() for first, last in ranges_of(labels > 0)])
    existence = np.searchsorted(found, -scores[order][points], side="right") / len(found)
    recall = np.minimum(hits / positives, 1.0) * existence
    # Recall with existence may stay where precision falls; the area counts each gain at its precision.
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def _softened(truth: BoolArray, buffer: int) -> FloatArray:
    """Let labels fall off from 1 within half a buffer on both sides of each anomaly, by a square root."""
    labels = truth.astype(np.float64)
    half = buffer // 2
    for first, last in ranges_of(truth):
        for distance in range(1, half + 1):
            value = np.sqrt(1 - distance / buffer)
            for step in (first - distance, last + distance):
                if 0 <= step < len(labels):
                    labels[step] = max(labels[step], value)
    return labels


def _check_pair(truth: npt.NDArray[np.generic], other: npt.NDArray[np.generic], owner: str) -> None:
    if truth.ndim != 1 or truth.shape != other.shape:
        raise ArgumentError(
            f"shapes {truth.shape} and {other.shape}", where=owner, expected="two arrays of shape (steps,)"
        )
