"""Convolutions and windows over space, in one to three dimensions, with the padding that TensorFlow has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from gatestack.convert.layers.activation import FunctionName, function_of
from gatestack.convert.layers.base import Flag, LayerOptions, NetworkLayer, Signal, Size

__all__ = ["Convolution", "ConvolutionOptions", "WindowPool", "WindowPoolOptions", "padding_of"]

Sizes = Annotated[tuple[Size, ...], Field(min_length=1, max_length=3)]
Image = Literal["same", "valid", "causal"]

_CONVOLUTIONS: dict[int, Callable[..., nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}
_LARGEST: dict[int, Callable[..., Tensor]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
_MEANS: dict[int, Callable[..., Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}


class ConvolutionOptions(LayerOptions):
    """Options of `Convolution`.

    Args:
        channels: F of the output.
        input_channels: C.
        kernel_size: one number for each dimension of space, which are 1 to 3; as stride and dilation.
        stride: None for 1.
        dilation: None for 1.
        padding: "same" (default; ⌈n / stride⌉ positions come out), "valid" for none, or in one dimension
            "causal": all of it before the start, so that no position sees those after it.
        groups: into which the channels are divided. Default 1.
        bias: add one. Default True.
        activation: φ; "linear" (default) is none.
        channels_last: images are (*space, channels) as in Keras, and not (channels, *space). Default False.
    """

    channels: Size
    input_channels: Size
    kernel_size: Sizes
    stride: Sizes | None = None
    dilation: Sizes | None = None
    padding: Image = "same"
    groups: Size = 1
    bias: Flag = True
    activation: FunctionName = "linear"
    channels_last: Flag = False

    @model_validator(mode="after")
    def _fits_the_dimensions(self) -> ConvolutionOptions:
        for name in ("stride", "dilation"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.kernel_size):
                raise ValueError(f"as many numbers in {name} as in kernel_size")
        if self.padding == "causal" and len(self.kernel_size) != 1:
            raise ValueError("one dimension where padding is 'causal'")
        if self.channels % self.groups or self.input_channels % self.groups:
            raise ValueError("channels that can be divided by groups")
        return self


class Convolution(NetworkLayer):
    """The same product around every position.

        y = φ(W ∗ x + b)

    One signal (N, C, *space), or with `channels_last` (N, *space, C), in; one of F channels out, without a
    mask. `conv` is a `torch.nn.Conv1d`, `Conv2d` or `Conv3d` without padding: `weight` (F, C / groups, *k),
    `bias` (F,).

    Args:
        options: sizes and activation.

    Example:
        >>> options = ConvolutionOptions(channels=4, input_channels=3, kernel_size=(5,), channels_last=True)
        >>> Convolution(options).run([Signal(torch.zeros(2, 10, 3))])[0].value.shape
        torch.Size([2, 10, 4])
    """

    kind = "convolution"
    Options = ConvolutionOptions

    def __init__(self, options: ConvolutionOptions) -> None:
        super().__init__(options)
        ones = (1,) * len(options.kernel_size)
        self.conv = _CONVOLUTIONS[len(ones)](
            options.input_channels,
            options.channels,
            options.kernel_size,
            stride=options.stride or ones,
            dilation=options.dilation or ones,
            groups=options.groups,
            bias=options.bias,
        )

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Convolve a tensor."""
        options, x = self.options, signals[0].value
        channels = x.shape[-1 if options.channels_last else 1] if x.dim() > 1 else 0
        if x.dim() != len(options.kernel_size) + 2 or channels != options.input_channels:
            axes = "*space, C" if options.channels_last else "C, *space"
            raise self.refuse(
                f"x has shape {tuple(x.shape)}",
                f"(batch, {axes}) of {len(options.kernel_size) + 2} axes, C = {options.input_channels}",
            )
        x = x.movedim(-1, 1) if options.channels_last else x
        ones = (1,) * len(options.kernel_size)
        sides = padding_of(
            x.shape[2:],
            options.kernel_size,
            options.stride or ones,
            options.dilation or ones,
            options.padding,
        )
        try:
            y = self.conv(_padded(x, sides, 0.0))
        except RuntimeError:  # torch, of a kernel that does not fit
            raise self.refuse(
                f"x has shape {tuple(signals[0].value.shape)}",
                f"space for a kernel of {options.kernel_size}, dilation {options.dilation or ones}",
            ) from None
        y = y.movedim(1, -1) if options.channels_last else y
        return (Signal(function_of(options.activation)(y)),)


