"""Which units dropout and zoneout keep: random numbers from a counter, so that a mask is a function.

The mask of a unit follows from the seed and its place alone. Nothing is stored between the forward and the
backward pass, a row has the same masks in any batch, and every implementation draws the same bits.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]


class MaskKind(IntEnum):
    """What a mask is for; masks of different kinds are independent.

    Example:
        >>> int(MaskKind.ZONEOUT_CELL)
        4
    """

    INPUT = 0
    HIDDEN = 1
    CANDIDATE = 2
    ZONEOUT_HIDDEN = 3
    ZONEOUT_CELL = 4


def kept_units(
    kind: MaskKind,
    probability: float,
    positions: NDArray[np.int64],
    units: int,
    *,
    seed: int,
    layer: int = 0,
    direction: int = 0,
) -> NDArray[np.bool_]:
    """Draw a mask: True where a unit is kept, False (with the given probability) where it is dropped.

        k = mix(mix(seed) + kind + 16 direction + 256 layer)
        q = mix(mix(k + row) + position)        a, b = the low and the high 32 bits of q
        v = scramble(a + unit * 0x9E3779B1, b)  kept where v >= floor(probability * 2^32)

    `mix` works on 64 bits and `scramble` on 32; both turn neighbouring counters into unlike bits.

    Args:
        kind: what the mask is for.
        probability: of a unit to be dropped, in [0, 1).
        positions: (N, T), for each step its number among the real steps of its row, from `step_positions`.
            A mask that stays the same over a sequence is the one of position 0: zeros (N, 1).
        units: U, the width of the mask.
        seed: whole number in [0, 2^63).
        layer: counted from 0 at the bottom.
        direction: 0, or 1 for the reverse direction. Masks of the input are those of direction 0 in both.

    Returns:
        A mask (N, T, U) of bool.

    Example:
        >>> import numpy as np
        >>> kept_units(MaskKind.HIDDEN, 0.5, np.zeros((2, 1), dtype=np.int64), 8, seed=1)[:, 0].astype(int)
        array([[0, 0, 1, 0, 1, 1, 0, 0],
               [1, 1, 0, 1, 1, 0, 1, 1]])

    Source:
        mix: SplitMix64; Steele, Lea & Flood 2014, "Fast Splittable Pseudorandom Number Generators".
        scramble: the multipliers of the 32-bit mixer of Wellons, "Prospecting for Hash Functions" (2018).
        Random numbers from counters: Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3".
    """
    rows = np.arange(positions.shape[0], dtype=np.uint64)
    with np.errstate(over="ignore"):  # the arithmetic is meant to wrap
        key = _mix(_mix(np.array([seed], dtype=np.uint64)) + np.uint64(kind + 16 * direction + 256 * layer))
        bits = _mix(_mix(key + rows)[:, None] + positions.astype(np.uint64))  # -> (N, T)
        low = (bits & np.uint64(0xFFFFFFFF)).astype(np.uint32)[:, :, None]
        high = (bits >> np.uint64(32)).astype(np.uint32)[:, :, None]
        v = low + np.arange(units, dtype=np.uint32) * np.uint32(0x9E3779B1)  # -> (N, T, U)
        v ^= v >> np.uint32(16)
        v *= np.uint32(0x21F0AAAD)
        v ^= high
        v ^= v >> np.uint32(15)
        v *= np.uint32(0xD35A2D97)
        v ^= v >> np.uint32(15)
    kept: NDArray[np.bool_] = v >= np.uint32(min(int(probability * 2**32), 2**32 - 1))
    return kept


def step_positions(real: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number the real steps of each row, in the order of time.

    A row with gaps so has the masks of the same row without its gaps. The numbers of steps that are not
    real mean nothing.

    Args:
        real: (N, T), True where a step is real.

    Returns:
        (N, T) of int64.

    Example:
        >>> import numpy as np
        >>> step_positions(np.array([[False, True, False, True]]))
        array([[0, 0, 0, 1]])
    """
    positions: NDArray[np.int64] = np.maximum(real.cumsum(axis=1, dtype=np.int64) - 1, 0)
    return positions


def _mix(z: Bits) -> Bits:
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
