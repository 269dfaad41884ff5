"""`ConvLSTM2D` of Keras with another loop over time, and nothing else of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import torch
from torch import Tensor

from gatestack.compat.keras.files import written_as_keras
from gatestack.compat.keras.layer_call import tell, why_not_layer
from gatestack.compat.keras.masked_steps import as_keras_gives, real_steps
from gatestack.compat.keras.weights import conv_weights_of
from gatestack.kernels.backend import choose_backend
from gatestack.kernels.conv_lstm import ConvSpec, lacking, run_conv_lstm

__all__ = ["ConvLSTM2D"]


@written_as_keras
class ConvLSTM2D(keras.layers.ConvLSTM2D):
    """`keras.layers.ConvLSTM2D` on the compiled kernels: arguments, weights and results are Keras'.

    What runs on Keras' own code, and says so in the log once: activations other than tanh and sigmoid,
    `dropout` and `recurrent_dropout` in training, another device than the CPU, float16.

    Example:
        >>> import keras
        >>> layer = ConvLSTM2D(4, 3, padding="same", return_sequences=True)
        >>> layer(keras.ops.ones((2, 5, 8, 8, 1))).shape
        torch.Size([2, 5, 8, 8, 4])
    """

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: Any = False) -> Any:
        """Run over sequences (N, T, Y, X, C), or with channels first (N, T, C, Y, X)."""
        real = mask[0] if isinstance(mask, list | tuple) else mask
        reason = why_not_layer(self, training)
        if reason is None and _takes(self, sequences, initial_state, real):
            return _run(self, sequences, list(initial_state), real)
        tell(self, reason or "")
        return super().inner_loop(sequences, initial_state, mask, training)  # type: ignore[no-untyped-call]


def _takes(layer: Any, x: Any, states: Sequence[Any], mask: Any) -> bool:
    """Whether the kernels take these tensors; what they do not take is for Keras to compute or refuse."""
    if not isinstance(x, Tensor) or x.device.type == "meta" or torch.compiler.is_exporting():
        return False
    kernel = layer.cell.kernel.value
    channels = x.shape[2] if layer.data_format == "channels_first" else x.shape[-1]
    if x.dim() != 5 or channels != kernel.shape[-2] or x.numel() == 0:
        return False
    if mask is not None and (not isinstance(mask, Tensor) or mask.shape != x.shape[:2]):
        return False
    if mask is not None and not bool(mask.any()):
        return False  # the result would hang on no weight, and training could not go through it
    shape = tuple(layer.cell.compute_output_shape((x.shape[0], *x.shape[2:]))[0])
    for state in states:
        if not isinstance(state, Tensor) or state.dtype != kernel.dtype or tuple(state.shape) != shape:
            return False
    return x.dtype == kernel.dtype and choose_backend(x, lacking=lacking(_spec(layer), x)) == "native"


def _spec(layer: Any) -> ConvSpec:
    """Say what geometry a layer has; its activations are the kernels', which `why_not_layer` has seen to."""
    return ConvSpec(stride=layer.strides, dilation=layer.dilation_rate, same=layer.padding == "same")


def _run(
    layer: Any, x: Tensor, states: Sequence[Tensor], mask: Tensor | None
) -> tuple[Tensor, Tensor, list[Tensor]]:
    first = layer.data_format == "channels_first"
    real = real_steps(mask)
    if layer.go_backwards:
        x = x.flip(1)
        real = None if real is None else real.flip(1)
    initial = None  # where Keras starts from zeros, the first step needs no recurrent convolution
    if any(state.requires_grad or bool(state.any()) for state in states):
        # Copies of a stateful layer's: Keras writes the final ones into the same memory, before the backward
        # pass reads it.
        copied = layer.stateful and torch.is_grad_enabled()
        h, c = [state.clone() for state in states] if copied else states
        initial = (h, c) if first else (h.movedim(-1, 1), c.movedim(-1, 1))
    y, *finals = run_conv_lstm(
        _spec(layer),
        x if first else x.movedim(-1, 2),
        initial,
        conv_weights_of(layer.cell),
        mask=real,
        sequences=layer.return_sequences,
    )
    if not first:
        finals = [final.movedim(1, -1) for final in finals]
        y = y.movedim(2, -1) if layer.return_sequences else y
    return as_keras_gives(layer, y, finals, real)
