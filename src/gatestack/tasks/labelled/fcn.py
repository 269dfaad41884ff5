"""LSTM-FCN: three convolutions over time beside a recurrent stack that reads whole channels as its steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatestack.tasks.labelled.scaling import real_steps

__all__ = ["ConvolutionBlocks", "MaskedBatchNorm", "resampled"]

# Filters and kernel lengths of the paper.
_BLOCKS = ((128, 8), (256, 5), (128, 3))


class MaskedBatchNorm(nn.Module):
    """Batch normalisation whose means and deviations are those of the real steps alone.

    Args:
        channels: C.

    Source:
        Ioffe & Szegedy 2015, "Batch Normalization".
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, y: Tensor, real: Tensor) -> Tensor:
        """Normalise y (N, T, C) where `real` (N, T) -> (N, T, C), zero elsewhere."""
        values = y[real]
        if self.training and len(values) < 2:  # a single step has no deviation
            return torch.zeros_like(y)
        return torch.zeros_like(y).masked_scatter(real[..., None], self.norm(values))


class ConvolutionBlocks(nn.Module):
    """Three blocks of convolution, batch normalisation and ReLU, and the mean over time.

    Args:
        channels: of the input.

    Note:
        A convolution sees zeros outside the series, as in the paper; after every block the padding of a
        shorter row is set to zero again, so that no row depends on the others of its batch.

    Source:
        Karim et al. 2017, figure 2; the blocks are those of Wang, Yan & Oates 2017, "Time Series
        Classification from Scratch with Deep Neural Networks".
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.output_size = _BLOCKS[-1][0]
        inputs = (channels, *(filters for filters, _ in _BLOCKS[:-1]))
        # Even lengths have no middle: the step more is on the right.
        self.paddings = nn.ModuleList(
            nn.ConstantPad1d(((length - 1) // 2, length // 2), 0.0) for _, length in _BLOCKS
        )
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, filters, length)
            for width, (filters, length) in zip(inputs, _BLOCKS, strict=True)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(filters) for filters, _ in _BLOCKS)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Run x (N, T, C), zero in the padding -> (N, 128)."""
        real = real_steps(x, lengths)
        for padding, convolution, norm in zip(self.paddings, self.convolutions, self.norms, strict=True):
            x = norm(convolution(padding(x.transpose(1, 2))).transpose(1, 2), real).relu()
        return x.sum(dim=1) / lengths.to(x)[:, None]


def resampled(x: Tensor, lengths: Tensor, steps: int) -> Tensor:
    """Read each row at `steps` evenly spaced points of its real part, by linear interpolation.

    Args:
        x: (N, T, C).
        lengths: (N,) real steps, at least 1.
        steps: at least 1.

    Returns:
        (N, steps, C).

    Example:
        >>> resampled(torch.tensor([[[0.0], [1.0], [9.0]]]), torch.tensor([2]), 3)[0, :, 0]
        tensor([0.0000, 0.5000, 1.0000])
    """
    last = (lengths.to(x.device) - 1)[:, None]
    place = torch.linspace(0, 1, steps, device=x.device, dtype=torch.float64) * last  # -> (N, steps)
    below = place.floor().long()
    above = torch.minimum(below + 1, last)
    share = (place - below).to(x.dtype)[..., None]

    def at(index: Tensor) -> Tensor:
        return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))

    return at(below) * (1 - share) + at(above) * share
