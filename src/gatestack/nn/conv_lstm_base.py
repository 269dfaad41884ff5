"""What the convolutional LSTM layers are, whatever the dimensions of their images."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias, get_args

import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError, check_choice, check_share, check_whole
from gatestack.kernels.backend import shown_backend
from gatestack.kernels.conv_lstm import ConvSpec, ConvWeights, lacking, run_conv_lstm
from gatestack.nn.activations import ACTIVATIONS
from gatestack.nn.checks import check_like, check_states, kind
from gatestack.nn.conv_lstm_options import (
    ConvLSTMForm,
    Padding,
    Size,
    axes_of,
    check_sizes,
    shown_sizes,
)
from gatestack.nn.layer import SequenceLayer
from gatestack.nn.parameters import declare_parameters, draw_parameter
from gatestack.nn.steps import Lengths, Mask, Steps

__all__ = ["ConvLSTM", "ConvState"]

ConvState: TypeAlias = tuple[Tensor, Tensor]


class ConvLSTM(SequenceLayer):
    r"""Base of `ConvLSTM1D`, `ConvLSTM2D` and `ConvLSTM3D`: an LSTM whose products are convolutions.

    With ∗ a convolution, ∘ the product element by element, σ the logistic function, at each step

        i = σ(W_ii ∗ X + b_ii + W_hi ∗ H + b_hi)
        f = σ(W_if ∗ X + b_if + W_hf ∗ H + b_hf)
        g = tanh(W_ig ∗ X + b_ig + W_hg ∗ H + b_hg)
        o = σ(W_io ∗ X + b_io + W_ho ∗ H + b_ho)
        C = f ∘ C + i ∘ g
        H = o ∘ tanh(C)

    Peepholes and other activations are the matter of `ConvLSTMForm`. As everywhere, a convolution does not
    mirror its kernel. W_i ∗ X has the stride, the padding and the dilation that are given; W_h ∗ H has
    stride and dilation 1 and keeps the size of the image, with zeros around it. Padding follows TensorFlow: a
    total of max((⌈n/s⌉ − 1)·s + (k − 1)·d + 1 − n, 0) zeros along an axis of n positions, half of them,
    rounded down, in front; the recurrent convolution likewise with s = d = 1.

    Parameters, gates stacked in the order i f g o: `weight_ih_l0` (4·F, C, *k), `weight_hh_l0` (4·F, F, *k),
    `bias_ih_l0` and `bias_hh_l0` (4·F,), and `peephole_l0` (3, F) or (3, F, *space_out), in the order i f o.
    They are made when C is known, `peephole_l0` of "positions" when the size of the image is known as well:
    in the constructor, by `build`, by `load_state_dict`, or at the first call. Each gate's block of
    `weight_ih` starts Glorot uniform, of `weight_hh` orthogonal; biases and peepholes zero but for the bias
    of the forget gate.

    Args:
        channels: F, of the output and the state, at least 1.
        kernel_size: k, of both convolutions: one number, or one for each dimension of space.
        input_channels: C, or None to take it from the first input.
        stride: of the input convolution, as `kernel_size`. Default 1.
        padding: of the input convolution, "same" (default): ⌈n / stride⌉ positions come out; "valid": none.
        dilation: of the input convolution, as `kernel_size`. Default 1.
        return_sequences: output every step (default); otherwise only the final H.
        forget_bias: b_if at the start. Default 1.0.
        form: peepholes and activations; None for the plain cell.
        recurrent_dropout: probability with which elements of H are left out of W_h ∗ H in training, the same
            ones at all steps of a row (Gal & Ghahramani 2016), from 0 (default) up to but not including 1.

    Raises:
        ArgumentError: a value outside its range; at a call, a shape, dtype or device that does not fit.

    Note:
        Keras draws recurrent dropout for each gate on its own; here one mask serves all four, as in the other
        layers. `gatestack.compat.keras.ConvLSTM2D` draws as Keras does.

        Under `torch.compile` a layer is torch's operators, in one graph; with lengths or a mask the graph
        breaks where they are read, because which steps are real is not known before the call.

    Example:
        >>> import torch
        >>> from gatestack.nn import ConvLSTM2D
        >>> layer = ConvLSTM2D(4, kernel_size=3, stride=2)
        >>> output, (h, c) = layer(torch.zeros(2, 5, 1, 16, 16), lengths=[5, 3])
        >>> output.shape, h.shape
        (torch.Size([2, 5, 4, 8, 8]), torch.Size([1, 2, 4, 8, 8]))

    Source:
        Shi et al. 2015, "Convolutional LSTM Network: A Machine Learning Approach for Precipitation
        Nowcasting", Eq. 3; stride, padding and dilation as in Keras' ConvLSTM2D.
    """

    dimensions: ClassVar[int]
    input_size: int | None = None
    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor
    peephole_l0: Tensor | None

    def __init__(
        self,
        channels: int,
        kernel_size: Size,
        input_channels: int | None = None,
        *,
        stride: Size = 1,
        padding: Padding = "same",
        dilation: Size = 1,
        return_sequences: bool = True,
        forget_bias: float = 1.0,
        form: ConvLSTMForm | None = None,
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        check_choice("padding", padding, get_args(Padding), owner=owner)
        if isinstance(forget_bias, bool) or not isinstance(forget_bias, int | float):
            raise ArgumentError(f"forget_bias={forget_bias!r}", where=owner, expected="a number")
        if form is not None and not isinstance(form, ConvLSTMForm):
            raise ArgumentError(
                f"form is of type {type(form).__name__}", where=owner, expected="a ConvLSTMForm, or None"
            )
        self.channels = check_whole("channels", channels, owner=owner)
        self.kernel_size = check_sizes("kernel_size", kernel_size, self.dimensions, owner=owner)
        self.stride = check_sizes("stride", stride, self.dimensions, owner=owner)
        self.padding = padding
        self.dilation = check_sizes("dilation", dilation, self.dimensions, owner=owner)
        self.return_sequences = return_sequences
        self.forget_bias = float(forget_bias)
        self.form = form or ConvLSTMForm()
        self.recurrent_dropout = check_share("recurrent_dropout", recurrent_dropout, owner=owner)
        self._spec = ConvSpec(
            self.stride,
            self.dilation,
            padding == "same",
            ACTIVATIONS[self.form.activation],
            ACTIVATIONS[self.form.gate_activation],
        )
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "peephole_l0")
        declare_parameters(self, names, None)
        self._like: Tensor
        self.register_load_state_dict_pre_hook(_size_peepholes)  # type: ignore[no-untyped-call]
        if input_channels is not None:
            self.build(check_whole("input_channels", input_channels, owner=owner))

    @property
    def output_size(self) -> int:
        """F, channels of the output."""
        return self.channels

    def output_space(self, space: tuple[int, ...]) -> tuple[int, ...]:
        """Give the size of the output image for that of an input image.

        Raises:
            ArgumentError: the image is smaller than the kernel, or has another number of dimensions.

        Example:
            >>> from gatestack.nn import ConvLSTM2D
            >>> ConvLSTM2D(4, 3, padding="valid").output_space((16, 16))
            (14, 14)
        """
        owner = type(self).__name__
        if len(space) != self.dimensions:
            raise ArgumentError(
                f"an image of the size {tuple(space)}", where=owner, expected=f"({axes_of(self.dimensions)})"
            )
        found = self._spec.output_space(tuple(space), self.kernel_size)
        if min(found) < 1:
            reach = tuple((k - 1) * d + 1 for k, d in zip(self.kernel_size, self.dilation, strict=True))
            least = "1 or more" if self.padding == "same" else f"at least {reach}, which the kernel spans"
            raise ArgumentError(
                f"an image of the size ({axes_of(self.dimensions)}) = {tuple(space)}",
                where=owner,
                expected=least,
            )
        return found

    def build(self, input_size: int, image_size: tuple[int, ...] | None = None) -> ConvLSTM:
        """Make the parameters for inputs of `input_size` channels; nothing happens where they exist already.

        Args:
            input_size: C.
            image_size: positions of an input image along each dimension; only peepholes of "positions" need
                it, which the first call makes otherwise.

        Returns:
            The layer itself.

        Raises:
            ArgumentError: the layer was built for another number of channels, or another size of image.

        Example:
            >>> from gatestack.nn import ConvLSTM1D
            >>> ConvLSTM1D(4, 3).build(2).weight_ih_l0.shape
            torch.Size([16, 2, 3])
        """
        owner = type(self).__name__
        C = check_whole("input_size", input_size, owner=owner)
        if self.input_size not in (None, C):
            raise ArgumentError(
                f"input_size {C}", where=owner, expected=f"{self.input_size}, for which the layer was built"
            )
        space = None if image_size is None else self.output_space(tuple(image_size))
        F, k = self.channels, self.kernel_size
        shapes: dict[str, tuple[int, ...]] = {}
        if self.input_size is None:
            shapes = {"weight_ih_l0": (4 * F, C, *k), "weight_hh_l0": (4 * F, F, *k)}
            shapes |= {"bias_ih_l0": (4 * F,), "bias_hh_l0": (4 * F,)}
        if self.form.peepholes is not None and self.peephole_l0 is None:
            if self.form.peepholes == "channels":
                shapes["peephole_l0"] = (3, F)
            elif space is not None:
                shapes["peephole_l0"] = (3, F, *space)
        elif space is not None and self.form.peepholes == "positions":
            self._check_space(space)
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(self._like.new_empty(shape)))
        self.input_size = C
        self._draw(*shapes)
        return self

    def reset_parameters(self) -> None:
        """Draw the weights anew from torch's random state (see the class for the distributions).

        Example:
            >>> from gatestack.nn import ConvLSTM2D
            >>> layer = ConvLSTM2D(1, 3, input_channels=2)
            >>> layer.reset_parameters()
            >>> layer.bias_ih_l0.tolist()
            [0.0, 1.0, 0.0, 0.0]
        """
        self._draw(*(name for name, parameter in self.named_parameters(recurse=False)))

    @torch.no_grad()
    def _draw(self, *names: str) -> None:
        for name in names:
            parameter = getattr(self, name)
            draw_parameter(name, parameter, 4)
            if name == "bias_ih_l0":
                parameter[self.channels : 2 * self.channels] = self.forget_bias

    def check_input(self, x: object, owner: str) -> Tensor:
        """Refuse an x that is not (N, T, C, *space) in the dtype and on the device of the parameters.

        Returns:
            x.
        """
        if not isinstance(x, Tensor):
            raise ArgumentError(
                f"x is {kind(x)}", where=owner, expected="a torch.Tensor", hint="torch.as_tensor(x) makes one"
            )
        if x.dim() != 3 + self.dimensions or self.input_size not in (None, x.shape[2]):
            width = "channels" if self.input_size is None else str(self.input_size)
            hint = None
            if x.dim() == 3 + self.dimensions and x.shape[-1] == self.input_size:
                hint = "channels come before the image here: x.movedim(-1, 2)"
            raise ArgumentError(
                f"x has shape {tuple(x.shape)}",
                where=owner,
                expected=f"(batch, time, {width}, {axes_of(self.dimensions)})",
                hint=hint,
            )
        check_like("x", x, self._like, owner)
        return x

    def forward(
        self,
        x: Tensor,
        state: ConvState | None = None,
        *,
        lengths: Lengths | None = None,
        mask: Mask | None = None,
    ) -> tuple[Tensor, ConvState]:
        """Run the layer over a batch.

        Args:
            x: (N, T, C, *space), in the dtype and on the device of the parameters. N = 0 and T = 0 are fine.
            state: (H, C), each (1, N, F, *space_out); None for zeros.
            lengths: (N,) whole numbers from 0 to T, the real steps of each row; None means all.
            mask: (N, T) bool, True where a step is real; instead of lengths.

        Returns:
            output, state. `output` is (N, T, F, *space_out), zero at steps that are not real; with
            `return_sequences=False` the final H, (N, F, *space_out). `state` is (H, C) after each row's last
            real step, each (1, N, F, *space_out). On a CPU the output stands in memory with channels last.

        Raises:
            ArgumentError: a shape, dtype or device that does not fit, a length outside 0 to T.
        """
        owner = type(self).__name__
        self.check_input(x, owner)
        space = self.output_space(tuple(x.shape[3:]))
        if self.input_size is None or (self.form.peepholes is not None and self.peephole_l0 is None):
            self.build(x.shape[2], tuple(x.shape[3:]))
        self._check_space(space)
        steps = Steps.read(x, lengths, mask, owner)
        shape = (x.shape[0], self.channels, *space)
        given = None
        if state is not None:
            h, c = check_states(state, ("h", "c"), [(1, *shape)] * 2, self._like, owner)
            given = (h[0], c[0])
        factors = None
        if self.training and self.recurrent_dropout:
            factors = nn.functional.dropout(x.new_ones(shape), self.recurrent_dropout)
        output, h_n, c_n = run_conv_lstm(
            self._spec,
            x,
            given,
            self.weights(),
            lengths=steps.lengths,
            mask=steps.mask,
            factors=factors,
            sequences=self.return_sequences,
        )
        return output, (h_n[None], c_n[None])

    def weights(self) -> ConvWeights:
        """Give the parameters as the kernels take them.

        Returns:
            (4F, C, *k), (4F, F, *k), the sum of the biases (4F,), and the peepholes, with as many dimensions
            as a map of each gate (3, F, *space_out) has.
        """
        peephole = self.peephole_l0
        if peephole is not None:
            peephole = peephole.view(3, self.channels, *(peephole.shape[2:] or (1,) * self.dimensions))
        return ConvWeights(self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0 + self.bias_hh_l0, peephole)

    def extra_repr(self) -> str:
        """Sizes first, then every setting that is not its default, and the backend where it is not native."""
        parts = [str(self.channels), f"kernel_size={shown_sizes(self.kernel_size)}"]
        parts += [f"input_channels={'?' if self.input_size is None else self.input_size}"]
        geometry = {"stride": self.stride, "dilation": self.dilation}
        parts += [f"{name}={shown_sizes(sizes)}" for name, sizes in geometry.items() if set(sizes) != {1}]
        if self.padding != "same":
            parts += [f"padding={self.padding!r}"]
        if not self.return_sequences:
            parts += ["return_sequences=False"]
        if self.forget_bias != 1.0:
            parts += [f"forget_bias={self.forget_bias:g}"]
        if self.form != ConvLSTMForm():
            parts += [f"form={self.form!r}"]
        if self.recurrent_dropout:
            parts += [f"recurrent_dropout={self.recurrent_dropout:g}"]
        backend = shown_backend(self._like, lacking=lacking(self._spec, self._like))
        if backend is not None:
            parts += [f"backend={backend!r}"]
        return ", ".join(parts)

    def _check_space(self, space: tuple[int, ...]) -> None:
        peephole = self.peephole_l0
        if self.form.peepholes == "positions" and peephole is not None and peephole.shape[2:] != space:
            raise ArgumentError(
                f"an output of the size ({axes_of(self.dimensions)}) = {space}",
                where=type(self).__name__,
                expected=f"{tuple(peephole.shape[2:])}, which the peepholes have",
                hint="peepholes='channels' fit every size",
            )


def _size_peepholes(
    layer: ConvLSTM,
    state_dict: dict[str, Any],
    prefix: str,
    *_: object,  # torch calls the hook with seven arguments
) -> None:
    """Let peepholes per position take their size from the weights that are about to be loaded."""
    peephole = state_dict.get(prefix + "peephole_l0")
    if (
        layer.form.peepholes == "positions"
        and layer.peephole_l0 is None
        and isinstance(peephole, Tensor)
        and peephole.shape[:2] == (3, layer.channels)
        and peephole.dim() == 2 + layer.dimensions
    ):
        layer.register_parameter("peephole_l0", nn.Parameter(layer._like.new_zeros(peephole.shape)))
