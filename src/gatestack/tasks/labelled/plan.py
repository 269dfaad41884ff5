"""The settings of a fit, and the schedule that follows from the number of cases."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from gatestack.tasks.labelled.options import Architecture, Augmentation
from gatestack.training import Training

__all__ = ["LabelledPlan", "scheduled_steps"]

# Every case is seen this often, within the bounds below: tens of cases need some hundred updates whatever
# their number, and thousands of cases need fewer passes.
_PASSES = 60
_FEWEST_STEPS = 300
_MOST_STEPS = 3000


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
        class_weights: (K,) weight of each class in the loss, above 0; None for 1 each. Classes only.
        label_smoothing: share of each label that is spread over all classes, in [0, 1). Classes only.
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
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)


def scheduled_steps(cases: int, batch_size: int) -> int:
    """Give the number of updates for a number of training cases.

    Example:
        >>> scheduled_steps(50, 32), scheduled_steps(1000, 32), scheduled_steps(10**6, 32)
        (300, 1875, 3000)
    """
    passes = math.ceil(_PASSES * cases / min(batch_size, cases))
    return min(max(passes, _FEWEST_STEPS), _MOST_STEPS)
