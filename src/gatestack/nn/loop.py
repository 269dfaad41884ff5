"""A cell over time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gatestack.errors import ArgumentError
from gatestack.nn.cell import Cell
from gatestack.nn.layer import SequenceLayer
from gatestack.nn.states import check_state, of_cell, of_layer, replaced_rows
from gatestack.nn.steps import Lengths, Mask, Steps

__all__ = ["Loop"]


class Loop(SequenceLayer):
    r"""Run a cell over the steps of a sequence.

    With f the step of the cell, m_t = 1 where a step is real and 0 elsewhere:

        (y_t, s_t) = f(x_t, s_{t−1}) where m_t = 1,   (0, s_{t−1}) elsewhere

    Cells that the kernels know (`LSTMCell`, `GRUCell` and `RNNCell` with their usual activations, and
    `StackedCells` of them) run over all steps in one call, as fast as the layers. Any other cell is a loop in
    Python, many times slower.

    Args:
        cell: any cell.
        return_sequences: output every step (default); otherwise only the cell's output after each row's last
            real step.

    Raises:
        ArgumentError: something else than a cell; at a call, a shape, dtype or device that does not fit.

    Example:
        >>> import torch
        >>> from gatestack.nn import DeepTransitionCell
        >>> output, state = Loop(DeepTransitionCell(8, depth=3))(torch.zeros(2, 5, 3), lengths=[5, 2])
        >>> output.shape, state.shape
        (torch.Size([2, 5, 8]), torch.Size([1, 2, 8]))
    """

    def __init__(self, cell: Cell, *, return_sequences: bool = True) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            raise ArgumentError(
                f"cell is a {type(cell).__name__}",
                where="Loop",
                expected="LSTMCell, GRUCell, RNNCell or another cell of gatestack.nn",
                hint="a layer runs over time as it is" if isinstance(cell, SequenceLayer) else None,
            )
        self.cell = cell
        self.return_sequences = return_sequences

    @property
    def input_size(self) -> int | None:
        """C, features of the input; None until the cell is built."""
        return self.cell.input_size

    @property
    def output_size(self) -> int:
        """Features of the output, those of the cell."""
        return self.cell.output_size

    def build(self, input_size: int) -> Loop:
        """Make the parameters of the cell for inputs of `input_size` features.

        Returns:
            The layer itself.

        Raises:
            ArgumentError: the cell was built for another input size.
        """
        self.cell.build(input_size)
        return self

    def check_input(self, x: object, owner: str) -> Tensor:
        """Refuse an x that is not (N, T, C) in the dtype and on the device of the parameters.

        Returns:
            x.
        """
        return self.cell.check_input(x, owner, dimensions=3)

    def start(self, x: Tensor) -> Any:
        """Give the state that a call without a state starts from, tensors (1, N, ·) for x (N, T, C)."""
        return of_layer(self.cell.start(x))

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        *,
        lengths: Lengths | None = None,
        mask: Mask | None = None,
    ) -> tuple[Tensor, Any]:
        """Run the cell over a batch.

        Args:
            x: (N, T, C), in the dtype and on the device of the parameters. N = 0 and T = 0 are fine.
            state: the cell's, each of its tensors (1, N, ·); None starts from zeros.
            lengths: (N,) whole numbers from 0 to T, the real steps of each row; None means all.
            mask: (N, T) bool, True where a step is real; instead of lengths.

        Returns:
            output (N, T, output_size), zero at steps that are not real, or with `return_sequences=False` the
            cell's output after the last real step (N, output_size). Then the state after it, in the form of
            `state`.

        Raises:
            ArgumentError: a shape, dtype or device that does not fit, a length outside 0 to T.
        """
        self.check_input(x, "Loop")
        if self.input_size is None:
            self.build(x.shape[2])
        steps = Steps.read(x, lengths, mask, "Loop")
        start = self.start(x)
        state = start if state is None else check_state(state, start, "Loop")
        layers = self.cell.kernel_layers()
        if layers is not None:
            output, state = self.cell.run_on_kernels(layers, x, state, steps)
        else:
            output, final = self._over(steps.cleared(x), of_cell(state), steps.real(x))
            state = of_layer(final)
        if not self.return_sequences:
            output = self.cell.output(of_cell(state))
        return output, state

    def _over(self, x: Tensor, state: Any, real: Tensor | None) -> tuple[Tensor, Any]:
        """Step over x (N, T, C), zero where a step is not real -> output (N, T, ·), final state."""
        outputs = []
        for t in range(x.shape[1]):
            # A copy: how a product rounds may depend on where in memory its input lies, and a sequence in
            # chunks is to give the bits of the whole.
            step = x[:, t].clone(memory_format=torch.contiguous_format)
            new = self.cell.advance(step, state)
            y = self.cell.output(new)
            if real is not None:
                y = y.masked_fill(~real[:, t, None], 0.0)
                new = replaced_rows(real[:, t], new, state, axis=0)
            outputs.append(y)
            state = new
        if not outputs:
            return x.new_zeros(len(x), 0, self.output_size), state
        return torch.stack(outputs, dim=1), state
