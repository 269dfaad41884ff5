"""Sequences from what programs have: arrays, padded or not, and lists of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gatestack.data.sequences import Sequences
from gatestack.errors import ArgumentError

__all__ = ["sequences_from"]


def sequences_from(data: Any, *, channels_first: bool = False) -> Sequences:
    """Make sequences of an array or a list of arrays.

    Args:
        data: (cases, steps); (cases, steps, channels); a list of (steps,) or (steps, channels); or
            `Sequences`. NaN marks a missing value.
        channels_first: the arrays are (cases, channels, steps), and those of a list (channels, steps).

    Raises:
        ArgumentError: something else, or an array with more channels than steps, which is probably laid out
            the other way.
        DataError: a value is infinite.

    Example:
        >>> sequences_from(np.zeros((4, 10)))
        Sequences(4 sequences, 40 steps, 1 feature, float64)
        >>> sequences_from(np.zeros((4, 2, 10)), channels_first=True)
        Sequences(4 sequences, 40 steps, 2 features, float64)
    """
    if isinstance(data, Sequences):
        return data
    if isinstance(data, np.ndarray) and data.dtype != object:
        return _from_array(data, channels_first)
    if isinstance(data, np.ndarray | Sequence) and not isinstance(data, str | bytes):
        return _from_list([np.asarray(part) for part in data], channels_first)
    raise ArgumentError(
        f"the data is of type {type(data).__name__}",
        expected="a path, a frame, an array (cases, steps, channels), or a list of arrays (steps, channels)",
    )


def _from_array(data: np.ndarray[Any, Any], channels_first: bool) -> Sequences:
    if data.ndim not in (2, 3):
        raise ArgumentError(
            f"the array has shape {data.shape}", expected="(cases, steps) or (cases, steps, channels)"
        )
    padded = data[..., None] if data.ndim == 2 else data
    if channels_first and data.ndim == 3:
        padded = padded.swapaxes(1, 2)
    elif padded.shape[2] > padded.shape[1] and data.ndim == 3:
        _refuse_layout(f"the array has shape {data.shape}, {data.shape[2]} channels of {data.shape[1]} steps")
    if not padded.size:
        raise ArgumentError(
            f"the array has shape {data.shape}", expected="at least one case, one step and one channel"
        )
    return Sequences.from_padded(padded)


def _from_list(parts: list[np.ndarray[Any, Any]], channels_first: bool) -> Sequences:
    if channels_first:
        parts = [part.T if part.ndim == 2 else part for part in parts]
    elif parts and all(part.ndim == 2 and part.shape[1] > part.shape[0] for part in parts):
        _refuse_layout(f"each array has more channels than steps, the first has shape {parts[0].shape}")
    sequences = Sequences.from_arrays(parts)
    empty = np.flatnonzero(sequences.lengths == 0)
    if len(empty):
        raise ArgumentError("the case has no steps", where=f"data[{int(empty[0])}]", expected="one or more")
    return sequences


def _refuse_layout(what: str) -> None:
    raise ArgumentError(
        what,
        expected="(cases, steps, channels)",
        hint="data of aeon or sktime is (cases, channels, steps): read_labelled(…, layout='channels_first') "
        "or x.transpose(0, 2, 1) turns it; if it is meant so, pass gatestack.data.Sequences.from_padded(x)",
    )
