"""A quantile function of learned pieces, scored by its CRPS: any shape, and every level from one fit."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import ndtri
from torch import Tensor

from gatestack.tasks.forecast.distributions.base import (
    Distribution,
    FloatArray,
    Start,
    location,
    softplus_from,
)

__all__ = ["FIRST_SLOPES", "FIRST_WIDTHS", "PIECES", "Spline"]

# Where the pieces begin before training; the outer ones end at three deviations.
_FIRST_KNOTS = np.array([0.0, 0.01, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 0.99, 1.0])
FIRST_WIDTHS = np.diff(_FIRST_KNOTS)
FIRST_SLOPES = np.diff(np.concatenate([[-3.0], ndtri(_FIRST_KNOTS[1:-1]), [3.0]])) / FIRST_WIDTHS
PIECES = len(FIRST_WIDTHS)
_TINY = 1e-30


class Spline(Distribution):
    """The parameters are the value at level 0, the slopes and the widths of the pieces, (R, horizon, 21).

    Example:
        >>> line = np.concatenate([[2.0], np.full(10, 4.0), np.full(10, 0.1)])
        >>> Spline((0.1, 0.5, 0.9)).at(line[None], np.array([0.25]))
        array([3.])
    """

    name = "spline"

    @property
    def outputs(self) -> int:
        """The median, a slope per piece, a width per piece."""
        return 1 + 2 * PIECES

    def parameters(self, raw: Tensor, start: Start) -> Tensor:
        """Start as a normal distribution around the autoregression, with its mean absolute error."""
        slope = softplus_from(raw[..., 1 : 1 + PIECES], 1.0) * raw.new_tensor(FIRST_SLOPES)
        slope = math.sqrt(math.pi / 2) * start.error[..., None] * slope
        width = torch.softmax(raw[..., 1 + PIECES :] + raw.new_tensor(np.log(FIRST_WIDTHS)), dim=-1)
        first = location(raw[..., 0], start) - _rise_to_median(slope, width)
        return torch.cat([first[..., None], slope, width], dim=-1)

    def loss(self, parameters: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        """Give the continuous ranked probability score in units of the series' typical deviation."""
        first, slope, width = torch.split(parameters, [1, PIECES, PIECES], dim=-1)
        begin = _begins(width)
        above = truth[..., None] - first
        # The score does not change with F where s(F) is the truth or F is 0 or 1, so F needs no gradient.
        with torch.no_grad():
            height = slope * width
            share = (above - _begins(height)) / height.clamp(min=_TINY)
            level = (width * share.clamp(0.0, 1.0)).sum(dim=-1, keepdim=True)
        bend = torch.diff(slope, dim=-1, prepend=torch.zeros_like(slope[..., :1]))
        reached = torch.maximum(level, begin)
        terms = (1 - begin**3) / 3 - begin - reached**2 + 2 * reached * begin
        score = (2 * level - 1) * above + (bend * terms).sum(dim=-1, keepdim=True)
        return score[..., 0] * weight

    def centre(self, parameters: Tensor) -> Tensor:
        """Give the median."""
        first, slope, width = torch.split(parameters, [1, PIECES, PIECES], dim=-1)
        return first[..., 0] + _rise_to_median(slope, width)

    def value(self, parameters: FloatArray, *prepared: npt.NDArray[np.generic]) -> FloatArray:
        """Read values off the quantile function."""
        first, slope, width = np.split(parameters, [1, 1 + PIECES], axis=-1)
        begin = np.cumsum(width, axis=-1) - width
        along = np.clip(prepared[0].astype(np.float64)[..., None] - begin, 0.0, width)
        values: FloatArray = first[..., 0] + (slope * along).sum(axis=-1)
        return values


def _rise_to_median(slope: Tensor, width: Tensor) -> Tensor:
    """Give how far the quantile function rises from level 0 to level ½."""
    below = (0.5 - _begins(width)).clamp(min=0.0)
    return (slope * torch.minimum(below, width)).sum(dim=-1)


def _begins(parts: Tensor) -> Tensor:
    """Give where each of some parts begins that lie one after the other, from 0 on."""
    return torch.cumsum(parts, dim=-1) - parts
