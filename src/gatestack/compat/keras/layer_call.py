"""One run of a recurrent layer of Keras over time, brought to the form of the kernels and back.

What the kernels do not take goes to Keras' own code, which computes it, or refuses it in the words that
people know; so there are no messages here, but for the log, which says once why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch
from torch import Tensor

from gatestack.compat.keras.masked_steps import as_keras_gives, real_steps
from gatestack.compat.keras.weights import weights_of
from gatestack.compat.specs import spec_of
from gatestack.kernels.backend import choose_backend, say_once
from gatestack.kernels.recurrent import run_stack

__all__ = ["cell_name", "run_layer", "takes", "tell", "why_not_layer"]

_TANH = (keras.activations.tanh, keras.ops.tanh, torch.tanh)
_SIGMOID = (keras.activations.sigmoid, keras.ops.sigmoid, torch.sigmoid)
_RELU = (keras.activations.relu, keras.ops.relu, torch.relu)


def run_layer(
    layer: Any, own: Callable[..., Any], sequences: Any, initial_state: Any, mask: Any, training: Any
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Run a layer on the kernels where they can, else on Keras' own code.

    Args:
        layer: a built `LSTM`, `GRU` or `SimpleRNN` of Keras.
        own: its `inner_loop` in Keras.
        sequences: (N, T, C).
        initial_state: h or (h, c), (N, H) each.
        mask: (N, T), True where a step is real, or None.
        training: whether dropout is drawn.

    Returns:
        The last output (N, H); the outputs (N, T, H), or (N, 1, H) without `return_sequences`; the states.
    """
    real = mask[0] if isinstance(mask, list | tuple) else mask
    states = list(initial_state) if isinstance(initial_state, list | tuple) else [initial_state]
    reason = why_not_layer(layer, training)
    if reason is None and not takes(layer, sequences, states, real, training):
        reason = ""
    if reason is not None:
        tell(layer, reason)
        return own(layer, sequences, initial_state, mask, training)  # type: ignore[no-any-return]
    return _run(layer, sequences, states, real, training)


def why_not_layer(layer: Any, training: Any) -> str | None:
    """Say why a layer with these settings is not for the kernels, "" for a reason not worth the log."""
    cell = layer.cell
    if cell_name(cell) is None:
        names = [
            getattr(function, "__name__", type(function).__name__)
            for function in (cell.activation, getattr(cell, "recurrent_activation", None))
            if function is not None
        ]
        return f"its activations are {', '.join(names)}"
    if getattr(layer, "use_cudnn", None) is True:
        return "use_cudnn=True names Keras' code"
    if training and cell.recurrent_dropout:
        return "recurrent_dropout in training has masks for each gate"
    if training and cell.dropout and getattr(cell, "dropout_mask_count", None) is not None:
        return "its dropout in training has masks for each gate"
    return "" if training and cell.dropout == 1 else None


def cell_name(cell: Any) -> str | None:
    """Say which cell of the kernels a cell of Keras is; None where its activations are others.

    Example:
        >>> cell_name(keras.layers.GRUCell(4)), cell_name(keras.layers.GRUCell(4, activation="relu"))
        ('gru', None)
    """
    if not hasattr(cell, "recurrent_activation"):
        return "rnn_tanh" if cell.activation in _TANH else "rnn_relu" if cell.activation in _RELU else None
    if cell.activation not in _TANH or cell.recurrent_activation not in _SIGMOID:
        return None
    if not hasattr(cell, "reset_after"):
        return "lstm"
    return "gru" if cell.reset_after else "gru_reset_before"


def takes(layer: Any, x: Any, states: Sequence[Any], mask: Any, training: Any) -> bool:
    """Whether the kernels take these tensors; what they do not take is for Keras to compute or refuse."""
    if not isinstance(x, Tensor) or x.device.type == "meta" or torch.compiler.is_exporting():
        return False
    kernel = layer.cell.kernel.value
    if x.dim() != 3 or x.shape[2] != kernel.shape[0] or x.numel() == 0:
        return False
    if x.is_floating_point():
        if x.dtype != kernel.dtype:
            return False
    elif training and layer.cell.dropout:
        return False
    shape = (x.shape[0], layer.cell.units)
    for state in states:
        if not isinstance(state, Tensor) or state.dtype != kernel.dtype or tuple(state.shape) != shape:
            return False
    if mask is not None and (not isinstance(mask, Tensor) or mask.shape != x.shape[:2]):
        return False
    return choose_backend(x if x.is_floating_point() else kernel) == "native"


def tell(layer: Any, reason: str) -> None:
    """Log once that a layer runs on Keras' own code."""
    if reason and not torch.compiler.is_compiling():
        name = type(layer).__name__
        say_once(f"a layer {name} of gatestack.compat.keras runs on Keras' own code, because {reason}")


def _run(
    layer: Any, x: Tensor, states: list[Tensor], mask: Tensor | None, training: Any
) -> tuple[Tensor, Tensor, list[Tensor]]:
    cell = layer.cell
    if not x.is_floating_point():
        x = x.to(cell.kernel.value.dtype)
    if training and cell.dropout:
        x = x * cell.get_dropout_mask(x[:, 0]).unsqueeze(1)
    real = real_steps(mask)
    if layer.go_backwards:
        x = x.flip(1)
        real = None if real is None else real.flip(1)
    if layer.stateful and torch.is_grad_enabled():
        # Keras writes the final ones into the same memory, before the backward pass reads it.
        states = [state.clone() for state in states]
    weights = weights_of(cell)
    result = run_stack(
        spec_of(cell_name(cell) or "", x.shape[2], cell.units),
        x,
        [tuple(state.unsqueeze(0) for state in states)],
        [[weights]],
        mask=real,
    )
    return as_keras_gives(layer, result.output, [final.squeeze(0) for final in result.finals[0]], real)