class WindowPoolOptions(LayerOptions):
    """Options of `WindowPool`.

    Args:
        operation: "max" or "mean".
        size: of the window, one number for each dimension of space, which are 1 to 3; as stride.
        stride: None for the size.
        padding: "valid" (default) or "same": ⌈n / stride⌉ positions come out. What is filled up does not
            count.
        channels_last: images are (*space, channels) as in Keras, and not (channels, *space). Default False.
    """

    operation: Literal["max", "mean"]
    size: Sizes
    stride: Sizes | None = None
    padding: Literal["same", "valid"] = "valid"
    channels_last: Flag = False

    @model_validator(mode="after")
    def _fits_the_dimensions(self) -> WindowPoolOptions:
        if self.stride is not None and len(self.stride) != len(self.size):
            raise ValueError("as many numbers in stride as in size")
        return self


class WindowPool(NetworkLayer):
    """The largest number, or the mean, of each window.

    One signal (N, C, *space), or with `channels_last` (N, *space, C), in; one of fewer positions out, without
    a mask.

    Args:
        options: operation and sizes.

    Example:
        >>> layer = WindowPool(WindowPoolOptions(operation="max", size=(2,), channels_last=True))
        >>> layer.run([Signal(torch.arange(5.0).view(1, 5, 1))])[0].value.flatten()
        tensor([1., 3.])
    """

    kind = "window_pool"
    Options = WindowPoolOptions

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Pool a tensor."""
        options, x = self.options, signals[0].value
        size, stride = options.size, options.stride or options.size
        if x.dim() != len(size) + 2:
            axes = "*space, channels" if options.channels_last else "channels, *space"
            raise self.refuse(f"x has shape {tuple(x.shape)}", f"(batch, {axes}) of {len(size) + 2} axes")
        x = x.movedim(-1, 1) if options.channels_last else x
        sides = padding_of(x.shape[2:], size, stride, (1,) * len(size), options.padding)
        if any(n + sum(side) < k for n, side, k in zip(x.shape[2:], sides, size, strict=True)):
            raise self.refuse(f"x has shape {tuple(signals[0].value.shape)}", f"space for a window of {size}")
        if options.operation == "max":
            y = _LARGEST[len(size)](_padded(x, sides, -torch.inf), size, stride)
        else:
            mean = _MEANS[len(size)]
            y = mean(_padded(x, sides, 0.0), size, stride)
            if any(map(sum, sides)):
                y = y / mean(_padded(torch.ones_like(x[:1, :1]), sides, 0.0), size, stride)
        return (Signal(y.movedim(1, -1) if options.channels_last else y),)


def padding_of(
    space: Sequence[int], size: Sequence[int], stride: Sequence[int], dilation: Sequence[int], padding: Image
) -> list[tuple[int, int]]:
    """Tell how much is filled up before and after each dimension.

    With "same", as TensorFlow has it, ⌈n / stride⌉ windows fit; where the sum is odd, one more comes after.

    Args:
        space: positions along each dimension.
        size: of the window.
        stride: from one window to the next.
        dilation: from one position in the window to the next.
        padding: "same", "valid" or "causal".

    Example:
        >>> padding_of((7,), (4,), (2,), (1,), "same")
        [(1, 2)]
    """
    sides = []
    for n, k, s, d in zip(space, size, stride, dilation, strict=True):
        reach = (k - 1) * d + 1
        if padding == "causal":
            sides.append((reach - 1, 0))
        else:
            total = max((-(-n // s) - 1) * s + reach - n, 0) if padding == "same" else 0
            sides.append((total // 2, total - total // 2))
    return sides


def _padded(x: Tensor, sides: Sequence[tuple[int, int]], value: float) -> Tensor:
    if not any(map(sum, sides)):
        return x
    return functional.pad(x, [one for side in reversed(sides) for one in side], value=value)
