"""The network of classifiers and regressors: scaled inputs, a recurrent stack, pooling, a linear head."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gatestack.nn import GRU, LSTM, RNN, Stack
from gatestack.tasks.labelled.fcn import ConvolutionBlocks, resampled
from gatestack.tasks.labelled.options import Architecture
from gatestack.tasks.labelled.pooling import Pool
from gatestack.tasks.labelled.scaling import InputScaling

__all__ = ["LabelledNetwork", "NetworkShape"]

_CELLS = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


@dataclass(frozen=True, kw_only=True)
class NetworkShape:
    """The sizes of a network, fixed when it is fitted.

    Attributes:
        features: C, of each step of a series.
        outputs: K, classes or targets.
        widths: width of each recurrent layer, lowest first.
        steps: of the longest series of the training part.
        flags: whether the training part had missing values; then each feature has a channel that says where.
    """

    features: int
    outputs: int
    widths: tuple[int, ...]
    steps: int
    flags: bool

    def to_dict(self) -> dict[str, Any]:
        """Give the sizes as JSON values."""
        return asdict(self) | {"widths": list(self.widths)}

    @classmethod
    def from_dict(cls, sizes: dict[str, Any]) -> NetworkShape:
        """Read what `to_dict` gave."""
        return cls(**sizes | {"widths": tuple(sizes["widths"])})


class LabelledNetwork(nn.Module):
    """From a batch of series to one row of outputs each: logits of K classes, or K targets in their unit.

    No row depends on the others of its batch, nor on how far the batch is padded. The whole network is in its
    `state_dict`, with what its scaling was fitted to.

    Args:
        shape: the sizes.
        architecture: recipe, cell, pooling, and so on.

    Example:
        >>> shape = NetworkShape(features=2, outputs=3, widths=(4, 4), steps=9, flags=False)
        >>> network = LabelledNetwork(shape, Architecture())
        >>> network(torch.zeros(5, 9, 2), torch.tensor([9, 3, 1, 9, 2])).shape
        torch.Size([5, 3])
    """

    target_mean: Tensor
    target_deviation: Tensor

    def __init__(self, shape: NetworkShape, architecture: Architecture) -> None:
        super().__init__()
        self.shape, self.architecture = shape, architecture
        self.scaling = InputScaling(shape.features, architecture.scaling, flags=shape.flags)
        trunk = _FCNTrunk if architecture.recipe == "lstm-fcn" else _PlainTrunk
        self.trunk: nn.Module = trunk(self.scaling.channels, shape, architecture)
        self.register_buffer("target_mean", torch.zeros(shape.outputs))
        self.register_buffer("target_deviation", torch.ones(shape.outputs))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Run a batch.

        Args:
            x: (N, T, C), NaN where a value is missing; what stands after a row's last real step is not read.
            lengths: (N,) whole numbers from 1 to T.

        Returns:
            (N, K) logits, or targets in the unit of the training part.
        """
        outputs: Tensor = self.trunk(self.scaling(x, lengths), lengths)
        return self.target_mean + self.target_deviation * outputs


class _PlainTrunk(nn.Module):
    """Stack, pooling, dropout, linear head."""

    def __init__(self, channels: int, shape: NetworkShape, architecture: Architecture) -> None:
        super().__init__()
        self.stack = _make_stack(channels, shape, architecture)
        self.pool = _make_pool(shape, architecture)
        self.dropout = nn.Dropout(architecture.dropout)
        self.head = nn.Linear(self.pool.output_size, shape.outputs)

    def forward(self, steps: Tensor, lengths: Tensor) -> Tensor:
        """Run (N, T, channels) -> (N, K)."""
        hidden, _ = self.stack(steps, lengths=lengths)
        outputs: Tensor = self.head(self.dropout(self.pool(hidden, lengths)))
        return outputs


class _FCNTrunk(nn.Module):
    """LSTM-FCN: the stack reads one step per channel, each step the whole channel as a vector.

    The paper calls this the dimension shuffle. As the vector has a fixed length, each series is read at
    `shape.steps` points (`resampled`).
    """

    def __init__(self, channels: int, shape: NetworkShape, architecture: Architecture) -> None:
        super().__init__()
        self.steps = shape.steps
        self.blocks = ConvolutionBlocks(channels)
        self.stack = _make_stack(shape.steps, shape, architecture)
        self.pool = _make_pool(shape, architecture)
        self.dropout = nn.Dropout(architecture.dropout)
        self.head = nn.Linear(self.blocks.output_size + self.pool.output_size, shape.outputs)

    def forward(self, steps: Tensor, lengths: Tensor) -> Tensor:
        """Run (N, T, channels) -> (N, K)."""
        turned = resampled(steps, lengths, self.steps).transpose(1, 2)  # -> (N, channels, steps)
        channels = torch.full_like(lengths, turned.shape[1])
        hidden, _ = self.stack(turned.contiguous())
        read = self.dropout(self.pool(hidden, channels))
        outputs: Tensor = self.head(torch.cat([self.blocks(steps, lengths), read], dim=-1))
        return outputs


def _make_stack(channels: int, shape: NetworkShape, architecture: Architecture) -> Stack:
    cell = _CELLS[architecture.cell]
    deep = len(shape.widths) > 1
    return Stack(
        *(cell(width, bidirectional=architecture.bidirectional) for width in shape.widths),
        input_size=channels,
        dropout=architecture.dropout if deep else 0.0,
        residual=architecture.residual and deep,
    )


def _make_pool(shape: NetworkShape, architecture: Architecture) -> Pool:
    size = shape.widths[-1] * (2 if architecture.bidirectional else 1)
    return Pool(architecture.pooling, size, bidirectional=architecture.bidirectional)
