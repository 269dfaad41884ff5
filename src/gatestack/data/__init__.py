"""Data on its way to a model: sequences, tables, calendars.

Public names are imported when first used.

Example:
    >>> import numpy as np
    >>> from gatestack.data import Sequences
    >>> Sequences.from_arrays([np.zeros((3, 2)), np.ones((5, 2))])
    Sequences(2 sequences, 8 steps, 2 features, float64)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatestack.data.sequences import Sequences

__all__ = ["Sequences"]

# Where each public name lives.
_HOMES = {
    "Sequences": "gatestack.data.sequences",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'gatestack.data' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
