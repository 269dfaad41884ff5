r"""The integral of a gradient along the straight way from one input to another, cut finer where it bends.

With p(a) = x′ + a (x − x′), what each input gets from a part of the way, from a to b, is

    (x_i − x′_i) ∫ₐᵇ ∂F/∂x_i (p(s)) ds

by Simpson's rule, from both ends and the middle of the part. Over all inputs this must add up to
F(p(b)) − F(p(a)), and F is known wherever its gradient was taken: by how much the sum of a part is wrong is
known, not estimated (of a single input's share it is not). The worst part of each sequence is cut in two, for
two more calls, until the errors of its parts together are small, or the calls are used up. A jump within a
thousandth of the way is found in ten cuts, where a rule for the whole way would need thousands of points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["integrate_gradient"]

_PARTS = 8
# A part whose error is below this share of what is good enough is not looked at again, nor kept apart.
_DONE = 1 / 64


@dataclass(frozen=True, eq=False)
class _Place:
    """A place on the way of a sequence: F there, and what each input gets per length of the way, (T, C)."""

    at: float
    value: float
    slope: Tensor


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of the way of a sequence, what each input gets on it, (T, C), and by how much that is wrong."""

    low: _Place
    middle: _Place
    high: _Place
    found: Tensor
    error: float


def integrate_gradient(
    answer: Callable[[Tensor], Tensor],
    inputs: Tensor,
    baseline: Tensor,
    *,
    share: float,
    calls: int,
) -> tuple[Tensor, Tensor]:
    """Attribute the change of an answer to the inputs.

    Args:
        answer: of N sequences (N, T, C) -> F, (N,); no row may depend on another.
        inputs: x, (N, T, C).
        baseline: x′, (N, T, C).
        share: of the largest change of an answer, by which the attributions of a sequence may miss theirs.
        calls: of `answer` at most, but for the 17 of the coarsest way.

    Returns:
        What each input gets, (N, T, C), and F(x) − F(x′), (N,).

    Example:
        >>> x = torch.tensor([[[1.0], [3.0]]], dtype=torch.float64)
        >>> found, change = integrate_gradient(lambda x: x.prod(dim=1)[:, 0], x, x - 1, share=1e-6, calls=40)
        >>> found.flatten().tolist(), change.tolist()
        ([2.5, 0.5], [3.0])
    """
    rows, away = len(inputs), inputs - baseline
    every = list(range(rows))

    def look(places: list[float]) -> list[_Place]:
        """Look at a place of each sequence; all of them are one call."""
        at = inputs.new_tensor(places)[:, None, None]
        point = (baseline + at * away).requires_grad_(True)
        values = answer(point)
        slope = None
        if values.requires_grad:  # else the answer does not depend on what is read
            (slope,) = torch.autograd.grad(values.sum(), point, allow_unused=True)
        slopes = torch.zeros_like(away) if slope is None else slope * away
        told = values.detach().tolist()
        return [_Place(places[row], told[row], slopes[row]) for row in every]

    along = [look([number / (2 * _PARTS)] * rows) for number in range(2 * _PARTS + 1)]
    change = inputs.new_tensor([along[-1][row].value - along[0][row].value for row in every])
    good = share * float(change.abs().max())
    total = torch.zeros_like(inputs)
    settled = [0.0] * rows
    pending: list[list[_Part]] = [[] for _ in every]

    def keep(row: int, part: _Part) -> None:
        if part.error <= _DONE * good:
            total[row] += part.found
            settled[row] += part.error
        else:
            pending[row].append(part)

    for first, middle, last in zip(along[:-2:2], along[1:-1:2], along[2::2], strict=True):
        for row in every:
            keep(row, _part(first[row], middle[row], last[row]))
    used = len(along)
    while used + 2 <= calls:
        unfinished = [
            row
            for row, parts in enumerate(pending)
            if parts and settled[row] + sum(part.error for part in parts) > good
        ]
        if not unfinished:
            break
        worst = {row: max(pending[row], key=lambda part: part.error) for row in unfinished}
        # A sequence that is finished goes along at its end.
        quarters = {row: (part.low.at + part.middle.at) / 2 for row, part in worst.items()}
        others = {row: (part.middle.at + part.high.at) / 2 for row, part in worst.items()}
        below, above = (look([places.get(row, 1.0) for row in every]) for places in (quarters, others))
        used += 2
        for row, part in worst.items():
            pending[row].remove(part)
            keep(row, _part(part.low, below[row], part.middle))
            keep(row, _part(part.middle, above[row], part.high))
    for row, parts in enumerate(pending):
        for part in parts:
            total[row] += part.found
    return total, change


def _part(low: _Place, middle: _Place, high: _Place) -> _Part:
    found = (high.at - low.at) / 6 * (low.slope + 4 * middle.slope + high.slope)
    return _Part(low, middle, high, found, abs(float(found.sum()) - (high.value - low.value)))
