"""The trailing scale against a plain computation at each step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gatestack.tasks.forecast.scaling import LEVELS, MOMENTS, TrailingScale, series_scale

LEVEL = MOMENTS.index("level")


def plain(values: np.ndarray, observed: np.ndarray, window: int) -> np.ndarray:
    """The moments at each step, straight from the definition."""
    found = np.empty((len(values), len(MOMENTS)))
    for step in range(len(values)):
        seen = values[: step + 1][observed[: step + 1]]
        near = values[max(0, step + 1 - window) : step + 1][observed[max(0, step + 1 - window) : step + 1]]
        if not len(seen):
            found[step] = 0.0, 1.0, 0.0, 1.0
            continue
        long_level = seen.mean()
        long_scale = np.sqrt(seen.var() + (1e-5 * long_level) ** 2)
        level = near.mean() if len(near) else long_level
        variance = near.var() if len(near) else long_scale**2
        scale = np.sqrt(variance + (0.05 * long_scale) ** 2 + (1e-5 * level) ** 2)
        found[step] = level, scale, long_level, long_scale
    return found


@pytest.mark.parametrize("offset", [0.0, 1e8, -3e6])
@pytest.mark.parametrize("missing", [False, True])
def test_level_and_scale_equal_the_definition_at_each_step(offset: float, missing: bool) -> None:
    random = np.random.default_rng(1)
    values = offset + np.cumsum(random.normal(size=120)) + np.where(np.arange(120) > 60, 50.0, 0.0)
    observed = np.ones(120, dtype=bool)
    if missing:
        observed = random.random(120) > 0.3
        observed[:3] = False
        observed[70:90] = False  # longer than the window
    found = TrailingScale(1, 7).advance(values[None], observed[None])[0]
    wanted = plain(values, observed, 7)
    # Before the second value a series has no deviation, and what stands in for it is far below any rounding.
    np.testing.assert_allclose(found[5:], wanted[5:], rtol=1e-5)
    np.testing.assert_allclose(found[:5, LEVELS], wanted[:5, LEVELS], rtol=1e-6)


@pytest.mark.parametrize("sizes", [[1] * 40, [7, 1, 20, 12], [3, 37]])
def test_pieces_give_what_the_whole_gives(sizes: list[int]) -> None:
    random = np.random.default_rng(2)
    values, observed = random.normal(size=(3, 40)), random.random((3, 40)) > 0.2
    whole = TrailingScale(3, 6).advance(values, observed)
    pieces = TrailingScale(3, 6)
    parts, first = [], 0
    for size in sizes:
        here = slice(first, first + size)
        parts.append(pieces.advance(values[:, here], observed[:, here]))
        first += size
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-6)


def test_nothing_later_moves_a_bit_of_what_came_before() -> None:
    values = np.random.default_rng(3).normal(size=(1, 50)) * 1e3
    observed = np.ones((1, 50), dtype=bool)
    before = TrailingScale(1, 8).advance(values, observed)
    changed = np.concatenate([values[:, :30], values[:, 30:] * 1e6], axis=1)
    assert np.array_equal(TrailingScale(1, 8).advance(changed, observed)[:, :30], before[:, :30])


def test_a_series_far_from_its_first_value_loses_no_digits() -> None:
    # A counter that has risen by 1e7 and now moves by hundredths.
    random = np.random.default_rng(4)
    values = np.concatenate([[0.0], 1e7 + np.cumsum(random.normal(size=5000)) * 0.01])
    observed = np.ones(len(values), dtype=bool)
    scale = TrailingScale(1, 9)
    found = np.concatenate(
        [scale.advance(part[None], np.ones((1, len(part)), dtype=bool)) for part in np.split(values, [100])],
        axis=1,
    )[0]
    wanted = plain(values, observed, 9)
    np.testing.assert_allclose(found[200:, LEVEL], wanted[200:, LEVEL], rtol=1e-6)


def test_rows_are_kept_apart_when_taken_and_joined() -> None:
    values = np.arange(12.0).reshape(3, 4)
    observed = np.ones((3, 4), dtype=bool)
    scale = TrailingScale(3, 2)
    scale.advance(values, observed)
    swapped = TrailingScale.join([scale.take(np.array([2])), scale.take(np.array([0, 0]))])
    more = np.full((3, 1), 5.0)
    seen = np.ones((3, 1), dtype=bool)
    taken, whole = swapped.advance(more, seen), scale.advance(more, seen)
    assert np.array_equal(taken, whole[[2, 0, 0]])


def test_the_scale_of_a_series_is_its_deviation() -> None:
    found = series_scale(np.array([1.0, 3.0, 99.0]), np.array([True, True, False]))
    assert found.level[0] == 2.0
    assert found.scale[0] == pytest.approx(1.0)
    moments = found.advance(np.zeros((1, 2)), np.zeros((1, 2), dtype=bool))
    np.testing.assert_allclose(moments, [[[2, 1, 2, 1]] * 2])


@pytest.mark.parametrize("window", [1, 7, 48])
def test_pieces_of_any_size_give_the_same_bits(window: int) -> None:
    random = np.random.default_rng(window)
    values = (1e3 + 50 * random.normal(size=(2, 600)).cumsum(axis=1)).astype(np.float32)
    observed = random.random((2, 600)) < 0.8
    whole = TrailingScale(2, window)
    moments = whole.advance(values, observed)
    cuts = sorted({0, *random.integers(1, 590, 20).tolist(), *range(590, 601)})
    pieces = TrailingScale(2, window)
    parts = [
        pieces.advance(values[:, begin:end], observed[:, begin:end])
        for begin, end in itertools.pairwise(cuts)
    ]
    assert (np.concatenate(parts, axis=1) == moments).all()
    assert all((array == whole.state()[name]).all() for name, array in pieces.state().items())
