"""Series that a small network tells apart in a second, and small networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.tasks.classify import Architecture, Classifier
from gatestack.tasks.regress import Regressor
from gatestack.training import Training

SMALL: dict[str, Any] = {
    "layers": 1,
    "hidden_size": 6,
    "max_steps": 6,
    "training": Training(learning_rate=0.02),
    "architecture": Architecture(recipe="plain", scaling="both"),
}


def small_classifier(**changes: Any) -> Classifier:
    return Classifier(**(SMALL | changes))


def small_regressor(**changes: Any) -> Regressor:
    return Regressor(**(SMALL | changes))


def waves(
    count: int = 24, *, channels: int = 1, seed: int = 0, least: int = 8, most: int = 14
) -> tuple[list[npt.NDArray[np.float64]], npt.NDArray[np.str_]]:
    """Slow and fast waves with noise, of different lengths: (T_i, channels) each, and their names."""
    random = np.random.default_rng(seed)
    names = np.array(["slow", "fast"])[np.arange(count) % 2]
    series = []
    for name in names:
        steps = np.arange(random.integers(least, most + 1))[:, None]
        phase = random.random((1, channels)) * 6
        noise = 0.1 * random.normal(size=(len(steps), channels))
        series.append(np.sin(steps * (0.4 if name == "slow" else 2.0) + phase) + noise)
    return series, names


def sizes(count: int = 24, seed: int = 0) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Waves (cases, steps) and their heights."""
    random = np.random.default_rng(seed)
    height = random.random(count) * 3 + 0.5
    return height[:, None] * np.sin(np.arange(12) * 0.7)[None], height
