"""What reads the scaled steps of a series: one module per recipe.

Each has two halves. `prepare` gives what does not change in training, so that it can be done beforehand;
`forward`, the trained half, reads that.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatestack.nn import Stack
from gatestack.tasks.labelled.fcn import ConvolutionBlocks, resampled
from gatestack.tasks.labelled.options import Architecture
from gatestack.tasks.labelled.pooling import Pool
from gatestack.tasks.labelled.segments import SegmentReader
from gatestack.tasks.layers import make_stack

__all__ = ["FCNTrunk", "PlainTrunk", "SegmentTrunk", "make_trunk"]


def make_trunk(
    architecture: Architecture,
    widths: tuple[int, ...],
    *,
    channels: int,
    flags: int,
    steps: int,
    longest: int,
    outputs: int,
) -> PlainTrunk | SegmentTrunk | FCNTrunk:
    """Make what the recipe asks for.

    Args:
        architecture: recipe, cell, pooling, and so on.
        widths: of the recurrent layers.
        channels: of the scaled steps, flags included.
        flags: how many of the channels, the last ones, are flags of missing values.
        steps: typical length of a series.
        longest: length of the longest one.
        outputs: K.
    """
    if architecture.recipe == "kernels":
        reader = SegmentReader(
            channels, flags=flags, steps=steps, segments=architecture.segments, size=widths[0]
        )
        return SegmentTrunk(reader, widths, architecture, outputs)
    if architecture.recipe == "lstm-fcn":
        return FCNTrunk(channels, longest, widths, architecture, outputs)
    return PlainTrunk(channels, widths, architecture, outputs)


class PlainTrunk(nn.Module):
    """Stack, pooling, dropout, linear head.

    Args:
        channels: of the input.
        widths: of the recurrent layers.
        architecture: cell, pooling, dropout, ….
        outputs: K.
    """

    def __init__(
        self, channels: int, widths: tuple[int, ...], architecture: Architecture, outputs: int
    ) -> None:
        super().__init__()
        self.stack = _make_stack(channels, widths, architecture)
        self.pool = _make_pool(widths, architecture)
        self.dropout = nn.Dropout(architecture.dropout)
        self.head = nn.Linear(self.pool.output_size, outputs)

    def prepare(self, steps: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Give the steps as they are."""
        return steps, lengths

    def forward(self, steps: Tensor, lengths: Tensor) -> Tensor:
        """Run (N, T, channels) -> (N, K)."""
        hidden, _ = self.stack(steps, lengths=lengths)
        outputs: Tensor = self.head(self.dropout(self.pool(hidden, lengths)))
        return outputs


class SegmentTrunk(nn.Module):
    """A plain trunk over the segments of a series. Its head starts at zero: the linear part is the start.

    Args:
        reader: gives the segments.
        widths: of the recurrent layers.
        architecture: cell, pooling, dropout, ….
        outputs: K.
    """

    def __init__(
        self, reader: SegmentReader, widths: tuple[int, ...], architecture: Architecture, outputs: int
    ) -> None:
        super().__init__()
        self.reader = reader
        self.over_segments = PlainTrunk(widths[0], widths, architecture, outputs)
        nn.init.zeros_(self.over_segments.head.weight)
        nn.init.zeros_(self.over_segments.head.bias)

    def prepare(self, steps: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Give the segments of (N, T, channels), and how many there are."""
        return self.reader.tell(steps, lengths)

    def forward(self, told: Tensor, segments: Tensor) -> Tensor:
        """Run what `prepare` gave -> (N, K)."""
        outputs: Tensor = self.over_segments(self.reader(told), segments)
        return outputs


class FCNTrunk(nn.Module):
    """LSTM-FCN: the stack reads one step per channel, each step the whole channel as a vector.

    The paper calls this the dimension shuffle. As the vector has a fixed length, each series is read at as
    many points as the longest one has steps (`resampled`).

    Args:
        channels: of the input.
        longest: length of the longest series.
        widths: of the recurrent layers.
        architecture: cell, pooling, dropout, ….
        outputs: K.

    Source:
        Karim et al. 2017, figure 2.
    """

    def __init__(
        self,
        channels: int,
        longest: int,
        widths: tuple[int, ...],
        architecture: Architecture,
        outputs: int,
    ) -> None:
        super().__init__()
        self.steps = longest
        self.blocks = ConvolutionBlocks(channels)
        self.stack = _make_stack(longest, widths, architecture)
        self.pool = _make_pool(widths, architecture)
        self.dropout = nn.Dropout(architecture.dropout)
        self.head = nn.Linear(self.blocks.output_size + self.pool.output_size, outputs)

    def prepare(self, steps: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Give the steps as they are."""
        return steps, lengths

    def forward(self, steps: Tensor, lengths: Tensor) -> Tensor:
        """Run (N, T, channels) -> (N, K)."""
        turned = resampled(steps, lengths, self.steps).transpose(1, 2)  # -> (N, channels, longest)
        hidden, _ = self.stack(turned.contiguous())
        read = self.dropout(self.pool(hidden, torch.full_like(lengths, turned.shape[1])))
        outputs: Tensor = self.head(torch.cat([self.blocks(steps, lengths), read], dim=-1))
        return outputs


def _make_stack(channels: int, widths: tuple[int, ...], architecture: Architecture) -> Stack:
    return make_stack(
        widths,
        architecture,
        input_size=channels,
        cell=architecture.cell,
        bidirectional=architecture.bidirectional,
        residual=architecture.residual,
    )


def _make_pool(widths: tuple[int, ...], architecture: Architecture) -> Pool:
    size = widths[-1] * (2 if architecture.bidirectional else 1)
    return Pool(architecture.pooling, size, bidirectional=architecture.bidirectional)
