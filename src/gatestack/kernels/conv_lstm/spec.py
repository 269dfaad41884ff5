"""What a convolutional LSTM is, apart from its tensors: its geometry, its weights, its convolutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["ConvSpec", "ConvWeights", "Sizes"]

Sizes: TypeAlias = tuple[int, ...]

# A convolution of oneDNN whose result is added to a tensor; None in a torch that was built without it.
_ONTO: Any = getattr(torch.ops.mkldnn, "_convolution_pointwise_", None)


class ConvWeights(NamedTuple):
    """The parameters of a layer, k the size of the kernel; gates i f g o.

    Args:
        weight_ih: (4F, C, *k).
        weight_hh: (4F, F, *k).
        bias: (4F,), the sum of the two biases.
        peephole: (3, F, 1, …) or (3, F, *space), of i, f and o; None for none.
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor
    peephole: Tensor | None

    def raised(self) -> ConvWeights:
        """Give kernels over one dimension a second one, of size 1."""
        peephole = None if self.peephole is None else self.peephole.unsqueeze(-2)
        return ConvWeights(self.weight_ih.unsqueeze(-2), self.weight_hh.unsqueeze(-2), self.bias, peephole)


@dataclass(frozen=True)
class ConvSpec:
    """The geometry of the input convolution, and what squashes.

    The recurrent convolution has stride and dilation 1, and its output is as large as its input.

    Args:
        stride: one number per dimension of space, at least 1, as all of these.
        dilation: likewise.
        same: pad with zeros, so that the output has ⌈in / stride⌉ positions; otherwise not at all.
        activation: of the candidate and of the cell state.
        gate_activation: of i, f and o.

    Example:
        >>> ConvSpec(stride=(2, 2), dilation=(1, 1), same=True).output_space((7, 8), (3, 3))
        (4, 4)
    """

    stride: Sizes
    dilation: Sizes
    same: bool = True
    activation: Callable[[Tensor], Tensor] = torch.tanh
    gate_activation: Callable[[Tensor], Tensor] = torch.sigmoid

    @property
    def plain(self) -> bool:
        """Whether gates and cell are squashed as the compiled kernels do it."""
        return self.activation is torch.tanh and self.gate_activation is torch.sigmoid

    def raised(self) -> ConvSpec:
        """Give a geometry of one dimension a second one, of size 1."""
        return replace(self, stride=(1, *self.stride), dilation=(1, *self.dilation))

    def output_space(self, space: Sizes, kernel: Sizes) -> Sizes:
        """Give the positions of the output along each dimension; less than 1 where the kernel does not fit.

        Args:
            space: positions of the input.
            kernel: size of the kernel.
        """
        if self.same:
            return tuple(-(-size // s) for size, s in zip(space, self.stride, strict=True))
        return tuple(
            (size - (k - 1) * d - 1) // s + 1
            for size, k, s, d in zip(space, kernel, self.stride, self.dilation, strict=True)
        )

    def padding(self, space: Sizes, kernel: Sizes) -> list[tuple[int, int]]:
        """Say how many zeros stand before and after the input, along each dimension.

        TensorFlow's rule: the total is what ⌈in / stride⌉ outputs need, and an odd one has the larger half
        behind.
        """
        if not self.same:
            return [(0, 0)] * len(space)
        pairs = []
        for size, out, k, s, d in zip(
            space, self.output_space(space, kernel), kernel, self.stride, self.dilation, strict=True
        ):
            total = max((out - 1) * s + (k - 1) * d + 1 - size, 0)
            pairs.append((total // 2, total - total // 2))
        return pairs

    def convolve_input(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Convolve the inputs of any number of steps: (S, C, *space) -> (S, 4F, *space_out)."""
        x, padding = self.padded(x, weight)
        return convolve(x, weight, bias, self.stride, padding, self.dilation)

    def put_convolved_input(self, sums: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> None:
        """Write the convolution of the inputs and the biases to sums (S, 4F, *space_out), channels last."""
        if not _adds_in_place(sums):
            sums.copy_(self.convolve_input(x, weight, bias))
            return
        x, padding = self.padded(x, weight)
        sums.copy_(bias.view(-1, *(1,) * len(padding)))
        _add_convolved(sums, x, weight, self.stride, padding, self.dilation)

    def padded(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Sizes]:
        """Give the input, padded where the convolution cannot do it because the two sides differ.

        Returns:
            The input, and what the convolution itself is to pad on both sides.
        """
        pairs = self.padding(tuple(x.shape[2:]), tuple(weight.shape[2:]))
        if all(before == after for before, after in pairs):
            return x, tuple(before for before, _ in pairs)
        flat = [size for pair in reversed(pairs) for size in pair]  # torch names the last dimension first
        return functional.pad(x, flat), (0,) * len(pairs)


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sizes, padding: Sizes, dilation: Sizes
) -> Tensor:
    """Convolve over as many dimensions as the strides are."""
    function = functional.conv2d if len(stride) == 2 else functional.conv3d
    return function(x, weight, bias, stride, padding, dilation)


def convolve_state(h: Tensor, weight: Tensor) -> Tensor:
    """Convolve the state with a kernel of odd size: (N, F, *space) -> (N, 4F, *space)."""
    ones = (1,) * (h.dim() - 2)
    return convolve(h, weight, None, ones, tuple(size // 2 for size in weight.shape[2:]), ones)


def _adds_in_place(sums: Tensor) -> bool:
    """Whether oneDNN computes convolutions of such tensors, and adds them to what stands there.

    A result of its own would be fresh memory for every convolution, which for large images the operating
    system may take as long to give as the convolution takes.
    """
    return _ONTO is not None and sums.dtype is torch.float32 and bool(torch.backends.mkldnn.enabled)


def _add_convolved(
    sums: Tensor, x: Tensor, weight: Tensor, stride: Sizes, padding: Sizes, dilation: Sizes
) -> None:
    _ONTO(sums, x, weight, None, padding, stride, dilation, 1, "add", 1.0, None, [], None)


def add_convolved_state(sums: Tensor, h: Tensor, weight: Tensor) -> Tensor | None:
    """Add the convolution of the state to sums (N, 4F, *space), channels last.

    Returns:
        None; where that is not possible, what is to be added.
    """
    if not _adds_in_place(sums):
        return convolve_state(h, weight)
    ones = (1,) * (h.dim() - 2)
    _add_convolved(sums, h, weight, ones, tuple(size // 2 for size in weight.shape[2:]), ones)
    return None


def odd_sized(weight: Tensor) -> Tensor:
    """Give a kernel an odd size: a zero in front of an even one stands where TensorFlow does not pad."""
    pads = [even for size in reversed(weight.shape[2:]) for even in ((size + 1) % 2, 0)]
    return functional.pad(weight, pads) if any(pads) else weight
