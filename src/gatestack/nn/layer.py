"""What every layer over time offers, so that stacks, wrappers and exporters can take any of them."""

from __future__ import annotations

from typing import Any, TypeAlias

from torch import Tensor, nn

from gatestack.errors import ArgumentError
from gatestack.nn.checks import check_tensor

__all__ = ["LayerState", "SequenceLayer", "check_layer"]

LayerState: TypeAlias = Any  # tensors in nested tuples; a recursive type would burden all who take one apart
"""What a layer carries over the steps: nested tuples of tensors, or a tensor; the batch is on axis 1."""


class SequenceLayer(nn.Module):
    """Base of all layers over time: `Recurrent`, `Stack`, `ConvLSTM2D`, `Bidirectional`, `Loop` and the like.

    With a step f of the layer, a mask m that is 1 where a step is real and 0 elsewhere, and a state s:

        (y_t, s_t) = m_t · f(x_t, s_{t−1}) + (1 − m_t) · (0, s_{t−1})

    A layer is called as

        output, state = layer(x, state, lengths=lengths, mask=mask)

    with x (N, T, …), time on axis 1 and features on axis 2; state as the layer gave it, or None for its
    initial state; `lengths` (N,) or `mask` (N, T), at most one of them. `output` is (N, T, …), zero at steps
    that are not real, or (N, …) with `return_sequences=False`. In every tensor of the state the batch is on
    axis 1. N = 0 and T = 0 are fine, and a row without a real step keeps its state.

    A class of its own implements `forward` as above, `input_size`, `output_size` and `build`. Where an
    attribute is to stand in the place of one of these properties, the class names it: `input_size: int | None
    = None`.

    Attributes:
        return_sequences: whether the output has every step.

    Example:
        >>> from gatestack.nn import GRU, LSTM, Stack
        >>> all(isinstance(layer, SequenceLayer) for layer in (GRU(4), Stack(LSTM(4), LSTM(4))))
        True
    """

    return_sequences: bool = True

    def __init__(self) -> None:  # torch's own hides what it takes
        super().__init__()

    @property
    def input_size(self) -> int | None:
        """C, features (channels) of the input; None until the layer is built."""
        raise NotImplementedError

    @property
    def output_size(self) -> int | None:
        """Features (channels) of the output; None where only a call can tell."""
        raise NotImplementedError

    @property
    def looks_ahead(self) -> bool:
        """Whether an output depends on later steps, so that the layer cannot run over a stream."""
        return False

    @property
    def gives_pair(self) -> bool:
        """Whether the output is a tuple (forward, reverse) of two, which no layer can stand on."""
        return False

    def build(self, input_size: int) -> SequenceLayer:
        """Make the parameters for inputs of `input_size` features; nothing happens where they exist already.

        Returns:
            The layer itself.

        Raises:
            ArgumentError: the layer was built for another input size.
        """
        raise NotImplementedError

    def check_input(self, x: object, owner: str) -> Tensor:
        """Refuse an x that the layer cannot read, in the name of `owner`, which is about to call it.

        Args:
            x: (N, T, …).
            owner: for the message.

        Returns:
            x.

        Raises:
            ArgumentError: not a tensor, or one without batch and time.
        """
        x = check_tensor(x, owner)
        if x.dim() < 2:
            raise ArgumentError(f"x has shape {tuple(x.shape)}", where=owner, expected="(batch, time, …)")
        return x

    def start(self, x: Tensor) -> LayerState:
        """Give the state from which a call without a state starts.

        Args:
            x: (N, T, …), an input; what it holds does not matter.

        Returns:
            The state, as a call takes it.

        Example:
            >>> import torch
            >>> from gatestack.nn import GRU
            >>> GRU(4).start(torch.ones(2, 3, 5)).tolist() == torch.zeros(1, 2, 4).tolist()
            True
        """
        # No step is taken, so what comes back is what a call starts from.
        return self.forward(x[:, :0])[1]


def check_layer(layer: object, name: str, owner: str) -> SequenceLayer:
    """Refuse what is no layer over time.

    Args:
        layer: as it was given.
        name: what it is called in the message.
        owner: which it was given to.

    Returns:
        The layer.

    Raises:
        ArgumentError: it is something else.
    """
    if not isinstance(layer, SequenceLayer):
        raise ArgumentError(
            f"{name} is a {type(layer).__name__}",
            where=owner,
            expected="LSTM, GRU or RNN of gatestack.nn, or another of its layers",
            hint=_hint(layer),
        )
    return layer


def _hint(layer: object) -> str | None:
    if isinstance(layer, list | tuple):
        return "give layers one by one; Stack(*layers) makes one of several"
    if isinstance(layer, nn.RNNBase):
        return f"gatestack.nn.{type(layer).__name__} takes its weights"
    if hasattr(layer, "advance"):  # a Cell, which stands above this module
        return "Loop(cell) makes a layer of a cell"
    return "PerStep(module) applies a module of torch to every step" if isinstance(layer, nn.Module) else None
