"""The random masks of dropout and zoneout: each bit is a function of its place alone.

A mask is not drawn from a stream of random numbers but computed from a counter, so that the same seed gives
the same mask in whatever order, on however many threads, and in the backward pass again; the compiled kernels
compute the same bits (`gatestack_mask` in `native/gatestack.h`). With `mix` the finaliser of SplitMix64, all
in 64 bits that wrap:

    k = mix(mix(seed) + kind + 16·direction + 256·layer)          one key per use
    r = mix(mix(k + row) + step)                                  one word per row and step
    v = scramble(r, unit)                                         32 bits per unit
    kept  iff  v ≥ ⌊p·2³²⌋

The step counts a row's real steps in the order of time, in the reverse direction as well; a mask per sequence
is that of step 0.

Source:
    Steele, Lea & Flood 2014, "Fast Splittable Pseudorandom Number Generators", for `mix`;
    Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3", for drawing by a counter.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["CANDIDATE", "HIDDEN", "INPUT", "ZONEOUT_CELL", "ZONEOUT_HIDDEN", "keep_mask"]

INPUT, HIDDEN, CANDIDATE, ZONEOUT_HIDDEN, ZONEOUT_CELL = range(5)

_LOW = 0xFFFFFFFF


def keep_mask(
    seed: int | Tensor,
    kind: int,
    layer: int,
    direction: int,
    shape: tuple[int, int, int],
    probability: float,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Say which units are kept.

    Args:
        seed: 0 to 2⁶³ − 1, a number or a tensor of one.
        kind: INPUT, HIDDEN, CANDIDATE, ZONEOUT_HIDDEN or ZONEOUT_CELL.
        layer: number of the layer in its stack, from 0.
        direction: 0 or 1.
        shape: rows, steps, units.
        probability: p, that a unit is not kept.
        device: of the result.

    Returns:
        bool, (rows, steps, units).

    Example:
        >>> keep_mask(7, HIDDEN, 0, 0, (1, 1, 8), 0.5).int().tolist()
        [[[0, 0, 0, 0, 1, 1, 0, 0]]]
    """
    rows, steps, units = (torch.arange(size, device=device) for size in shape)
    start = torch.as_tensor(seed, dtype=torch.int64, device=device)
    key = _mix(_mix(start) + (kind + 16 * direction + 256 * layer))
    word = _mix(_mix(key + rows)[:, None] + steps)[:, :, None]  # -> (rows, steps, 1)
    v = (word & _LOW) + units * 0x9E3779B1 & _LOW
    v = (v ^ v >> 16) * 0x21F0AAAD & _LOW
    v = v ^ (word >> 32 & _LOW)
    v = (v ^ v >> 15) * 0xD35A2D97 & _LOW
    v = v ^ v >> 15
    return v >= min(int(probability * 2**32), _LOW)


def _mix(z: Tensor) -> Tensor:
    """Scramble int64, whose sums and products wrap like those of unsigned numbers."""
    z = z + _signed(0x9E3779B97F4A7C15)
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Shift right, filling with zeros; `>>` alone would fill with the sign."""
    return z >> bits & (1 << 64 - bits) - 1


def _signed(value: int) -> int:
    return value - (1 << 64)
