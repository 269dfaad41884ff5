"""What every cell offers: one step, its state, its parameters."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError
from gatestack.kernels.recurrent import run_stack
from gatestack.kernels.spec import DirectionWeights, LayerSpec, StackSpec
from gatestack.nn.checks import check_like, check_tensor
from gatestack.nn.parameters import like_of
from gatestack.nn.runs import MOST_LAYERS
from gatestack.nn.states import check_state, leaves, of_cell, of_layer, rebuilt
from gatestack.nn.steps import Steps

__all__ = ["Cell", "CellState", "KernelLayer"]

CellState: TypeAlias = Any  # tensors (N, ·) in nested tuples
"""What a cell carries from step to step: nested tuples of tensors, or a tensor; the batch is on axis 0."""


class KernelLayer(NamedTuple):
    """A cell, or one of several that make a cell, as the kernels know it."""

    spec: LayerSpec
    weights: DirectionWeights


class Cell(nn.Module):
    """Base of `LSTMCell`, `GRUCell`, `RNNCell`, `DeepTransitionCell` and `StackedCells`: one step.

    A cell knows nothing of time, lengths or direction; `Loop` runs it over a sequence. A call takes one step:

        h, state = cell(x, state)

    with x (N, C), and the state as the cell gave it, its tensors (N, ·), or None for zeros.

    A class of its own implements `input_size`, `output_size`, `build`, `start`, `advance` and `output`; then
    `Loop`, `StackedCells`, `Stack` and `Stateful` take it.

    Example:
        >>> import torch
        >>> from gatestack.nn import LSTMCell
        >>> h, (h, c) = LSTMCell(4)(torch.zeros(2, 3))
        >>> h.shape, c.shape
        (torch.Size([2, 4]), torch.Size([2, 4]))
    """

    def __init__(self) -> None:  # torch's own hides what it takes
        super().__init__()
        self._calls: tuple[list[LayerSpec], list[StackSpec]] = ([], [])

    @property
    def input_size(self) -> int | None:
        """C, features of the input; None until the cell is built."""
        raise NotImplementedError

    @property
    def output_size(self) -> int:
        """Features of the output."""
        raise NotImplementedError

    def build(self, input_size: int) -> Cell:
        """Make the parameters for inputs of `input_size` features; nothing happens where they exist already.

        Returns:
            The cell itself.

        Raises:
            ArgumentError: the cell was built for another input size.
        """
        raise NotImplementedError

    def start(self, x: Tensor) -> CellState:
        """Give the state that a call without a state starts from, for the rows of x (N, …)."""
        raise NotImplementedError

    def advance(self, x: Tensor, state: CellState) -> CellState:
        """Take a step: its input x (N, C) and the state before it -> the state after it."""
        raise NotImplementedError

    def output(self, state: CellState) -> Tensor:
        """Give the output (N, output_size) of the step after which the state is this one."""
        raise NotImplementedError

    def kernel_layers(self) -> list[KernelLayer] | None:
        """Give the layers of the kernels that make the cell, in the order of its state, or None."""
        return None

    def check_input(self, x: object, owner: str, *, dimensions: int) -> Tensor:
        """Refuse an x that the cell cannot read.

        Args:
            x: (N, C), or (N, T, C).
            owner: which is about to call the cell, for the message.
            dimensions: 2 or 3.

        Returns:
            x.

        Raises:
            ArgumentError: it does not fit.
        """
        x = check_tensor(x, owner)
        if x.dim() != dimensions or self.input_size not in (None, x.shape[-1]):
            width = "features" if self.input_size is None else str(self.input_size)
            expected = f"(batch, {width})" if dimensions == 2 else f"(batch, time, {width})"
            hint = None
            if dimensions == 2 and x.dim() == 3:
                hint = "a cell takes one step; Loop(cell) runs it over a sequence"
            raise ArgumentError(f"x has shape {tuple(x.shape)}", where=owner, expected=expected, hint=hint)
        like = like_of(self)
        if like is not None:
            check_like("x", x, like, owner)
        return x

    def forward(self, x: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        """Take one step.

        Args:
            x: (N, C), in the dtype and on the device of the parameters.
            state: as the cell gave it; None for zeros.

        Returns:
            The output (N, output_size), and the state after the step.

        Raises:
            ArgumentError: a shape, dtype or device that does not fit.
        """
        owner = type(self).__name__
        self.check_input(x, owner, dimensions=2)
        if self.input_size is None:
            self.build(x.shape[1])
        start = self.start(x)
        state = start if state is None else check_state(state, start, owner)
        layers = self.kernel_layers()
        if layers is None:
            new = self.advance(x, state)
        else:
            # The same kernels as a loop, so that single steps give the bits of the whole sequence.
            _, new = self.run_on_kernels(layers, x[:, None], of_layer(state), Steps(None, None))
            new = of_cell(new)
        return self.output(new), new

    def run_on_kernels(
        self, layers: list[KernelLayer], x: Tensor, state: CellState, steps: Steps
    ) -> tuple[Tensor, CellState]:
        """Run a cell that the kernels know over a sequence.

        Args:
            layers: those of `kernel_layers`.
            x: (N, T, C).
            state: as a layer has it, tensors (1, N, ·).
            steps: the real ones.

        Returns:
            The output (N, T, P) of the last of the layers, and the final state in the form of `state`.
        """
        y, rest, finals, first = x, iter(leaves(state)), [], 0
        for spec in self._joined(layers):
            run = layers[first : first + len(spec.layers)]
            result = run_stack(
                spec,
                y,
                [tuple([next(rest) for _ in layer.spec.state_sizes]) for layer in run],
                [(layer.weights,) for layer in run],
                lengths=steps.lengths,
                mask=steps.mask,
            )
            y = result.output
            finals += [part for parts in result.finals for part in parts]
            first += len(run)
        return y, rebuilt(state, iter(finals))

    def _joined(self, layers: list[KernelLayer]) -> list[StackSpec]:
        """Put the layers together for calls of the kernels, anew where one of them has changed."""
        if torch.compiler.is_compiling() and self._calls[1]:
            return self._calls[1]  # a tracer need not compare specs, nor could it make them
        specs = [layer.spec for layer in layers]
        if self._calls[0] != specs:
            cuts = range(0, len(specs), MOST_LAYERS)
            self._calls = (
                specs,
                [StackSpec(tuple(specs[first : first + MOST_LAYERS]), 1) for first in cuts],
            )
        return self._calls[1]
