"""One cell made of several."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gatestack.errors import ArgumentError
from gatestack.nn.cell import Cell, KernelLayer
from gatestack.nn.checks import check_like
from gatestack.nn.parameters import like_of

__all__ = ["StackedCells"]


class StackedCells(Cell):
    r"""Several cells as one: within a step, each reads what the one below has just given.

    With f_k the step of cell k = 1 … K, s_k its state, y_0 = x:

        (y_k, s_k) = f_k(y_{k−1}, s_k)            the output is y_K

    In a `Loop` it computes what a `Stack` of layers of these cells computes: a stack runs the lowest layer
    over all steps and then the next one, stacked cells take the first step through all cells and then the
    next. Use them where a cell is asked for: inside another cell, or for a decoder that feeds its output
    back. Where all cells are plain, a `Loop` runs them on the same kernels as a stack.

    Args:
        cells: one or more cells, the lowest first.

    Raises:
        ArgumentError: no cells, something else than a cell, a cell twice; at a call, a shape that does not
            fit.

    Example:
        >>> import torch
        >>> from gatestack.nn import GRUCell, Loop, LSTMCell
        >>> cell = StackedCells(LSTMCell(8), GRUCell(4))
        >>> y, ((h, c), upper) = cell(torch.zeros(2, 3))
        >>> y.shape, c.shape, upper is y
        (torch.Size([2, 4]), torch.Size([2, 8]), True)
        >>> Loop(cell)(torch.zeros(2, 5, 3))[0].shape
        torch.Size([2, 5, 4])

    Source:
        The stacked RNN of Pascanu et al. 2013, "How to Construct Deep Recurrent Neural Networks", Section
        3.3.3, taken step by step.
    """

    def __init__(self, *cells: Cell) -> None:
        super().__init__()
        if not cells:
            raise ArgumentError("no cells", where="StackedCells", expected="one or more")
        for number, cell in enumerate(cells):
            if not isinstance(cell, Cell):
                raise ArgumentError(
                    f"cell {number} is a {type(cell).__name__}",
                    where="StackedCells",
                    expected="LSTMCell, GRUCell, RNNCell or another cell of gatestack.nn",
                    hint="give the cells one by one: StackedCells(*cells)"
                    if isinstance(cell, list | tuple)
                    else None,
                )
            if any(cell is other for other in cells[:number]):
                raise ArgumentError(
                    f"cell {number} is the same object as a cell below",
                    where="StackedCells",
                    expected="an object of its own for each cell",
                )
        self.cells = nn.ModuleList(cells)

    @property
    def input_size(self) -> int | None:
        """C, features of the input; None until the lowest cell is built."""
        return self._all_cells()[0].input_size

    @property
    def output_size(self) -> int:
        """Features of the output, those of the last cell."""
        return self._all_cells()[-1].output_size

    def build(self, input_size: int) -> StackedCells:
        """Make the parameters of every cell for inputs of `input_size` features.

        Returns:
            The cell itself.

        Raises:
            ArgumentError: a cell was built for another size than the cell below gives.
        """
        width = input_size
        for cell in self._all_cells():
            cell.build(width)
            width = cell.output_size
        self._joined(self.kernel_layers() or [])
        return self

    def check_input(self, x: object, owner: str, *, dimensions: int) -> Tensor:
        """Refuse an x that one of the cells cannot read; see `Cell.check_input`."""
        given = super().check_input(x, owner, dimensions=dimensions)
        for cell in self._all_cells():
            like = like_of(cell)
            if like is not None:
                check_like("x", given, like, owner)
        return given

    def start(self, x: Tensor) -> tuple[Any, ...]:
        """Give the state that a call without a state starts from, one entry per cell."""
        return tuple([cell.start(x) for cell in self._all_cells()])

    def advance(self, x: Tensor, state: tuple[Any, ...]) -> tuple[Any, ...]:
        """Take a step through all cells: x (N, C), state one entry per cell -> the new state."""
        y, new = x, []
        for cell, old in zip(self._all_cells(), state, strict=True):
            new.append(cell.advance(y, old))
            y = cell.output(new[-1])
        return tuple(new)

    def output(self, state: tuple[Any, ...]) -> Tensor:
        """Give the output (N, output_size) of the last cell."""
        return self._all_cells()[-1].output(state[-1])

    def kernel_layers(self) -> list[KernelLayer] | None:
        """Give the cells as layers of the kernels; None where one of them is none."""
        layers = []
        for cell in self._all_cells():
            inside = cell.kernel_layers()
            if inside is None:
                return None
            layers += inside
        return layers

    def _all_cells(self) -> list[Cell]:
        return [cell for cell in self.cells if isinstance(cell, Cell)]
