"""Which depth to look at next, and which one to take.

A deeper network is **worth it** where its loss is lower than that of the shallower one by more than one
standard error of the paired difference, and by more than its layers cost. The cost of a layer is the user's
minimum gain, a price in the unit of the measure: three layers that gain no more than three minimum gains over
none are not worth it. The best depth is the one with the lowest loss, its price included. Taken is the
smallest depth that the best one does not improve on by enough: the one-standard-error rule, on paired
differences.

Seconds and milliseconds are no part of the rule: they differ between the machines that share a study.

The search grows one layer at a time in both directions. It starts with baselines, the first depth, and its
two neighbours; goes up while the deepest network is worth it, and down while the shallowest one is as good as
the best.

Source:
    Breiman, Friedman, Olshen & Stone 1984, "Classification and Regression Trees" (the one-standard-error
    rule).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatestack.errors import ArgumentError, check_whole
from gatestack.study.comparison import compare_paired

__all__ = ["DepthRange", "choose_depth", "wanted_depths", "worth_it"]

FloatArray = npt.NDArray[np.float64]

_MOST_LAYERS = 64


@dataclass(frozen=True)
class DepthRange:
    """Which depths a study may look at.

    Args:
        least: the smallest depth; 0 stands for the baselines and a model without recurrence.
        most: the largest one, 1 to 64.
        start: where the search begins; a depth outside the range is moved to its end.

    Raises:
        ArgumentError: no such range.

    Example:
        >>> DepthRange.parse("0-4")
        DepthRange(least=0, most=4, start=2)
    """

    least: int = 0
    most: int = 4
    start: int = 2

    def __post_init__(self) -> None:
        check_whole("least", self.least, owner="DepthRange", least=0)
        check_whole("most", self.most, owner="DepthRange", least=0)
        check_whole("start", self.start, owner="DepthRange")
        if self.least > self.most or not 1 <= self.most <= _MOST_LAYERS:
            raise ArgumentError(
                f"the depths go from {self.least} to {self.most}",
                where="layers",
                expected=f"the smaller number first, and at most {_MOST_LAYERS}; one network or more",
            )
        object.__setattr__(self, "start", min(max(self.start, self.least, 1), self.most))

    @classmethod
    def parse(cls, text: str) -> DepthRange:
        """Read a range such as `"0-4"`.

        Raises:
            ArgumentError: the text is no range.
        """
        least, dash, most = text.partition("-") if isinstance(text, str) else ("", "", "")
        if not (dash and least.strip().isdecimal() and most.strip().isdecimal()):
            raise ArgumentError(f"{text!r}", where="layers", expected="a range of depths such as 0-4")
        return cls(int(least), int(most))


def worth_it(
    shallow: FloatArray, deep: FloatArray, *, added: int = 1, test_share: float, min_gain: float
) -> bool:
    """Tell whether the loss of `deep` is lower by more than one standard error and the price of its layers.

    Args:
        shallow: (folds, seeds) losses.
        deep: (folds, seeds) losses.
        added: layers that `deep` has more, 1 or more.
        test_share: cases tested / cases trained.
        min_gain: what a layer must gain, in the unit of the losses, 0 or more.

    Example:
        >>> losses = np.linspace(1.0, 1.2, 6)[:, None]
        >>> worth_it(losses, losses - 0.1, test_share=0.2, min_gain=0.06)
        True
        >>> worth_it(losses, losses - 0.1, added=2, test_share=0.2, min_gain=0.06)
        False
    """
    found = compare_paired(shallow, deep, test_share=test_share)
    return found.mean > max(found.error, added * min_gain)


def choose_depth(losses: Mapping[int, FloatArray], *, test_share: float, min_gain: float) -> int:
    """Give the smallest depth that the best one does not improve on enough to be worth it.

    Args:
        losses: depth → (folds, seeds) losses; one depth or more.
        test_share: cases tested / cases trained.
        min_gain: what a layer must gain, in the unit of the losses, 0 or more.

    Example:
        >>> folds = np.linspace(1.0, 1.2, 6)[:, None]
        >>> depths = {1: folds, 2: folds - 0.2, 3: folds - 0.25}
        >>> [choose_depth(depths, test_share=0.2, min_gain=price) for price in (0.0, 0.1, 0.3)]
        [3, 2, 1]
    """
    best = _best(losses, min_gain)
    return min(
        depth
        for depth in losses
        if depth >= best
        or not worth_it(
            losses[depth], losses[best], added=best - depth, test_share=test_share, min_gain=min_gain
        )
    )


def wanted_depths(
    losses: Mapping[int, FloatArray], depths: DepthRange, *, test_share: float, min_gain: float
) -> tuple[int, ...]:
    """Give the depths that must be looked at next; none when the search is over.

    What is given depends on the losses alone, so that any number of workers grow the same study.

    Args:
        losses: depth → (folds, seeds) losses of the depths that are done.
        depths: what may be looked at.
        test_share: cases tested / cases trained.
        min_gain: what a layer must gain, in the unit of the losses, 0 or more.

    Example:
        >>> wanted_depths({}, DepthRange(0, 4), test_share=0.2, min_gain=0.0)
        (0, 1, 2, 3)
    """
    first = {0, depths.start - 1, depths.start, depths.start + 1}
    wanted = [depth for depth in sorted(first) if depths.least <= depth <= depths.most]
    if missing := tuple(depth for depth in wanted if depth not in losses):
        return missing
    networks = {depth: losses[depth] for depth in sorted(losses) if depth > 0}
    lowest, highest = min(networks), max(networks)

    def better(shallow: int, deep: int) -> bool:
        return worth_it(
            losses[shallow],
            losses[deep],
            added=deep - shallow,
            test_share=test_share,
            min_gain=min_gain,
        )

    found = []
    best = _best(networks, min_gain)
    if lowest - 1 >= max(depths.least, 1) and not (best != lowest and better(lowest, best)):
        found.append(lowest - 1)
    if highest + 1 <= depths.most:
        shallower = {depth: losses[depth] for depth in networks if depth < highest}
        if not shallower or better(_best(shallower, min_gain), highest):
            found.append(highest + 1)
    return tuple(found)


def _best(losses: Mapping[int, FloatArray], min_gain: float) -> int:
    """Give the depth with the lowest mean loss, its price included; of two that are alike, the smaller."""
    return min(sorted(losses), key=lambda depth: float(losses[depth].mean()) + min_gain * depth)
