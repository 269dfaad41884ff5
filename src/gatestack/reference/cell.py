"""What every cell offers: one step forward, one step backward; and the checks of weights and states."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
"""A NumPy array of float64."""

State: TypeAlias = tuple[Array, ...]
"""What a cell carries from step to step: `(h, c)` for the LSTM, `(h,)` otherwise; h is (N, P), c is (N, H).

P is H but for an LSTM with a projection.
"""

Record: TypeAlias = tuple[Any, ...]
"""What one step keeps for its gradient, in an order that only its cell knows."""


@dataclass(frozen=True, eq=False)
class StepDropout:
    """The factors that dropout applies within one step; 1.0 (default) does nothing. See `LayerMasks`.

    Args:
        hidden: of h where it enters the recurrent product, (N, P).
        candidate: of g (LSTM) or n (GRU), (N, H).

    Example:
        >>> StepDropout(hidden=2.0)
        StepDropout(hidden=2.0, candidate=1.0)
    """

    hidden: Array | float = 1.0
    candidate: Array | float = 1.0


NO_DROPOUT = StepDropout()


@dataclass(frozen=True, eq=False)
class StepGradients:
    """Gradients of a loss with respect to all that entered one step.

    Args:
        x: gradient of the input of the step, (N, C).
        state: gradients of the state before the step, (N, P) and (N, H).
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

    N rows go through the step at once: x is (N, C), h is (N, P), c is (N, H).

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
    def state_sizes(self) -> tuple[int, ...]:
        """The widths of the arrays of the state: (P, H) for the LSTM, (H,) otherwise."""

    @property
    def weights(self) -> dict[str, Array]:
        """Every weight by its name, torch's where torch has it."""

    def step(self, x: Array, state: State, dropout: StepDropout = NO_DROPOUT) -> tuple[State, Record]:
        """One step forward: the new state, and what the gradient will need."""

    def step_backward(self, record: Record, d_state: State) -> StepGradients:
        """One step backward: from the gradient of the new state to the gradients of all that made it."""


@dataclass(frozen=True, eq=False)
class CommonWeights:
    """The weights that every cell has, with the sizes that follow from them; one array is carried, h.

    The gains are those of layer normalisation; both, or neither. They are given by name.
    """

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array
    bias_hh: Array
    gain_ih: Array | None = field(default=None, kw_only=True)
    gain_hh: Array | None = field(default=None, kw_only=True)

    @property
    def input_size(self) -> int:
        """C, the number of input features."""
        return int(self.weight_ih.shape[1])

    @property
    def hidden_size(self) -> int:
        """H, the number of hidden units."""
        return int(self.weight_hh.shape[1])

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """The widths of the arrays of the state."""
        return (self.hidden_size,)

    @property
    def weights(self) -> dict[str, Array]:
        """Every weight by its name, torch's where torch has it; those that are None are left out."""
        named = {
            "weight_ih": self.weight_ih,
            "weight_hh": self.weight_hh,
            "bias_ih": self.bias_ih,
            "bias_hh": self.bias_hh,
            "gain_ih": self.gain_ih,
            "gain_hh": self.gain_hh,
        }
        return {name: weight for name, weight in named.items() if weight is not None}


def check_weights(owner: str, gates: int, weights: dict[str, Array], width: int | None = None) -> None:
    """Raise ValueError unless the common weights fit together as in torch (G gates, (G*H, C)).

    `width` is P, the width of h, where it is not H.
    """
    for name, weight in weights.items():
        if not isinstance(weight, np.ndarray) or weight.dtype != np.float64:
            kind = weight.dtype if isinstance(weight, np.ndarray) else type(weight).__name__
            raise ValueError(f"{owner}: {name} is {kind} — expected a NumPy array of float64")
    weight_ih, weight_hh = weights["weight_ih"], weights["weight_hh"]
    rows = weight_hh.shape[0]
    if weight_hh.ndim != 2 or rows % gates or weight_hh.shape[1] != (width or rows // gates):
        expected = f"({gates}*H, H)" if width is None else f"({gates}*H, {width})"
        raise ValueError(f"{owner}: weight_hh has shape {weight_hh.shape} — expected {expected}")
    if weight_ih.ndim != 2 or weight_ih.shape[0] != rows:
        raise ValueError(f"{owner}: weight_ih has shape {weight_ih.shape} — expected ({rows}, C)")
    for name in ("bias_ih", "bias_hh", "gain_ih", "gain_hh"):
        if name in weights and weights[name].shape != (rows,):
            raise ValueError(f"{owner}: {name} has shape {weights[name].shape} — expected ({rows},)")
    if ("gain_ih" in weights) != ("gain_hh" in weights):
        raise ValueError(f"{owner}: one of gain_ih and gain_hh is given — expected both, or neither")


def check_state(where: str, state: State, rows: int, sizes: tuple[int, ...]) -> None:
    """Raise ValueError unless the state, or its gradient, has the arrays (N, size), one for each size."""
    shapes, expected = [part.shape for part in state], [(rows, size) for size in sizes]
    if shapes != expected:
        raise ValueError(f"{where} has the shapes {shapes} — expected {expected}")
