"""Student's t distribution: three numbers per step, tails as heavy as the data asks for."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import stdtrit
from torch import Tensor

from gatestack.tasks.forecast.distributions.base import (
    LEAST_WIDTH,
    Distribution,
    FloatArray,
    Start,
    location,
    positive,
)

__all__ = ["StudentT"]

# Degrees of freedom: above 2, or the variance is not finite; by 50 the tails are those of a normal one.
_FEWEST, _MOST = 2.1, 50.0
_FIRST = math.sqrt(_FEWEST * _MOST)


class StudentT(Distribution):
    """The parameters are location, width and degrees of freedom, (R, horizon, 3).

    Example:
        >>> StudentT((0.1, 0.5, 0.9)).at(np.array([[3.0, 2.0, 4.0]]), np.array([0.9])).round(3)
        array([6.066])
    """

    name = "student-t"

    @property
    def outputs(self) -> int:
        """Three: of location, width and degrees of freedom."""
        return 3

    def parameters(self, raw: Tensor, start: Start) -> Tensor:
        """Start at the autoregression, with the width that has its mean absolute error."""
        width = start.error / _mean_absolute(_FIRST) * positive(raw[..., 1])
        freedom = _FEWEST * torch.exp(math.log(_MOST / _FEWEST) * torch.sigmoid(raw[..., 2]))
        return torch.stack([location(raw[..., 0], start), width, freedom], dim=-1)

    def loss(self, parameters: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        """Give the negative log likelihood of the truth in units of the series' typical deviation."""
        place, own_width, freedom = parameters.unbind(-1)
        width = own_width * weight + LEAST_WIDTH
        z = (truth - place) * weight / width
        # ln(1 + z²/ν), of which the square would leave float32 for wild values.
        tail = 2 * torch.log(torch.hypot(torch.ones_like(z), z / torch.sqrt(freedom)))
        constant = torch.lgamma(freedom / 2) - torch.lgamma((freedom + 1) / 2)
        constant = constant + 0.5 * torch.log(math.pi * freedom)
        return constant + torch.log(width) + (freedom + 1) / 2 * tail

    def value(self, parameters: FloatArray, *prepared: npt.NDArray[np.generic]) -> FloatArray:
        """Give location + width · quantile of the standard distribution."""
        place, width, freedom = np.moveaxis(parameters, -1, 0)
        values: FloatArray = place + width * stdtrit(freedom, prepared[0].astype(np.float64))
        return values


def _mean_absolute(freedom: float) -> float:
    """Give the mean absolute value of the standard distribution."""
    ratio = math.exp(math.lgamma((freedom - 1) / 2) - math.lgamma(freedom / 2))
    return math.sqrt(freedom / math.pi) * ratio
