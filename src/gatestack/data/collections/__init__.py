"""Collections of labelled sequences: one label or one target value for each, read from the archives' files.

Example:
    >>> from gatestack.data.collections import read_labelled
    >>> read_labelled([[0.0, 1.0], [1.0, 0.0, 2.0]], ["up", "zigzag"])
    LabelledSequences(2 sequences, 5 steps, 1 feature, float64; classes: up, zigzag)
"""

from __future__ import annotations

from gatestack.data.collections.labelled import LabelColumns, LabelledSequences
from gatestack.data.collections.read import read_labelled

__all__ = ["LabelColumns", "LabelledSequences", "read_labelled"]
