"""Checking the arguments of a detector before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from gatestack.errors import ArgumentError, check_choice, check_whole
from gatestack.tasks.choices import check_instance
from gatestack.tasks.detect.fitting import DetectorPlan
from gatestack.tasks.detect.networks import Method
from gatestack.tasks.detect.options import Architecture
from gatestack.training import Training

__all__ = ["make_plan"]

_OWNER = "AnomalyDetector"
_MOST_LAYERS = 64
_LARGEST_SEED = 2**63 - 1  # what the random numbers of torch take
_LEARNING_RATE = 3e-3


def make_plan(parameters: Mapping[str, Any]) -> DetectorPlan:
    """Check every parameter of an `AnomalyDetector` against its range.

    Args:
        parameters: the arguments of its constructor, by name.

    Raises:
        ArgumentError: names the argument, its value, and what is expected.
    """
    check_choice("method", parameters["method"], get_args(Method), owner=_OWNER)
    check_choice("threshold", parameters["threshold"], ("calibrated", "dynamic"), owner=_OWNER)
    window = check_whole("window", parameters["window"], owner=_OWNER, least=2)
    quiet = parameters["quiet"]
    training = check_instance("training", parameters["training"], Training, owner=_OWNER)
    if training.learning_rate is None:
        training = training.model_copy(update={"learning_rate": _LEARNING_RATE})
    seed = check_whole("seed", parameters["seed"], owner=_OWNER, least=0)
    if seed > _LARGEST_SEED:
        raise ArgumentError(
            f"the 'seed' parameter of {_OWNER} is {seed}", expected=f"a whole number up to {_LARGEST_SEED}"
        )
    return DetectorPlan(
        method=parameters["method"],
        widths=_widths(parameters["layers"], parameters["hidden_size"]),
        architecture=check_instance("architecture", parameters["architecture"], Architecture, owner=_OWNER),
        window=window,
        false_alarms_per_day=_rate(parameters["false_alarms_per_day"]),
        threshold=parameters["threshold"],
        quiet=window if quiet is None else check_whole("quiet", quiet, owner=_OWNER),
        max_steps=check_whole("max_steps", parameters["max_steps"], owner=_OWNER),
        training=training,
        seed=seed,
    )


def _rate(rate: object) -> float | None:
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, int | float | np.number):
        good = False
    else:
        good = math.isfinite(float(rate)) and float(rate) > 0
    if not good:
        raise ArgumentError(
            f"the 'false_alarms_per_day' parameter of {_OWNER} is {rate!r}",
            expected="a number above 0, such as 0.1 for one in ten days, or None",
        )
    return float(rate)  # type: ignore[arg-type]


def _widths(layers: object, hidden_size: object) -> tuple[int, ...]:
    width = check_whole("hidden_size", hidden_size, owner=_OWNER)
    if isinstance(layers, str) and layers == "auto":
        return (width,)  # until a study of the training part takes its place
    if isinstance(layers, list | tuple) and layers:
        widths = tuple(check_whole("layers", part, owner=_OWNER) for part in layers)
    else:
        widths = (width,) * min(check_whole("layers", layers, owner=_OWNER), _MOST_LAYERS + 1)
    if len(widths) > _MOST_LAYERS:
        raise ArgumentError(
            f"the 'layers' parameter of {_OWNER} asks for more than {_MOST_LAYERS} layers",
            expected=f"at most {_MOST_LAYERS}",
        )
    return widths
