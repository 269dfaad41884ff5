"""What every cell offers: one step forward, one step backward; and the checks of weights and states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
"""A NumPy array of float64."""

State: TypeAlias = tuple[Array, ...]
"""What a cell carries from step to step, each array (N, H): `(h, c)` for the LSTM, `(h,)` otherwise."""

Record: TypeAlias = tuple[Array, ...]
"""What one step keeps for its gradient, in an order that only its cell knows."""


@dataclass(frozen=True, eq=False)
class StepGradients:
    """Gradients of a loss with respect to all that entered one step.

    Args:
        x: gradient of the input of the step, (N, C).
        state: gradients of the state before the step, each (N, H).
        weights: gradients of the weights by name, each of the shape of its weight, summed over the batch.

    Example:
        >>> import numpy as np
        >>> zero = np.zeros((2, 3))
        >>> StepGradients(x=zero, state=(zero,), weights={"bias_ih": np.zeros(3)}).x.shape
        (2, 3)
    """

    x: Array
    state: State
    weights: dict[str, Array]


class Cell(Protocol):
    """A cell knows one step; it knows nothing of time, lengths or direction.

    N rows go through the step at once: x is (N, C), each array of the state is (N, H).

    Example:
        >>> import numpy as np
        >>> from gatestack.reference import Cell, RNNCell
        >>> cell: Cell = RNNCell(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.zeros(1))
        >>> (h,), record = cell.step(np.array([[0.5]]), (np.array([[0.0]]),))
        >>> h.round(4)
        array([[0.4621]])
    """

    @property
    def input_size(self) -> int:
        """C, the number of input features."""

    @property
    def hidden_size(self) -> int:
        """H, the number of hidden units."""

    @property
    def state_count(self) -> int:
        """Number of arrays in the state: 2 for the LSTM, 1 otherwise."""

    @property
    def weights(self) -> dict[str, Array]:
        """Every weight by its name in torch."""

    def step(self, x: Array, state: State) -> tuple[State, Record]:
        """One step forward: the new state, and what the gradient will need."""

    def step_backward(self, record: Record, d_state: State) -> StepGradients:
        """One step backward: from the gradient of the new state to the gradients of all that made it."""


@dataclass(frozen=True, eq=False)
class CommonWeights:
    """The four weights that every cell has, with the sizes that follow from them; one array is carried, h."""

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array
    bias_hh: Array

    @property
    def input_size(self) -> int:
        """C, the number of input features."""
        return int(self.weight_ih.shape[1])

    @property
    def hidden_size(self) -> int:
        """H, the number of hidden units."""
        return int(self.weight_hh.shape[1])

    @property
    def state_count(self) -> int:
        """Number of arrays in the state."""
        return 1

    @property
    def weights(self) -> dict[str, Array]:
        """Every weight by its name in torch."""
        return {
            "weight_ih": self.weight_ih,
            "weight_hh": self.weight_hh,
            "bias_ih": self.bias_ih,
            "bias_hh": self.bias_hh,
        }


def check_weights(owner: str, gates: int, weights: dict[str, Array]) -> None:
    """Raise ValueError unless the four common weights fit together as in torch (G gates, (G*H, C))."""
    for name, weight in weights.items():
        if not isinstance(weight, np.ndarray) or weight.dtype != np.float64:
            kind = weight.dtype if isinstance(weight, np.ndarray) else type(weight).__name__
            raise ValueError(f"{owner}: {name} is {kind} — expected a NumPy array of float64")
    weight_ih, weight_hh = weights["weight_ih"], weights["weight_hh"]
    if weight_hh.ndim != 2 or weight_hh.shape[0] != gates * weight_hh.shape[1]:
        raise ValueError(f"{owner}: weight_hh has shape {weight_hh.shape} — expected ({gates}*H, H)")
    rows = weight_hh.shape[0]
    if weight_ih.ndim != 2 or weight_ih.shape[0] != rows:
        raise ValueError(f"{owner}: weight_ih has shape {weight_ih.shape} — expected ({rows}, C)")
    for name in ("bias_ih", "bias_hh"):
        if weights[name].shape != (rows,):
            raise ValueError(f"{owner}: {name} has shape {weights[name].shape} — expected ({rows},)")


def check_state(where: str, state: State, count: int, shape: tuple[int, int]) -> None:
    """Raise ValueError unless the state, or its gradient, has `count` arrays of shape (N, H)."""
    shapes = [part.shape for part in state]
    if shapes != [shape] * count:
        raise ValueError(f"{where} has the shapes {shapes} — expected {[shape] * count}")
