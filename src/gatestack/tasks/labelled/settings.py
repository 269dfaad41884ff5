"""The parameters of a classifier or regressor, checked, as the plan of a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from gatestack.errors import ArgumentError, check_share, check_whole
from gatestack.tasks.choices import check_instance
from gatestack.tasks.labelled.options import Architecture, Augmentation
from gatestack.tasks.labelled.plan import LabelledPlan
from gatestack.training import Training

__all__ = ["plan_of"]

_MOST_LAYERS = 64
_LARGEST_SEED = 2**63 - 1  # what the random numbers of torch take
_MOST_MEMBERS = 1000


def plan_of(
    parameters: Mapping[str, Any],
    *,
    task: Literal["classify", "regress"],
    outputs: int,
    class_weights: tuple[float, ...] | Literal["balanced"] | None = None,
    owner: str,
) -> LabelledPlan:
    """Check every parameter against its range.

    Args:
        parameters: the arguments of the constructor, by name.
        task: of the estimator.
        outputs: number of classes, or 1.
        class_weights: (outputs,), `"balanced"`, or None.
        owner: name of the estimator, for messages.

    Raises:
        ArgumentError: names the argument, its value, and what is expected.
    """
    if parameters["max_steps"] is not None:
        check_whole("max_steps", parameters["max_steps"], owner=owner)
    members = check_whole("members", parameters["members"], owner=owner)
    seed = check_whole("seed", parameters["seed"], owner=owner, least=0)
    if members > _MOST_MEMBERS:
        raise ArgumentError(
            f"the 'members' parameter of {owner} is {members}", expected=f"at most {_MOST_MEMBERS}"
        )
    if seed + members - 1 > _LARGEST_SEED:
        raise ArgumentError(
            f"the 'seed' parameter of {owner} is {seed}", expected=f"a whole number up to {_LARGEST_SEED}"
        )
    return LabelledPlan(
        task=task,
        outputs=outputs,
        widths=_widths(parameters["layers"], parameters["hidden_size"], owner),
        architecture=check_instance("architecture", parameters["architecture"], Architecture, owner=owner),
        training=check_instance("training", parameters["training"], Training, owner=owner),
        augmentation=check_instance("augmentation", parameters["augmentation"], Augmentation, owner=owner),
        max_steps=None if parameters["max_steps"] is None else int(parameters["max_steps"]),
        seeds=tuple(range(seed, seed + members)),
        class_weights=class_weights,
        label_smoothing=check_share("label_smoothing", parameters.get("label_smoothing", 0.0), owner=owner),
    )


def _widths(layers: object, hidden_size: object, owner: str) -> tuple[int, ...]:
    width = check_whole("hidden_size", hidden_size, owner=owner)
    if isinstance(layers, str) and layers == "auto":
        return (width,)  # until a study of the training data takes its place
    if isinstance(layers, int | np.integer) and not isinstance(layers, bool):
        widths = (width,) * min(check_whole("layers", layers, owner=owner), _MOST_LAYERS + 1)
    elif isinstance(layers, Sequence) and not isinstance(layers, str) and len(layers):
        widths = tuple(check_whole("layers", part, owner=owner) for part in layers)
    else:
        raise ArgumentError(
            f"the 'layers' parameter of {owner} is {layers!r}",
            expected="a number of layers, 1 or more, a list of widths, or 'auto'",
        )
    if len(widths) > _MOST_LAYERS:
        raise ArgumentError(
            f"the 'layers' parameter of {owner} asks for more than {_MOST_LAYERS} layers",
            expected=f"at most {_MOST_LAYERS}",
        )
    return widths
