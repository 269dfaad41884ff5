"""A plain recurrent cell with several transformations between one step and the next."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError, check_whole
from gatestack.nn.activations import ACTIVATIONS, check_activation
from gatestack.nn.cell import Cell
from gatestack.nn.parameters import check_size, declare_parameters, draw_parameter, make_parameters

__all__ = ["DeepTransitionCell"]


class DeepTransitionCell(Cell):
    r"""One step of a recurrent layer whose transition is a network of several layers.

    With L = depth, and h the state:

        z_1 = φ(W_ih x + b_ih + W_1 h + b_1)
        z_k = φ(W_k z_{k−1} + b_k)                      for k = 2 … L
        h   = z_L

    With `shortcut`, h reaches the last layer past those between, which keeps the way of the gradient through
    time as short as in a plain RNN:

        h   = φ(W_L z_{L−1} + b_L + W_s h)

    With depth 1 it is `RNNCell`. Parameters: `weight_ih_l0` (H, C), `bias_ih_l0` (H,), then for k = 1 … L
    `weight_hh_t1` … `weight_hh_tL` (H, H), `bias_hh_t1` … `bias_hh_tL` (H,), and `weight_hh_shortcut` (H, H).

    Args:
        hidden_size: H, at least 1.
        depth: L, at least 1; 2 with a shortcut.
        input_size: C, or None to take it from the first input.
        activation: φ, the name of a function in `gatestack.nn.activations.ACTIVATIONS`. Default "tanh".
        shortcut: add W_s h. Default False.
        dtype: of the parameters; None takes torch's default.

    Raises:
        ArgumentError: a value outside its range, an unknown activation, a shortcut with depth 1; at a call, x
            is not (N, C) or the state is not h (N, H).

    Note:
        The paper draws the shortcut (Figure 2) and does not write it as an equation; here it is one more
        matrix, without a bias of its own.

    Example:
        >>> import torch
        >>> h, state = DeepTransitionCell(8, depth=2, shortcut=True)(torch.zeros(2, 3))
        >>> h.shape, state is h
        (torch.Size([2, 8]), True)

    Source:
        Pascanu, Gulcehre, Cho & Bengio 2013, "How to Construct Deep Recurrent Neural Networks", arXiv
        1312.6026: DT-RNN (Figure 2b), and DT(S)-RNN with the shortcut (Figure 2b*).
    """

    input_size: int | None = None
    weight_ih_l0: nn.Parameter
    bias_ih_l0: nn.Parameter
    weight_hh_shortcut: nn.Parameter
    _like: Tensor

    def __init__(
        self,
        hidden_size: int,
        depth: int,
        input_size: int | None = None,
        *,
        activation: str = "tanh",
        shortcut: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        owner = "DeepTransitionCell"
        self.hidden_size = check_whole("hidden_size", hidden_size, owner=owner)
        self.depth = check_whole("depth", depth, owner=owner)
        self.activation = check_activation("activation", activation, owner=owner)
        if shortcut and depth == 1:
            raise ArgumentError("shortcut=True with depth=1", where=owner, expected="a depth of 2 or more")
        self.shortcut = shortcut
        declare_parameters(self, self._shapes(1), dtype)
        if input_size is not None:
            self.build(input_size)

    @property
    def output_size(self) -> int:
        """H, the width of h."""
        return self.hidden_size

    def build(self, input_size: int) -> DeepTransitionCell:
        """Make the parameters for inputs of `input_size` features; nothing happens where they exist already.

        Returns:
            The cell itself.

        Raises:
            ArgumentError: the cell was built for another input size.
        """
        size = check_size(input_size, self.input_size, "DeepTransitionCell")
        if self.input_size is None:
            make_parameters(self, self._like, self._shapes(size))
            self.input_size = size
            self.reset_parameters()
        return self

    def reset_parameters(self) -> None:
        """Draw the weights anew: `weight_ih` Glorot uniform, the others orthogonal, biases zero."""
        for name in self._shapes(1):
            draw_parameter(name, getattr(self, name), 1)

    def start(self, x: Tensor) -> Tensor:
        """Give the state that a call without a state starts from: zeros (N, H) for the rows of x (N, …)."""
        return x.new_zeros(len(x), self.hidden_size)

    def advance(self, x: Tensor, state: Tensor) -> Tensor:
        """Take a step: x (N, C), state h (N, H) -> h."""
        squash = ACTIVATIONS[self.activation]
        z = state
        for k in range(1, self.depth + 1):
            weight, bias = getattr(self, f"weight_hh_t{k}"), getattr(self, f"bias_hh_t{k}")
            total = nn.functional.linear(z, weight, bias)
            if k == 1:
                total = total + nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)
            if k == self.depth and self.shortcut:
                total = total + nn.functional.linear(state, self.weight_hh_shortcut)
            z = squash(total)
        return z

    def output(self, state: Tensor) -> Tensor:
        """Give h (N, H)."""
        return state

    def extra_repr(self) -> str:
        """Sizes first, then every setting that is not its default."""
        size = "?" if self.input_size is None else self.input_size
        parts = [str(self.hidden_size), f"depth={self.depth}", f"input_size={size}"]
        if self.activation != "tanh":
            parts.append(f"activation={self.activation!r}")
        if self.shortcut:
            parts.append("shortcut=True")
        return ", ".join(parts)

    def _shapes(self, input_size: int) -> dict[str, tuple[int, ...]]:
        size = self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih_l0": (size, input_size), "bias_ih_l0": (size,)}
        for k in range(1, self.depth + 1):
            shapes |= {f"weight_hh_t{k}": (size, size), f"bias_hh_t{k}": (size,)}
        return shapes | {"weight_hh_shortcut": (size, size)} if self.shortcut else shapes
