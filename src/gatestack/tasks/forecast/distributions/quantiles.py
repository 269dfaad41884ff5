"""Quantiles at the levels that are asked for, linear between them, with the pinball loss."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatestack.tasks.forecast.distributions.base import Distribution, FloatArray, Start, softplus_from

__all__ = ["FIRST_GAP", "Quantiles", "places_of_levels"]

FIRST_GAP = 0.6
"""Distance between neighbouring quantiles before training, in units of the autoregression's error."""


class Quantiles(Distribution):
    """The parameters are the quantiles themselves, (R, horizon, quantiles), ascending.

    Example:
        >>> Quantiles((0.1, 0.5, 0.9)).at(np.array([[1.0, 2.0, 4.0]]), np.array([0.7]))
        array([3.])
    """

    name = "quantiles"

    @property
    def outputs(self) -> int:
        """One per quantile."""
        return len(self.levels)

    def parameters(self, raw: Tensor, start: Start) -> Tensor:
        """Make quantiles that cannot cross: the median, then sums of positive gaps to both sides."""
        # The gaps above the median come first, outwards, then those below it.
        gaps = start.spread[:, None] * softplus_from(raw[..., 1:], FIRST_GAP)
        half = gaps.shape[-1] // 2
        median = start.base[..., None] + start.spread[:, None] * raw[..., :1]
        above = median + torch.cumsum(gaps[..., :half], dim=-1)
        below = median - torch.cumsum(gaps[..., half:], dim=-1)
        ascending = torch.cat([below.flip(-1), median, above], dim=-1)
        return start.level[..., None] + start.scale[..., None] * ascending

    def loss(self, parameters: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        """Give the mean pinball loss over the quantiles."""
        levels = torch.tensor(self.levels, device=truth.device)
        error = truth[..., None] - parameters
        return torch.maximum(levels * error, (levels - 1) * error).mean(dim=-1) * weight

    def quantiles(self, parameters: Tensor) -> FloatArray:
        """Give the parameters as they are."""
        return parameters.numpy().astype(np.float64)

    def centre(self, parameters: Tensor) -> Tensor:
        """Give the quantile in the middle."""
        return parameters[..., len(self.levels) // 2]

    def prepared(self, level: FloatArray) -> tuple[npt.NDArray[np.generic], ...]:
        """Give the piece of the quantile function of each level, and the share of the way along it."""
        return places_of_levels(self.levels, level)

    def value(self, parameters: FloatArray, *prepared: npt.NDArray[np.generic]) -> FloatArray:
        """Read values off the piecewise linear quantile function."""
        piece, share = prepared
        shape = np.broadcast_shapes(parameters.shape[:-1], piece.shape)
        whole = np.broadcast_to(parameters, (*shape, parameters.shape[-1]))
        place = np.broadcast_to(piece, shape)[..., None].astype(np.int64)
        low, high = (np.take_along_axis(whole, place + end, axis=-1)[..., 0] for end in (0, 1))
        values: FloatArray = low + share.astype(np.float64) * (high - low)
        return values


def places_of_levels(
    levels: tuple[float, ...], wanted: FloatArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Find where levels lie on the piecewise linear quantile function.

    Args:
        levels: of the quantiles, three or more.
        wanted: of any shape, in [0, 1).

    Returns:
        Which quantile is the lower end of the piece, and the share of the way to the next one: below 0 or
        above 1 on the outer pieces, which go on beyond their ends.

    Example:
        >>> places_of_levels((0.1, 0.5, 0.9), np.array([0.2, 1.0]))
        (array([0, 1]), array([0.25, 1.25]))
    """
    edges = np.array(levels)
    piece = np.clip(np.searchsorted(edges, wanted) - 1, 0, len(edges) - 2)
    return piece, (wanted - edges[piece]) / (edges[piece + 1] - edges[piece])
