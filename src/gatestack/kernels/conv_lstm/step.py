"""A step of the convolutional LSTM between its convolutions, in the compiled library."""

from __future__ import annotations

import ctypes
import math

import torch
from torch import Tensor

from gatestack.kernels import library
from gatestack.kernels.abi import DTYPES, VERSION, ConvLSTMStep

__all__ = ["NativeStep"]


class NativeStep:
    """Calls `gatestack_conv_lstm_forward` and `…_backward` for step after step of one layer.

    All tensors are contiguous, (n, *space, F) or (n, *space, 4F) for the n rows of a step.

    Args:
        like: of the dtype of the call.
        space: of the state.
        channels: F.
        peephole: (3, *space, F), or None.
    """

    def __init__(self, like: Tensor, space: tuple[int, ...], channels: int, peephole: Tensor | None) -> None:
        self._library = library.load()
        self._peephole = peephole  # kept alive
        self._call = ConvLSTMStep(
            size=ctypes.sizeof(ConvLSTMStep),
            version=VERSION,
            dtype=DTYPES[str(like.dtype).removeprefix("torch.")],
            threads=torch.get_num_threads(),
            positions=math.prod(space),
            channels=channels,
            peephole=_address(peephole),
        )

    def forward(
        self,
        sums_input: Tensor,
        sums_hidden: Tensor | None,
        c_before: Tensor,
        c: Tensor,
        h: Tensor,
        gates: Tensor | None,
    ) -> None:
        """Write c, h and, where wanted, the gates.

        Args:
            sums_input: the input convolution and the biases.
            sums_hidden: the recurrent convolution; None for zeros.
            c_before: the cell state.
            c: the new one; may be c_before.
            h: the output.
            gates: for a backward pass, or None.
        """
        call = self._call
        call.rows, call.sums_input = len(sums_input), sums_input.data_ptr()
        call.sums_hidden, call.gates = _address(sums_hidden), _address(gates)
        call.c_before, call.c, call.h = c_before.data_ptr(), c.data_ptr(), h.data_ptr()
        status = self._library.raw.gatestack_conv_lstm_forward(call)
        self._library.check(status, "gatestack_conv_lstm_forward")

    def backward(
        self,
        gates: Tensor,
        c_before: Tensor,
        d_y: Tensor | None,
        d_h: Tensor,
        d_c: Tensor,
        d_gates: Tensor,
        d_peephole: Tensor | None,
    ) -> None:
        """Write d_gates, the gradient of the sums, and turn d_c from that of c into that of c_before.

        Args:
            gates: as forward wrote them.
            c_before: the cell state before the step.
            d_y: gradient of the output of the step; None for zeros.
            d_h: gradient of h through the next step, added to d_y.
            d_c: gradient of c.
            d_gates: where the gradients of the sums go.
            d_peephole: (3, *space, F), added to; where there is a peephole.
        """
        call = self._call
        call.rows, call.gates, call.c_before = len(gates), gates.data_ptr(), c_before.data_ptr()
        call.grad_y, call.grad_h, call.grad_c = _address(d_y), d_h.data_ptr(), d_c.data_ptr()
        call.grad_gates, call.grad_peephole = d_gates.data_ptr(), _address(d_peephole)
        status = self._library.raw.gatestack_conv_lstm_backward(call)
        self._library.check(status, "gatestack_conv_lstm_backward")


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
