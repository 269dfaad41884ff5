"""What a network reads of a batch: values in common units, gaps bridged and flagged, padding at zero."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

__all__ = [
    "GRID",
    "SMALLEST_DEVIATION",
    "InputScaling",
    "bridged",
    "differences",
    "length_batches",
    "real_steps",
]

# Padded steps of a batch without gradients: what 84 kernels make of them then stays near the cache.
_STEPS_AT_ONCE = 1 << 14

# Of a feature's deviation in the training part. A series that varies less is taken for constant: in units of
# its own deviation it would be rounding noise, blown up.
SMALLEST_DEVIATION = 1e-6

GRID = 2.0**20
"""Values in units of their own series are rounded to a whole number of 1 / GRID."""


def real_steps(x: Tensor, lengths: Tensor) -> Tensor:
    """Say which steps of x (N, T, ...) are real -> bool (N, T)."""
    return torch.arange(x.shape[1], device=x.device) < lengths.to(x.device)[:, None]


def bridged(x: Tensor, observed: Tensor) -> Tensor:
    """Fill gaps by the straight line between the neighbours in time, by the nearest one at an end.

    Args:
        x: (N, T, C), anything where `observed` is False.
        observed: (N, T, C) bool.

    Returns:
        (N, T, C); zero in a row and feature without any observation.

    Example:
        >>> x = torch.tensor([[1.0, float("nan"), float("nan"), 4.0, float("nan")]])[..., None]
        >>> bridged(x, ~x.isnan())[0, :, 0]
        tensor([1., 2., 3., 4., 4.])
    """
    if observed.all():
        return x
    steps = x.shape[1]
    place = torch.arange(steps, device=x.device)[None, :, None].expand_as(x)
    before = place.masked_fill(~observed, -1).cummax(dim=1).values
    after = place.masked_fill(~observed, steps).flip(1).cummin(dim=1).values.flip(1)
    has_before, has_after = before >= 0, after < steps
    before, after = before.clamp(min=0), after.clamp(max=steps - 1)
    clean = x.masked_fill(~observed, 0.0)
    left, right = clean.gather(1, before), clean.gather(1, after)
    share = (place - before) / (after - before).clamp(min=1)
    filled = torch.where(
        has_before & has_after,
        left + (right - left) * share,
        torch.where(has_before, left, torch.where(has_after, right, torch.zeros_like(left))),
    )
    return torch.where(observed, x, filled)


class InputScaling(nn.Module):
    """Puts values in units of the series itself, of the training part, or both side by side.

    With m and s the mean and deviation over the real, observed steps:

        series:    (x - m_series) / s_series
        training:  (x - m_training) / s_training

    Missing values are bridged (`bridged`). Where the training part had some, a flag channel per feature is 1
    at observed values and 0 at missing ones.

    Args:
        features: C.
        scaling: `"series"`, `"training"` or `"both"`.
        flags: add the flag channels.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int, scaling: str, *, flags: bool) -> None:
        super().__init__()
        self.scaling, self.flags = scaling, flags
        self.channels = features * ((2 if scaling == "both" else 1) + flags)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def fit(self, x: Tensor, lengths: Tensor) -> None:
        """Take mean and deviation of each feature of x (N, T, C), NaN where missing."""
        known = ~x.isnan() & real_steps(x, lengths)[..., None]
        for feature in range(x.shape[2]):
            values = x[..., feature][known[..., feature]].double()
            if len(values):
                deviation = float(values.std(correction=0))
                self.mean[feature] = values.mean()
                self.deviation[feature] = deviation if deviation > 0 else 1.0

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Scale a batch.

        Args:
            x: (N, T, C), NaN where a value is missing; anything after a row's last real step.
            lengths: (N,) real steps.

        Returns:
            (N, T, channels), zero after the last real step.
        """
        real = real_steps(x, lengths)[..., None]
        observed = ~x.isnan() & real
        standard = bridged((x - self.mean) / self.deviation, observed)  # NaN stays NaN until it is bridged
        standard = standard.masked_fill(~real, 0.0)
        parts = []
        if self.scaling in ("series", "both"):
            count = observed.sum(dim=1, keepdim=True).clamp(min=1)
            seen = standard.masked_fill(~observed, 0.0)
            mean = seen.sum(dim=1, keepdim=True) / count
            centred = (standard - mean).masked_fill(~real, 0.0)
            variance = centred.masked_fill(~observed, 0.0).square().sum(dim=1, keepdim=True) / count
            constant = variance < SMALLEST_DEVIATION**2
            # filled before the root, whose gradient at 0 is infinite
            deviation = variance.masked_fill(constant, 1.0).sqrt()
            parts.append(centred.masked_fill(constant, 0.0) / deviation)
        if self.scaling in ("training", "both"):
            parts.append(standard)
        if self.flags:
            parts.append(observed.to(standard.dtype))
        scaled = torch.cat(parts, dim=-1)
        if self.scaling == "training":
            return scaled
        # How the mean of a series is summed up depends on the batch. On a grid, sums of a few values are
        # exact in float64: a kernel's response to a level stretch is 0, not noise around a threshold.
        rounded = (scaled * GRID).round() / GRID
        return rounded.detach() + (scaled - scaled.detach())  # gradients pass as if nothing was rounded


def differences(x: Tensor, lengths: Tensor) -> Tensor:
    """Give the change of x (N, T, C) from the step before; zero at the first step and in the padding."""
    change = nn.functional.pad(x[:, 1:] - x[:, :-1], (0, 0, 1, 0))
    return change.masked_fill(~real_steps(x, lengths)[..., None], 0.0)


def length_batches(
    lengths: npt.NDArray[np.int64], padded_steps: int = _STEPS_AT_ONCE
) -> list[npt.NDArray[np.int64]]:
    """Sort rows by length and cut them into batches of at most so many padded steps, or of one row.

    Example:
        >>> [part.tolist() for part in length_batches(np.array([5, 1, 2, 9]), padded_steps=6)]
        [[1, 2], [0], [3]]
    """
    order = np.argsort(lengths, kind="stable")  # neighbours of like length need little padding
    parts, first = [], 0
    for last in range(1, len(order) + 1):
        if last == len(order) or (last - first + 1) * int(lengths[order[last]]) > padded_steps:
            parts.append(order[first:last])
            first = last
    return parts
