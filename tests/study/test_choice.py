"""The rule that takes a depth, and the search that looks both ways."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from gatestack.errors import ArgumentError
from gatestack.study.choice import DepthRange, choose_depth, wanted_depths

RULE = {"test_share": 0.25, "min_gain": 0.0}


def losses_of(level: float, *, seed: int = 0, noise: float = 0.01) -> npt.NDArray[np.float64]:
    """Draw losses of 5 folds and 2 seeds: the folds differ, the seeds hardly."""
    random = np.random.default_rng((seed, round(1000 * level)))
    folds: npt.NDArray[np.float64] = level + np.linspace(-0.1, 0.1, 5)[:, None]
    return folds + noise * random.normal(size=(5, 2))


def grow(levels: dict[int, float], depths: DepthRange, min_gain: float = 0.0) -> tuple[int, list[int]]:
    """Run the whole search on a made-up truth; give the choice and the depths in the order of looking."""
    losses: dict[int, npt.NDArray[np.float64]] = {}
    order = []
    while wanted := wanted_depths(losses, depths, test_share=0.25, min_gain=min_gain):
        for depth in wanted:
            losses[depth] = losses_of(levels[depth])
            order.append(depth)
    return choose_depth(losses, test_share=0.25, min_gain=min_gain), order


def test_a_third_layer_that_gains_nothing_is_not_taken() -> None:
    chosen, order = grow({0: 3.0, 1: 2.0, 2: 1.0, 3: 1.0, 4: 0.1}, DepthRange(0, 4))
    assert chosen == 2
    assert order == [0, 1, 2, 3]  # the fourth was never looked at


def test_it_grows_while_layers_are_worth_it() -> None:
    chosen, order = grow({0: 5.0, 1: 4.0, 2: 3.0, 3: 2.0, 4: 1.0, 5: 1.0, 6: 0.0}, DepthRange(0, 6))
    assert chosen == 4
    assert order == [0, 1, 2, 3, 4, 5]


def test_it_looks_down_from_a_deep_start() -> None:
    levels = dict.fromkeys(range(1, 7), 1.0) | {0: 3.0, 1: 2.0}
    chosen, order = grow(levels, DepthRange(0, 6, start=5))
    assert chosen == 2
    assert order[:4] == [0, 4, 5, 6]
    assert set(order) == set(range(7))


def test_noise_is_answered_by_no_layer() -> None:
    assert grow({0: 1.0, 1: 1.001, 2: 1.002, 3: 1.001, 4: 1.0}, DepthRange(0, 4))[0] == 0


def test_without_zero_the_smallest_depth_is_one() -> None:
    chosen, order = grow({0: 0.0, 1: 1.0, 2: 1.0, 3: 1.0}, DepthRange(1, 3))
    assert (chosen, order) == (1, [1, 2, 3])


def test_a_gain_below_the_users_minimum_is_not_worth_it() -> None:
    levels = {0: 3.0, 1: 1.2, 2: 1.0, 3: 1.0}
    assert grow(levels, DepthRange(0, 3))[0] == 2
    assert grow(levels, DepthRange(0, 3), min_gain=0.5)[0] == 1


def test_the_minimum_gain_is_charged_for_each_layer() -> None:
    levels = {0: 3.0, 1: 1.2, 2: 1.12, 3: 1.04, 4: 0.96}
    assert grow(levels, DepthRange(0, 4)) == (4, [0, 1, 2, 3, 4])
    # Three layers gain 0.24 over one, more than 0.1, but 0.08 each: less.
    assert grow(levels, DepthRange(0, 4), min_gain=0.1) == (1, [0, 1, 2, 3])
    assert grow(levels, DepthRange(0, 4), min_gain=0.06)[0] == 4


def test_a_gain_within_one_standard_error_is_not_taken() -> None:
    one = losses_of(1.0, noise=0.0)
    jagged = one + np.array([[0.5], [-0.5], [0.5], [-0.5], [-0.1]])  # better on average, by chance
    assert jagged.mean() < one.mean()
    assert choose_depth({1: one, 2: jagged}, **RULE) == 1


def test_the_search_does_not_depend_on_the_order_of_the_results() -> None:
    losses = {depth: losses_of(level) for depth, level in {0: 3.0, 1: 2.0, 2: 1.0, 3: 0.5}.items()}
    shuffled = {depth: losses[depth] for depth in (3, 0, 2, 1)}
    depths = DepthRange(0, 5)
    assert wanted_depths(losses, depths, **RULE) == wanted_depths(shuffled, depths, **RULE) == (4,)
    assert choose_depth(losses, **RULE) == choose_depth(shuffled, **RULE)


@pytest.mark.parametrize("text", ["", "3", "4-1", "-4", "0-65", "a-b", "0-0"])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError):
        DepthRange.parse(text)


def test_the_start_is_moved_into_the_range() -> None:
    assert (DepthRange(3, 5).start, DepthRange(0, 1).start, DepthRange(0, 4).start) == (3, 1, 2)
