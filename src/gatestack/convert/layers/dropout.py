"""What is left out: features that training drops, steps that are not real."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from gatestack.convert.layers.base import Flag, LayerOptions, NetworkLayer, Number, Signal
from gatestack.convert.layers.sequence import Share
from gatestack.nn import VariationalDropout

__all__ = ["Dropout", "DropoutOptions", "MaskBy", "MaskByOptions", "Masking", "MaskingOptions"]


class DropoutOptions(LayerOptions):
    """Options of `Dropout`.

    Args:
        rate: probability with which an element is dropped in training; the others are divided by 1 − rate.
        same_over_time: the same features of a row at every step of (N, T, F). Default False.
    """

    rate: Share
    same_over_time: Flag = False


class Dropout(NetworkLayer):
    """Drop elements in training; in eval mode nothing happens.

    One signal in, one of the same shape out; the mask passes.

    Args:
        options: how much.

    Example:
        >>> layer = Dropout(DropoutOptions(rate=0.5)).eval()
        >>> import torch
        >>> layer.run([Signal(torch.ones(2))])[0].value
        tensor([1., 1.])
    """

    kind = "dropout"
    Options = DropoutOptions

    def __init__(self, options: DropoutOptions) -> None:
        super().__init__(options)
        self.dropout: nn.Module = (
            VariationalDropout(options.rate) if options.same_over_time else nn.Dropout(options.rate)
        )

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Drop elements of a tensor."""
        return (Signal(self.dropout(signals[0].value), signals[0].mask),)


class MaskingOptions(LayerOptions):
    """Options of `Masking`.

    Args:
        mask_value: a step whose features all have it is not real. Default 0.
    """

    mask_value: Number = 0.0


class Masking(NetworkLayer):
    """Say which steps are real: those in which one feature is not `mask_value`; the others become zero.

    One signal (N, T, F) in, one of the same shape, with a mask, out.

    Args:
        options: the value.

    Example:
        >>> import torch
        >>> Masking(MaskingOptions()).run([Signal(torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]))])[0].mask
        tensor([[ True, False]])
    """

    kind = "masking"
    Options = MaskingOptions

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Find the mask of x (N, T, F)."""
        value = signals[0].value
        if value.dim() < 3:
            raise self.refuse(f"x has shape {tuple(value.shape)}", "(batch, time, features)")
        real = (value != self.options.mask_value).any(dim=-1)
        return (Signal(value.masked_fill(~real[..., None], 0.0), real),)


class MaskByOptions(LayerOptions):
    """Options of `MaskBy`: there are none."""


class MaskBy(NetworkLayer):
    """Say by an input which steps are real: what Keras means by `layer(x, mask=steps)`.

    Two signals in: x (N, T, …), and (N, T) of zeros and others; one out, x with the others as its real steps.

    Args:
        options: none.

    Example:
        >>> import torch
        >>> x, steps = torch.ones(1, 2, 3), torch.tensor([[1, 0]])
        >>> MaskBy(MaskByOptions()).run([Signal(x), Signal(steps)])[0].mask
        tensor([[ True, False]])
    """

    kind = "mask_by"
    Options = MaskByOptions

    @property
    def inputs(self) -> range:
        """x, and which steps are real."""
        return range(2, 3)

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Give x (N, T, …) another mask."""
        value, steps = signals[0].value, signals[1].value
        if value.shape[:2] != steps.shape:
            raise self.refuse(
                f"x has shape {tuple(value.shape)}, its mask {tuple(steps.shape)}", "the same batch and time"
            )
        return (Signal(value, steps != 0),)
