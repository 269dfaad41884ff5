"""The negative binomial distribution: counts, also those that are mostly zero."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatestack.tasks.forecast.distributions.base import Distribution, FloatArray, Start

__all__ = ["NegativeBinomial"]

# The first mean is at least this share of the series' unit, the first variance this share above the mean.
_LEAST_MEAN = 0.01
_LEAST_EXCESS = 0.1
_LARGEST_EXPONENT = 10.0
_SHAPES = (1e-6, 1e4)


class NegativeBinomial(Distribution):
    """The parameters are mean μ and shape α, (R, horizon, 2); the variance is μ + α μ².

    Example:
        >>> NegativeBinomial((0.1, 0.5, 0.9)).at(np.array([[3.0, 0.5]]), np.array([0.9]))
        array([7.])
    """

    name = "negative-binomial"
    expected = "whole numbers from 0 on: distribution='negative-binomial' is for counts"

    @property
    def outputs(self) -> int:
        """Two: of mean and shape."""
        return 2

    def parameters(self, raw: Tensor, start: Start) -> Tensor:
        """Start at the autoregression, with the variance of its errors, at least a little above the mean."""
        unit = 1 + start.moments[:, 2:3].clamp(min=0)
        first = torch.maximum(start.level + start.scale * start.base, _LEAST_MEAN * unit)
        variance = math.pi / 2 * start.error**2
        step = (torch.sqrt(variance + first) / first).clamp(max=1.0)
        mean = first * torch.exp(_bounded(step * raw[..., 0]))
        excess = torch.maximum(variance - first, _LEAST_EXCESS * first)
        # Divided twice: the square of a large mean would leave float32.
        shape = excess / first / first * torch.exp(_bounded(raw[..., 1]))
        return torch.stack([mean, shape.clamp(*_SHAPES)], dim=-1)

    def loss(self, parameters: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        """Give the negative log likelihood of the truth, which has no unit: `weight` says what is known only.

        In float64, since the logarithms of factorials of large counts nearly cancel.
        """
        del weight
        # Apple's devices have no float64.
        home = torch.device("cpu") if truth.device.type == "mps" else truth.device
        mean, shape = parameters.to(home, torch.float64).unbind(-1)
        counts, number = truth.to(home, torch.float64), 1 / shape
        factorials = torch.lgamma(number) + torch.lgamma(counts + 1) - torch.lgamma(counts + number)
        powers = number * torch.log1p(shape * mean) + counts * torch.log1p(1 / (shape * mean))
        return (factorials + powers).to(truth)

    def value(self, parameters: FloatArray, *prepared: npt.NDArray[np.generic]) -> FloatArray:
        """Give the smallest counts whose cumulative share reaches the level."""
        # Loaded here: all of scipy.stats takes a second.
        from scipy.stats import nbinom  # type: ignore[attr-defined]  # its names are made at run time

        mean, shape = np.moveaxis(parameters, -1, 0)
        values: FloatArray = nbinom.ppf(prepared[0], 1 / shape, 1 / (1 + shape * mean))
        return values

    def takes(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """Say which values are counts; NaN, a missing value, is welcome."""
        counts: npt.NDArray[np.bool_] = np.isnan(values) | ((values >= 0) & (values == np.floor(values)))
        return counts


def _bounded(exponent: Tensor) -> Tensor:
    return _LARGEST_EXPONENT * torch.tanh(exponent / _LARGEST_EXPONENT)
