"""Layers that normalise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from gatestack.convert.layers.base import Axis, Flag, LayerOptions, NetworkLayer, Signal, Size

__all__ = ["BatchNorm", "BatchNormOptions", "LayerNorm", "LayerNormOptions"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class BatchNormOptions(LayerOptions):
    """Options of `BatchNorm`.

    Args:
        features: size of the axis.
        axis: of the features. Default -1 as in Keras; torch's is 1.
        epsilon: added to the variance. Default 1e-5 as in torch; Keras' is 1e-3.
        momentum: share of a batch in the running mean and variance. Default 0.1; Keras says 1 minus it.
        center: learn β; otherwise it is 0.
        scale: learn γ; otherwise it is 1.
    """

    features: Size
    axis: Axis = -1
    epsilon: Positive = 1e-5
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.1
    center: Flag = True
    scale: Flag = True


class BatchNorm(NetworkLayer):
    """Normalise each feature over the batch in training, by the running mean and variance otherwise.

        y = γ ⊙ (x − mean) / √(variance + ε) + β

    One signal in, one of the same shape out; the mask passes. In training only real steps count, and the
    others become zero; torch and Keras differ in the running variance (n − 1 and n), which is torch's here.
    `norm` is a `torch.nn.BatchNorm1d`.

    Args:
        options: sizes and constants.

    Example:
        >>> layer = BatchNorm(BatchNormOptions(features=3)).eval()
        >>> layer.run([Signal(torch.zeros(2, 5, 3))])[0].value.shape
        torch.Size([2, 5, 3])
    """

    kind = "batch_norm"
    Options = BatchNormOptions

    def __init__(self, options: BatchNormOptions) -> None:
        super().__init__(options)
        self.norm = nn.BatchNorm1d(options.features, eps=options.epsilon, momentum=options.momentum)
        self.norm.weight.requires_grad_(options.scale)
        self.norm.bias.requires_grad_(options.center)

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Normalise a tensor along one axis."""
        value, mask = signals[0]
        axis = self.options.axis
        if not -value.dim() <= axis < value.dim() or value.shape[axis] != self.options.features:
            raise self.refuse(
                f"x has shape {tuple(value.shape)}", f"{self.options.features} features at axis {axis}"
            )
        last = value.movedim(axis, -1)
        if self.training and mask is not None and mask.shape == last.shape[:-1]:
            normed = torch.zeros_like(last)
            normed[mask] = self.norm(last[mask])
        else:
            normed = self.norm(last.reshape(-1, last.shape[-1])).view(last.shape)
        return (Signal(normed.movedim(-1, axis), mask),)


class LayerNormOptions(LayerOptions):
    """Options of `LayerNorm`.

    Args:
        shape: sizes of the last axes, over which is normalised.
        epsilon: added to the variance. Default 1e-5 as in torch; Keras' is 1e-3.
        center: learn β. Default True.
        scale: learn γ. Default True.
    """

    shape: Annotated[tuple[Size, ...], Field(min_length=1, max_length=32)]
    epsilon: Positive = 1e-5
    center: Flag = True
    scale: Flag = True


class LayerNorm(NetworkLayer):
    """Normalise each vector, or the last axes together.

        y = γ ⊙ (x − mean) / √(variance + ε) + β

    One signal (…, *shape) in, one of the same shape out; the mask passes. `norm` is a `torch.nn.LayerNorm`.

    Args:
        options: sizes and constants.

    Example:
        >>> LayerNorm(LayerNormOptions(shape=(3,))).run([Signal(torch.zeros(2, 3))])[0].value.shape
        torch.Size([2, 3])
    """

    kind = "layer_norm"
    Options = LayerNormOptions

    def __init__(self, options: LayerNormOptions) -> None:
        super().__init__(options)
        self.norm = nn.LayerNorm(options.shape, eps=options.epsilon)
        self.norm.weight.requires_grad_(options.scale)
        self.norm.bias.requires_grad_(options.center)

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Normalise a tensor (…, *shape)."""
        value, mask = signals[0]
        shape = self.options.shape
        if tuple(value.shape[-len(shape) :]) != shape:
            raise self.refuse(
                f"x has shape {tuple(value.shape)}", f"(batch, …, {', '.join(map(str, shape))})"
            )
        return (Signal(self.norm(value), mask),)
