"""The settings of a fit, and the schedule that follows from the number of cases."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from gatestack.tasks.labelled.options import Architecture, Augmentation
from gatestack.training import Training

__all__ = ["LabelledPlan", "recipe_training", "scheduled_steps"]


@dataclass(frozen=True)
class _Schedule:
    """What a recipe trains with where the user left it open: every case is drawn `passes` times."""

    learning_rate: float
    passes: int
    fewest: int
    most: int


# Chosen by cross-validation on training parts: benchmarks/results/ucr_recipe.md.
_SCHEDULES = {
    "kernels": _Schedule(1e-3, 25, 10, 2000),
    "lstm-fcn": _Schedule(2e-3, 60, 300, 3000),
    "plain": _Schedule(3e-3, 60, 300, 3000),
}
_POINTS_OF_CURVE = 20  # of the learning curve, at least, where there are as many updates


@dataclass(frozen=True, kw_only=True)
class LabelledPlan:
    """The settings of a fit, checked by the estimator.

    Args:
        task: `"classify"` or `"regress"`.
        outputs: K, classes (2 or more) or targets (1 or more).
        widths: width of each recurrent layer, lowest first.
        architecture: of the network.
        training: batch size, learning rate (None: that of the recipe), weight decay, …; nothing is held out,
            so that its patience has no effect.
        max_steps: updates of the weights; None for `scheduled_steps`.
        seeds: one network is trained for each, 0 or more.
        class_weights: (K,) weight of each class in the loss, above 0; `"balanced"` for n / (K · cases of the
            class), of the cases that are fitted; None for 1 each. Classes only.
        label_smoothing: share of each label that is spread over all classes, in [0, 1). The recipe "kernels"
            spreads at least K / (n + K), as its linear part does. Classes only.
        augmentation: of the training cases.

    Example:
        >>> plan = LabelledPlan(task="classify", outputs=3, widths=(32,))
        >>> plan.seeds, plan.architecture.cell
        ((0,), 'lstm')
    """

    task: Literal["classify", "regress"]
    outputs: int
    widths: tuple[int, ...]
    architecture: Architecture = field(default_factory=Architecture)
    training: Training = field(default_factory=Training)
    max_steps: int | None = None
    seeds: tuple[int, ...] = (0,)
    class_weights: tuple[float, ...] | Literal["balanced"] | None = None
    label_smoothing: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)


def scheduled_steps(plan: LabelledPlan, cases: int) -> int:
    """Give the number of updates for a number of training cases, where the plan leaves it open.

    Example:
        >>> plan = LabelledPlan(task="classify", outputs=3, widths=(32,))
        >>> scheduled_steps(plan, 50) < scheduled_steps(plan, 1000)
        True
    """
    schedule = _SCHEDULES[plan.architecture.recipe]
    steps = math.ceil(schedule.passes * cases / min(plan.training.batch_size, cases))
    return min(max(steps, schedule.fewest), schedule.most)


def recipe_training(plan: LabelledPlan, steps: int) -> Training:
    """Give the plan's training, with what the recipe and the number of updates decide where it is open.

    Args:
        plan: the settings.
        steps: updates of the weights.

    Example:
        >>> plan = LabelledPlan(task="classify", outputs=3, widths=(32,))
        >>> plan.training.learning_rate, recipe_training(plan, 80).learning_rate
        (None, 0.001)
    """
    training = plan.training
    found: dict[str, object] = {}
    if training.learning_rate is None:
        found["learning_rate"] = _SCHEDULES[plan.architecture.recipe].learning_rate
    if "validate_every" not in training.model_fields_set:
        # Nothing is validated: it says how often the loss is noted. Small problems have few updates.
        found["validate_every"] = max(1, min(training.validate_every, steps // _POINTS_OF_CURVE))
    return training.model_copy(update=found)
