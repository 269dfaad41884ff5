"""Fixed convolutions over time: short kernels at many dilations, of which only the thresholds are fitted."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["FixedKernels", "kernel_dilations", "segment_averaging", "segment_edges"]

_TAPS = 9
_KERNELS = 84  # as many ways to choose 3 of 9 taps
_MOST_CHANNELS = 9  # that one kernel reads together
_CASES_PER_FIT = 64  # training cases whose responses give the thresholds


def kernel_dilations(steps: int, most: int) -> tuple[int, ...]:
    """Give at most `most` dilations, evenly spaced in their logarithm, up to kernels as long as a series.

    Example:
        >>> kernel_dilations(150, 6)
        (1, 3, 5, 10, 18)
    """
    top = np.log2(max((steps - 1) / (_TAPS - 1), 1))
    return tuple(sorted({int(dilation) for dilation in 2 ** np.linspace(0, top, most)}))


class FixedKernels(nn.Module):
    r"""How often the responses of fixed kernels lie above thresholds, in each segment of a series.

    For a kernel w of nine taps, three of them 2 and six −1, a dilation d, and a random group G of channels:

        r_t = Σ_{c∈G} Σ_{k=−4…4} w_k x_{t+kd, c}        zero outside the series
        share of a segment = mean over its steps of 1[r_t > b]

    All 84 kernels are used at each dilation. The weights sum to 0, so that a constant has no effect but at
    the ends. The thresholds b are quantiles of the responses in training cases drawn at random.

    Args:
        channels: C.
        steps: typical length of a series; bounds the dilations.
        most_dilations: at most so many.
        thresholds: for each kernel at each dilation.

    Attributes:
        output_size: F, dilations times 84 times thresholds.

    Source:
        Dempster, Schmidt & Webb 2021, "MiniRocket: A Very Fast (Almost) Deterministic Transform for Time
        Series Classification" (kernels, thresholds, shares); the segments are ours.
    """

    taps: Tensor
    groups: Tensor
    thresholds: Tensor

    def __init__(self, channels: int, steps: int, *, most_dilations: int, thresholds: int) -> None:
        super().__init__()
        self.dilations = kernel_dilations(steps, most_dilations)
        self.output_size = len(self.dilations) * _KERNELS * thresholds
        taps = torch.full((_KERNELS, _TAPS), -1.0)
        for kernel, chosen in enumerate(itertools.combinations(range(_TAPS), 3)):
            taps[kernel, list(chosen)] = 2.0
        self.register_buffer("taps", taps, persistent=False)
        self.register_buffer("groups", torch.ones(len(self.dilations), _KERNELS, channels))
        self.register_buffer("thresholds", torch.zeros(len(self.dilations), _KERNELS, thresholds))

    @torch.no_grad()
    def fit(self, x: Tensor, lengths: Tensor, random: np.random.Generator) -> None:
        """Draw the groups of channels, and thresholds from the responses of some cases.

        Args:
            x: (n, T, C), scaled.
            lengths: (n,).
            random: what is drawn with.
        """
        channels, levels = x.shape[2], self.thresholds.shape[2]
        largest = min(channels, _MOST_CHANNELS)
        if channels > 1:
            self.groups.zero_()
            for dilation, kernel in itertools.product(range(len(self.dilations)), range(_KERNELS)):
                size = int(2 ** random.uniform(0, np.log2(largest + 1)))
                chosen = random.choice(channels, min(size, largest), replace=False)
                self.groups[dilation, kernel, torch.from_numpy(chosen)] = 1.0
        rows = random.permutation(len(x))[:_CASES_PER_FIT]
        some, ends = x[torch.from_numpy(rows)], lengths[torch.from_numpy(rows)].tolist()
        # The fractional parts of multiples of the golden ratio spread evenly over (0, 1), however many.
        golden = (np.sqrt(5) + 1) / 2
        shares = (np.arange(1, self.output_size + 1) * golden % 1).reshape(-1, _KERNELS, levels)
        for number in range(len(self.dilations)):
            responses = self._responses(some, number)  # -> (n, 84, T)
            for kernel in range(_KERNELS):
                row = int(random.integers(len(rows)))
                values = responses[row, kernel, : ends[row]]
                share = torch.from_numpy(shares[number, kernel]).to(values)
                self.thresholds[number, kernel] = torch.quantile(values, share)

    def forward(self, x: Tensor, lengths: Tensor, segments: int = 1) -> Tensor:
        """Give the shares of all kernels in each segment.

        Args:
            x: (N, T, C), zero in the padding.
            lengths: (N,), at least 1.
            segments: S, parts into which each row is cut; a row of fewer steps has one part per step.

        Returns:
            (N, S, F), zero in the segments that a short row lacks.
        """
        averaging = segment_averaging(x, lengths, segments)
        parts = []
        for number in range(len(self.dilations)):
            responses = self._responses(x, number)
            for level in range(self.thresholds.shape[2]):
                above = responses > self.thresholds[number, :, level, None]
                parts.append(above.to(x.dtype) @ averaging)  # -> (N, 84, S)
        return torch.cat(parts, dim=1).transpose(1, 2)

    def _responses(self, x: Tensor, number: int) -> Tensor:
        dilation, (_, steps, channels) = self.dilations[number], x.shape
        reach = dilation * (_TAPS // 2)
        padded = nn.functional.pad(x.transpose(1, 2), (reach, reach))
        shifted = [padded[..., k * dilation : k * dilation + steps] for k in range(_TAPS)]
        weights = (self.groups[number, :, None, :] * self.taps[:, :, None]).reshape(
            _KERNELS, _TAPS * channels
        )
        responses: Tensor = weights @ torch.cat(shifted, dim=1)  # -> (N, 84, T)
        return responses


def segment_edges(lengths: Tensor, segments: int) -> Tensor:
    """Cut each row into even parts -> (N, S + 1) steps, part s from edge s up to edge s + 1.

    Example:
        >>> segment_edges(torch.tensor([8, 2]), 4).tolist()
        [[0, 2, 4, 6, 8], [0, 1, 2, 2, 2]]
    """
    parts = lengths.clamp(max=segments)[:, None]
    number = torch.minimum(torch.arange(segments + 1, device=lengths.device)[None], parts)
    return number * lengths[:, None] // parts


def segment_averaging(x: Tensor, lengths: Tensor, segments: int) -> Tensor:
    """Give the matrices that average the steps of x (N, T, …) over segments -> (N, T, S).

    Example:
        >>> segment_averaging(torch.zeros(1, 4, 1), torch.tensor([3]), 2)
        tensor([[[1.0000, 0.0000],
                 [0.0000, 0.5000],
                 [0.0000, 0.5000],
                 [0.0000, 0.0000]]])
    """
    edges = segment_edges(lengths, segments).to(x.device)
    place = torch.arange(x.shape[1], device=x.device)[:, None]
    inside = (edges[:, None, :-1] <= place) & (place < edges[:, None, 1:])  # -> (N, T, S)
    return inside.to(x.dtype) / edges.diff(dim=1).clamp(min=1).to(x.dtype)[:, None]
