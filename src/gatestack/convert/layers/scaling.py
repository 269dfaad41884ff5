"""Layers that bring features to a common scale, by numbers found before training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor

from gatestack.convert.layers.base import Axis, Flag, LayerOptions, NetworkLayer, Number, Signal, Size

__all__ = ["Rescale", "RescaleOptions", "Standardise", "StandardiseOptions"]

Numbers = Annotated[tuple[Number, ...], Field(max_length=2**20)]

_SMALLEST = 1e-7  # Keras' epsilon


class RescaleOptions(LayerOptions):
    """Options of `Rescale`.

    Args:
        scale: factor.
        offset: added after it. Default 0.
    """

    scale: Number
    offset: Number = 0.0


class Rescale(NetworkLayer):
    """Keras' Rescaling: y = scale · x + offset. One signal in, one out; the mask passes.

    Args:
        options: both numbers.

    Example:
        >>> Rescale(RescaleOptions(scale=0.5, offset=1)).run([Signal(torch.ones(2))])[0].value
        tensor([1.5000, 1.5000])
    """

    kind = "rescale"
    Options = RescaleOptions

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Rescale a tensor of any shape."""
        ((value, mask),) = signals
        return (Signal(value * self.options.scale + self.options.offset, mask),)


class StandardiseOptions(LayerOptions):
    """Options of `Standardise`.

    Args:
        axes: which have a mean and a variance for each of their places; none for one of all numbers.
        shape: their sizes.
        invert: back to the old scale. Default False.
        mean: where it is a setting and not a weight; in the order of the places. Default None.
        variance: the same; both are given, or none.
    """

    axes: Annotated[tuple[Axis, ...], Field(max_length=31)] = (-1,)
    shape: Annotated[tuple[Size, ...], Field(max_length=31)]
    invert: Flag = False
    mean: Numbers | None = None
    variance: Numbers | None = None

    @model_validator(mode="after")
    def _has_sizes(self) -> StandardiseOptions:
        if len(self.axes) != len(self.shape):
            raise ValueError("as many sizes in shape as axes")
        count = math.prod(self.shape)
        if (self.mean is None) != (self.variance is None):
            raise ValueError("mean and variance, or none of them")
        for values in (self.mean, self.variance):
            if values is not None and len(values) != count:
                raise ValueError(f"{count} numbers in mean and variance")
        return self


class Standardise(NetworkLayer):
    """Keras' Normalization: a mean of zero and a variance of one, by a mean and a variance that are known.

        y = (x − mean) / max(√variance, 1e-7)

    One signal in, one of the same shape out; the mask passes.

    Args:
        options: the axes.

    Attributes:
        mean: buffer, of `shape`; zeros at first.
        variance: buffer, of `shape`; ones at first.

    Example:
        >>> layer = Standardise(StandardiseOptions(shape=(2,)))
        >>> layer.mean[0] = 3
        >>> layer.run([Signal(torch.ones(1, 2))])[0].value
        tensor([[-2.,  1.]])
    """

    kind = "standardise"
    Options = StandardiseOptions

    mean: Tensor
    variance: Tensor

    def __init__(self, options: StandardiseOptions) -> None:
        super().__init__(options)
        shape = options.shape
        for name, values, start in (("mean", options.mean, 0.0), ("variance", options.variance, 1.0)):
            number = torch.full(shape, start) if values is None else torch.tensor(values).reshape(shape)
            self.register_buffer(name, number)

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Standardise a tensor."""
        ((value, mask),) = signals
        options = self.options
        rank = value.dim()
        places = [axis % rank for axis in options.axes if -rank <= axis < rank]
        if places != sorted(set(places)) or tuple(value.shape[p] for p in places) != options.shape:
            raise self.refuse(
                f"x has shape {tuple(value.shape)}", f"sizes {options.shape} at the axes {options.axes}"
            )
        shape = [size if place in places else 1 for place, size in enumerate(value.shape)]
        mean = self.mean.reshape(shape)
        deviation = self.variance.sqrt().clamp(min=_SMALLEST).reshape(shape)
        y = value * deviation + mean if options.invert else (value - mean) / deviation
        return (Signal(y, mask),)
