"""A stack whose layers all see the input and are all seen by what follows."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from gatestack.errors import ArgumentError, check_whole
from gatestack.nn.checks import placed
from gatestack.nn.layer import LayerState, SequenceLayer
from gatestack.nn.merge import beside
from gatestack.nn.stack_checks import check_entries, check_layers
from gatestack.nn.steps import Lengths, Mask, Steps

__all__ = ["ShortcutStack"]


class ShortcutStack(SequenceLayer):
    r"""Layers on top of each other, with shortcuts from the input to every layer and from every layer out.

    With x the input, (a | b) for a and b side by side:

        y¹ = layer₁(x)
        yˡ = layerₗ(yˡ⁻¹ | x)                  for l = 2 … L
        y  = (y¹ | y² | … | yᴸ)

    The way from x to a layer, and from a layer to the output, is then one step long at any depth. Each layer
    has a call of its own.

    Args:
        layers: two or more layers that return sequences, the lowest first.
        input_size: C, or None to take it from the first input.
        return_sequences: output every step (default); otherwise only each row's last real step.

    Raises:
        ArgumentError: fewer than two layers, a layer twice, a layer with `return_sequences=False`,
            `return_sequences=False` over a layer of two directions, whose reverse half has read one step
            only at the last one; at a call, what the layers refuse.

    Example:
        >>> import torch
        >>> from gatestack.nn import LSTM
        >>> stack = ShortcutStack(LSTM(8), LSTM(4))
        >>> output, states = stack(torch.zeros(2, 5, 3))
        >>> output.shape, stack.layers[1].input_size
        (torch.Size([2, 5, 12]), 11)

    Source:
        Graves 2013, "Generating Sequences With Recurrent Neural Networks", Eq. 1 to 3; among the ways of
        being deep: Pascanu et al. 2013, "How to Construct Deep Recurrent Neural Networks".
    """

    def __init__(
        self,
        *layers: SequenceLayer,
        input_size: int | None = None,
        return_sequences: bool = True,
    ) -> None:
        super().__init__()
        check_layers(layers, "ShortcutStack")
        if len(layers) < 2:
            raise ArgumentError("one layer", where="ShortcutStack", expected="two or more")
        if not layers[-1].return_sequences or layers[-1].gives_pair:
            raise ArgumentError(
                "the last layer does not give one output at every step",
                where="ShortcutStack",
                expected="return_sequences=True and one output",
                hint="ShortcutStack(..., return_sequences=False) takes the last step of all layers",
            )
        if not return_sequences and any(layer.looks_ahead for layer in layers):
            raise ArgumentError(
                "return_sequences=False over a layer of two directions",
                where="ShortcutStack",
                expected="return_sequences=True, or layers of one direction",
                hint="at the last step the reverse direction has read one step only",
            )
        self.layers = nn.ModuleList(layers)
        self.return_sequences = return_sequences
        if input_size is not None:
            self.build(input_size)

    @property
    def input_size(self) -> int | None:
        """C, features of the input; None until the lowest layer is built."""
        return self._all_layers()[0].input_size

    @property
    def output_size(self) -> int | None:
        """Features of the output, those of all layers; None where only a call can tell."""
        sizes = [layer.output_size for layer in self._all_layers()]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def looks_ahead(self) -> bool:
        """Whether an output depends on later steps: with a layer of two directions."""
        return any(layer.looks_ahead for layer in self._all_layers())

    def build(self, input_size: int) -> ShortcutStack:
        """Make the parameters of every layer for inputs of `input_size` features.

        Returns:
            The stack itself.

        Raises:
            ArgumentError: a layer was built for another size.
        """
        size = check_whole("input_size", input_size, owner="ShortcutStack")
        below: int | None = 0
        for layer in self._all_layers():
            if below is not None:
                layer.build(below + size)
            below = layer.output_size
        return self

    def check_input(self, x: object, owner: str) -> Tensor:
        """Refuse an x that the lowest layer cannot read.

        Returns:
            x.
        """
        return self._all_layers()[0].check_input(x, owner)

    def forward(
        self,
        x: Tensor,
        state: Sequence[LayerState | None] | None = None,
        *,
        lengths: Lengths | None = None,
        mask: Mask | None = None,
    ) -> tuple[Tensor, tuple[LayerState, ...]]:
        """Run all layers over a batch.

        Args:
            x: (N, T, C), or (N, T, C, …) as the layers read it.
            state: one entry per layer, in the form that layer takes; None, whole or for a layer, starts from
                its initial state.
            lengths: (N,) whole numbers from 0 to T, the real steps of each row; None means all.
            mask: (N, T) bool, True where a step is real; instead of lengths.

        Returns:
            output (N, T, output_size), zero at steps that are not real, or (N, output_size) of each row's
            last real step, zero where there is none; and one state per layer.

        Raises:
            ArgumentError: a shape, dtype or device that does not fit, a state for another number of layers.
        """
        layers = self._all_layers()
        self.check_input(x, "ShortcutStack")
        if x.dim() < 3:
            raise ArgumentError(
                f"x has shape {tuple(x.shape)}", where="ShortcutStack", expected="(batch, time, features)"
            )
        steps = Steps.read(x, lengths, mask, "ShortcutStack")
        states = check_entries(state, len(layers), "ShortcutStack")
        outputs: list[Tensor] = []
        finals = []
        for number, (layer, given) in enumerate(zip(layers, states, strict=True)):
            fed = beside(outputs[-1], x, dim=2, owner=f"ShortcutStack, layer {number}") if outputs else x
            try:
                y, final = layer(fed, given, lengths=steps.lengths, mask=steps.mask)
            except ArgumentError as error:
                raise placed(error, f"ShortcutStack, layer {number}") from None
            outputs.append(y)
            finals.append(final)
        every = beside(*outputs, dim=2, owner="ShortcutStack")
        return every if self.return_sequences else steps.last(every), tuple(finals)

    def extra_repr(self) -> str:
        """What is not the default."""
        return "" if self.return_sequences else "return_sequences=False"

    def _all_layers(self) -> list[SequenceLayer]:
        return [layer for layer in self.layers if isinstance(layer, SequenceLayer)]
