"""What the faces for aeon share: its base classes, its tags, its layout of arrays."""

from __future__ import annotations

import importlib
from typing import Any

from gatestack.data.collections.arrays import sequences_from
from gatestack.data.sequences import Sequences
from gatestack.errors import ArgumentError
from gatestack.tasks.labelled.options import Architecture
from gatestack.training import Training

__all__ = ["TAGS", "TEST_PARAMETERS", "aeon_base", "time_first"]

TAGS = {
    "X_inner_type": ["np-list", "numpy3D"],
    "capability:multivariate": True,
    "capability:unequal_length": True,
    "capability:missing_values": True,
    "algorithm_type": "deeplearning",
    "non_deterministic": False,
}
"""What aeon may give to a face: several channels, unequal lengths, NaN."""

TEST_PARAMETERS: dict[str, Any] = {
    "layers": 1,
    "hidden_size": 8,
    "max_steps": 5,
    "architecture": Architecture(recipe="plain"),
    "training": Training(device="cpu"),
}
"""A small network for aeon's own checks."""


def aeon_base(module: str, name: str) -> Any:
    """Import a base class of aeon.

    Raises:
        ArgumentError: aeon is not installed.
    """
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ArgumentError("aeon is not installed", where=name, hint="pip install aeon") from error


def time_first(X: Any) -> Sequences:
    """Turn aeon's arrays (cases, channels, steps), or a list of (channels, steps), into sequences.

    Example:
        >>> import numpy as np
        >>> time_first(np.zeros((4, 2, 9)))
        Sequences(4 sequences, 36 steps, 2 features, float64)
    """
    return sequences_from(X, channels_first=True)
