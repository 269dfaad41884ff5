"""The convolutional LSTM layer of a network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from gatestack.convert.layers.base import Flag, Size
from gatestack.convert.layers.sequence import OverTime, OverTimeOptions
from gatestack.nn import ACTIVATIONS, ConvLSTM, ConvLSTM1D, ConvLSTM2D, ConvLSTM3D, ConvLSTMForm

__all__ = ["ConvLSTMLayer", "ConvLSTMOptions"]

Sizes = Annotated[tuple[Size, ...], Field(min_length=1, max_length=3)]
_CLASSES: dict[int, type[ConvLSTM]] = {1: ConvLSTM1D, 2: ConvLSTM2D, 3: ConvLSTM3D}


class ConvLSTMOptions(OverTimeOptions):
    """Options of `ConvLSTMLayer`; those of every layer over time come on top.

    Args:
        channels: F of the output.
        input_channels: C.
        kernel_size: one number for each dimension of space, which are 1 to 3; as stride and dilation.
        stride: of the input convolution; None for 1.
        dilation: of the input convolution; None for 1.
        padding: of the input convolution, "same" (default) or "valid".
        peepholes: None (default), "channels" or "positions".
        image_size: positions of an input image along each dimension; peepholes of "positions" need it.
        activation: in the place of tanh; a name in `gatestack.nn.ACTIVATIONS`.
        gate_activation: in the place of the logistic function.
        bias: default True. Without it both biases are zero and stay so.
        channels_last: images are (*space, channels) as in Keras, and not (channels, *space). Default False.
    """

    channels: Size
    input_channels: Size
    kernel_size: Sizes
    stride: Sizes | None = None
    dilation: Sizes | None = None
    padding: Literal["same", "valid"] = "same"
    peepholes: Literal["channels", "positions"] | None = None
    image_size: Sizes | None = None
    activation: str = "tanh"
    gate_activation: str = "sigmoid"
    bias: Flag = True
    channels_last: Flag = False

    @model_validator(mode="after")
    def _fits_the_dimensions(self) -> ConvLSTMOptions:
        for name in ("stride", "dilation", "image_size"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.kernel_size):
                raise ValueError(f"as many numbers in {name} as in kernel_size")
        if (self.peepholes == "positions") != (self.image_size is not None):
            raise ValueError("an image_size where peepholes are 'positions', and only there")
        for name in (self.activation, self.gate_activation):
            if name not in ACTIVATIONS:
                raise ValueError(f"an activation of gatestack.nn.ACTIVATIONS, not {name!r}")
        return self


class ConvLSTMLayer(OverTime):
    """One convolutional LSTM layer over sequences of rows, images or volumes.

    Signals: see `OverTime`; x (N, T, C, *space), or with `channels_last` (N, T, *space, C); so y, h and c.

    Args:
        options: see `ConvLSTMOptions`.

    Attributes:
        core: a `gatestack.nn.ConvLSTM1D`, `ConvLSTM2D` or `ConvLSTM3D`.
        weights: the same: `weight_ih_l0` (4·F, C, *k), `weight_hh_l0` (4·F, F, *k), `bias_ih_l0`,
            `bias_hh_l0` (4·F,), gates i f g o; `peephole_l0` in the order i f o.

    Example:
        >>> import torch
        >>> from gatestack.convert.layers import Signal
        >>> options = ConvLSTMOptions(channels=4, input_channels=1, kernel_size=(3, 3), channels_last=True)
        >>> ConvLSTMLayer(options).run([Signal(torch.zeros(2, 5, 8, 8, 1))])[0].value.shape
        torch.Size([2, 5, 8, 8, 4])
    """

    kind = "conv_lstm"
    Options = ConvLSTMOptions
    state_count = 2

    def __init__(self, options: ConvLSTMOptions) -> None:
        dimensions = len(options.kernel_size)
        ones = (1,) * dimensions
        core = _CLASSES[dimensions](
            options.channels,
            options.kernel_size,
            stride=options.stride or ones,
            padding=options.padding,
            dilation=options.dilation or ones,
            form=ConvLSTMForm(options.peepholes, options.activation, options.gate_activation),
            recurrent_dropout=options.recurrent_dropout,
        )
        core.build(options.input_channels, options.image_size)
        super().__init__(options, core)
        if not options.bias:
            for name in ("bias_ih_l0", "bias_hh_l0"):
                self.weights.get_parameter(name).requires_grad_(False).zero_()

    @property
    def weights(self) -> nn.Module:
        """The module that has the parameters."""
        return self.core

    def into(self, x: Tensor) -> Tensor:
        """Bring x to (N, T, C, *space)."""
        rank = 3 + len(self.options.kernel_size)
        if x.dim() != rank:
            axes = "*space, channels" if self.options.channels_last else "channels, *space"
            raise self.refuse(f"x has shape {tuple(x.shape)}", f"(batch, time, {axes}) of {rank} axes")
        return x.movedim(-1, 2) if self.options.channels_last else x

    def out_of(self, y: Tensor, sequences: bool) -> Tensor:
        """Bring an output (N, T, F, *space) or (N, F, *space) to the axes that were asked for."""
        return y.movedim(2 if sequences else 1, -1) if self.options.channels_last else y

    def state_into(self, state: Tensor) -> Tensor:
        """Bring a tensor of state to (1, N, F, *space)."""
        return (state.movedim(-1, 1) if self.options.channels_last else state)[None]
