"""The masks from counters: the bits of a second reading of the definition, and what random masks must be."""

from __future__ import annotations

import numpy as np
import pytest

from gatestack.reference import MaskKind, kept_units, step_positions

M64, M32 = (1 << 64) - 1, (1 << 32) - 1


def mix(z: int) -> int:
    z = (z + 0x9E3779B97F4A7C15) & M64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
    return z ^ (z >> 31)


def number(seed: int, kind: int, layer: int, direction: int, row: int, step: int, unit: int) -> int:
    """The 32 random bits of one unit, in Python's whole numbers, which do not wrap by themselves."""
    key = mix((mix(seed) + kind + 16 * direction + 256 * layer) & M64)
    bits = mix((mix((key + row) & M64) + step) & M64)
    v = ((bits & M32) + unit * 0x9E3779B1) & M32
    v ^= v >> 16
    v = (v * 0x21F0AAAD) & M32
    v ^= bits >> 32
    v ^= v >> 15
    v = (v * 0xD35A2D97) & M32
    return v ^ (v >> 15)


def steps(rows: int, length: int) -> np.ndarray:
    return np.tile(np.arange(length), (rows, 1))


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
@pytest.mark.parametrize(("layer", "direction"), [(0, 0), (0, 1), (3, 1)])
@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.999])
def test_the_bits_by_whole_numbers(seed: int, layer: int, direction: int, probability: float) -> None:
    place = {"seed": seed, "layer": layer, "direction": direction}
    found = kept_units(MaskKind.CANDIDATE, probability, steps(3, 4), 5, **place)
    for row, step, unit in np.ndindex(3, 4, 5):
        v = number(seed, 2, layer, direction, row, step, unit)
        assert found[row, step, unit] == (v >= int(probability * 2**32))


def test_no_neighbouring_masks_are_related() -> None:
    """Masks whose seeds, kinds, layers, directions, rows, steps or units differ by one agree by chance alone.

    Of n units with p = 1/2, n/2 agree, give or take sqrt(n)/2; six times that is the bound.
    """
    n = 64 * 64 * 16
    places = [
        (1, 0, 0, 0),
        (2, 0, 0, 0),
        (1, 1, 0, 0),
        (1, 0, 1, 0),
        (1, 0, 0, 1),
        (1, 4, 0, 0),
        (1, 0, 2, 1),
    ]
    masks = [
        kept_units(MaskKind(kind), 0.5, steps(64, 64), 16, seed=seed, layer=layer, direction=direction)
        for seed, kind, layer, direction in places
    ]
    pairs = [(a, b) for index, a in enumerate(masks) for b in masks[:index]]
    first = masks[0]
    pairs += [(first[1:], first[:-1]), (first[:, 1:], first[:, :-1]), (first[:, :, 1:], first[:, :, :-1])]
    for a, b in pairs:
        assert abs((a == b).sum() - a.size / 2) < 6 * np.sqrt(n) / 2


@pytest.mark.parametrize("probability", [0.01, 0.1, 0.5, 0.9])
def test_the_share_of_dropped_units(probability: float) -> None:
    """Over all units, for each unit, for each row and for each step, within six standard deviations."""
    dropped = ~kept_units(MaskKind.HIDDEN, probability, steps(128, 64), 64, seed=7)
    for axes in ((0, 1, 2), (0, 1), (1, 2), (0, 2)):
        count = np.prod([dropped.shape[axis] for axis in axes])
        spread = np.sqrt(probability * (1 - probability) / count)
        assert np.abs(dropped.mean(axis=axes) - probability).max() < 6 * spread


def test_a_row_has_its_mask_in_any_batch_and_any_length() -> None:
    whole = kept_units(MaskKind.ZONEOUT_CELL, 0.3, steps(5, 9), 12, seed=3)
    part = kept_units(MaskKind.ZONEOUT_CELL, 0.3, steps(2, 4), 7, seed=3)
    np.testing.assert_array_equal(part, whole[:2, :4, :7])


def test_steps_are_counted_among_the_real_ones() -> None:
    real = np.array([[0, 1, 1, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], dtype=bool)
    np.testing.assert_array_equal(step_positions(real)[real], [0, 1, 2, 0, 1, 2, 3, 4])
