"""`Bidirectional` of Keras: both directions in one call of the kernels where they are alike."""

from __future__ import annotations

from typing import Any

import keras
import torch
from torch import Tensor

from gatestack.compat.keras.files import written_as_keras
from gatestack.compat.keras.layer_call import cell_name, takes, why_not_layer
from gatestack.compat.keras.layers import GRU, LSTM, SimpleRNN
from gatestack.compat.keras.masked_steps import real_steps
from gatestack.compat.keras.weights import weights_of
from gatestack.compat.specs import spec_of
from gatestack.kernels.recurrent import run_stack
from gatestack.nn.merge import Merge, merged

__all__ = ["Bidirectional"]

_MERGES: dict[str, Merge] = {"concat": "concat", "sum": "sum", "mul": "mul", "ave": "average"}
_OURS = {keras.layers.LSTM: LSTM, keras.layers.GRU: GRU, keras.layers.SimpleRNN: SimpleRNN}


@written_as_keras
class Bidirectional(keras.layers.Bidirectional):
    """`keras.layers.Bidirectional` on the compiled kernels: arguments, weights and results are Keras'.

    A `keras.layers.LSTM`, `GRU` or `SimpleRNN` given to it runs on the kernels as well.

    Args:
        layer: a recurrent layer of Keras or of Gatestack; it is copied, as Keras does.
        merge_mode: "concat", "sum", "mul", "ave", or None for both outputs.
        weights: initial weights, those of the forward layer first.
        backward_layer: a layer of its own for the other direction, with the other `go_backwards`.
        **kwargs: `name`, `dtype`, `trainable` of every layer of Keras.

    Example:
        >>> import keras
        >>> layer = Bidirectional(LSTM(8, return_sequences=True), merge_mode="sum")
        >>> layer(keras.ops.ones((4, 10, 3))).shape
        torch.Size([4, 10, 8])
    """

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            layer, merge_mode=merge_mode, weights=weights, backward_layer=backward_layer, **kwargs
        )
        # Keras makes the two layers from a configuration, which names Keras' own classes.
        for one in (self.forward_layer, self.backward_layer):
            if type(one) in _OURS:
                one.__class__ = _OURS[type(one)]

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None) -> Any:
        """Run over sequences (N, T, C) both ways; (N, T, 2H) or (N, 2H) with "concat"."""
        states = None if initial_state is None else list(initial_state)
        if _alike(self, training) and _takes(self, sequences, states, mask, training):
            return _run(self, sequences, states, mask)
        return super().call(  # type: ignore[no-untyped-call]
            sequences, initial_state=initial_state, mask=mask, training=training
        )


def _alike(both: Any, training: Any) -> bool:
    """Whether one call of the kernels computes what the two layers would, one after the other."""
    forward, backward = both.forward_layer, both.backward_layer
    for layer in (forward, backward):
        if type(layer) not in _OURS.values() or not layer.built or layer.stateful:
            return False
        if layer.dropout or layer.recurrent_dropout:  # each draws masks of its own
            return False
        if layer.activity_regularizer is not None or layer.compute_dtype != both.compute_dtype:
            return False
        if layer.zero_output_for_mask != both.return_sequences or why_not_layer(layer, training) is not None:
            return False
    return (
        type(forward) is type(backward)
        and backward.go_backwards
        and forward.units == backward.units
        and cell_name(forward.cell) == cell_name(backward.cell)
    )


def _takes(both: Any, x: Any, states: Any, mask: Any, training: Any) -> bool:
    """Whether the kernels take these tensors; states are those of the forward layer, then the others."""
    if states is None:
        return takes(both.forward_layer, x, (), mask, training)
    count = len(both.forward_layer.state_size)
    return len(states) == 2 * count and takes(both.forward_layer, x, states, mask, training)


def _run(both: Any, x: Tensor, states: list[Tensor] | None, mask: Tensor | None) -> Any:
    forward, backward = both.forward_layer.cell, both.backward_layer.cell
    if not x.is_floating_point():
        x = x.to(forward.kernel.value.dtype)
    real = real_steps(mask)
    initial = None
    if states is not None:
        half = len(states) // 2
        initial = tuple(torch.stack(pair) for pair in zip(states[:half], states[half:], strict=True))
    result = run_stack(
        spec_of(cell_name(forward) or "", x.shape[2], forward.units, directions=2),
        x,
        [initial],
        [[weights_of(forward), weights_of(backward)]],
        mask=real,
    )
    finals = result.finals[0]
    found: Any
    if both.return_sequences and both.merge_mode == "concat":
        found = result.output  # as the kernels give it
    elif both.return_sequences:
        found = _merged(both.merge_mode, *result.output.chunk(2, dim=2))
    else:
        last = finals[0]  # -> (2, N, H)
        if real is not None:
            last = last.masked_fill(~real.any(dim=1).unsqueeze(1), 0.0)
        found = _merged(both.merge_mode, *last.unbind())
    if not both.return_state:
        return found
    ends = tuple(final[direction] for direction in (0, 1) for final in finals)
    return found + ends if both.merge_mode is None else (found, *ends)


def _merged(mode: str | None, one: Tensor, other: Tensor) -> Any:
    return (one, other) if mode is None else merged(one, other, _MERGES[mode], dim=-1)
