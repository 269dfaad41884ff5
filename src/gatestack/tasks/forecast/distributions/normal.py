"""The normal distribution: two numbers per step, light tails."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import ndtri
from torch import Tensor

from gatestack.tasks.forecast.distributions.base import (
    LEAST_WIDTH,
    Distribution,
    FloatArray,
    Start,
    location,
    positive,
)

__all__ = ["Normal"]

# Deviations from which on the loss grows with the logarithm: wild values would decide alone otherwise.
_FAR = 10.0


class Normal(Distribution):
    """The parameters are mean and deviation, (R, horizon, 2).

    Example:
        >>> Normal((0.1, 0.5, 0.9)).at(np.array([[3.0, 2.0]]), np.array([0.5]))
        array([3.])
    """

    name = "normal"

    @property
    def outputs(self) -> int:
        """Two: of the mean and of the deviation."""
        return 2

    def parameters(self, raw: Tensor, start: Start) -> Tensor:
        """Start at the autoregression, with the deviation that has its mean absolute error."""
        deviation = math.sqrt(math.pi / 2) * start.error * positive(raw[..., 1])
        return torch.stack([location(raw[..., 0], start), deviation], dim=-1)

    def loss(self, parameters: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        """Give the negative log likelihood of the truth in units of the series' typical deviation."""
        mean, deviation = parameters.unbind(-1)
        width = deviation * weight + LEAST_WIDTH
        z = (truth - mean) * weight / width
        near = z.clamp(-_FAR, _FAR)
        beyond = torch.log(z.abs().clamp(min=_FAR) / _FAR)
        return near**2 / 2 + _FAR**2 * beyond + torch.log(width) + 0.5 * math.log(2 * math.pi)

    def prepared(self, level: FloatArray) -> tuple[npt.NDArray[np.generic], ...]:
        """Give the quantiles of the standard normal distribution."""
        return (ndtri(level),)

    def value(self, parameters: FloatArray, *prepared: npt.NDArray[np.generic]) -> FloatArray:
        """Give mean + deviation · quantile."""
        values: FloatArray = parameters[..., 0] + parameters[..., 1] * prepared[0].astype(np.float64)
        return values
