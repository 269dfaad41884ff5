"""Cases that a fit has seen already: a score on them says nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from gatestack.data.sequences import Sequences

__all__ = ["count_seen"]


def count_seen(training: Sequences, cases: Sequences) -> int:
    """Count the cases whose values are, number by number, those of a training case.

    Args:
        training: of the fit.
        cases: to be scored.

    Example:
        >>> training = Sequences.from_arrays([[1.0, 2.0], [3.0, 4.0]])
        >>> count_seen(training, Sequences.from_arrays([[3.0, 4.0], [3.0, 5.0], [3.0]]))
        1
    """
    known = set(_marks(training))
    return sum(mark in known for mark in _marks(cases))


def _marks(sequences: Sequences) -> Iterator[bytes]:
    for begin, end in pairwise(sequences.offsets):
        values = sequences.values[begin:end].astype(np.float64)
        if sequences.observed is not None:
            values = np.where(sequences.observed[begin:end], values, np.nan)
        yield hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()
