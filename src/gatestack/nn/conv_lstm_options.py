"""The options of convolutional LSTM layers: what their cell has beyond the plain one, and their sizes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, TypeAlias, get_args

from gatestack.errors import ArgumentError, check_choice, check_whole
from gatestack.nn.activations import check_activation

__all__ = ["ConvLSTMForm", "Padding", "Size", "axes_of", "check_sizes", "shown_sizes"]

Padding = Literal["same", "valid"]
Peepholes = Literal["channels", "positions"]
Size: TypeAlias = int | tuple[int, ...]

_AXES = ("depth", "height", "width")


@dataclass(frozen=True, repr=False)
class ConvLSTMForm:
    r"""What a `ConvLSTM2D` and its kin have beyond the plain cell.

    With peepholes, the gates see the cell state, ∘ being the product element by element:

        i = σ(… + W_ci ∘ C_{t−1}),   f = σ(… + W_cf ∘ C_{t−1}),   o = σ(… + W_co ∘ C_t)

    Args:
        peepholes: None (default) for none; "positions", a weight for every channel and position as in the
            paper, which binds the layer to one size of image; "channels", a weight for every channel, the
            same everywhere.
        activation: in the place of tanh; a name in `gatestack.nn.activations.ACTIVATIONS`. Default "tanh".
        gate_activation: in the place of σ. Default "sigmoid"; "hard_sigmoid_2" is that of Keras 2.

    Raises:
        ArgumentError: a name that there is not.

    Note:
        The compiled kernels know tanh and the logistic function; with others the layer is computed with
        torch's operators.

    Example:
        >>> import torch
        >>> from gatestack.nn import ConvLSTM2D
        >>> layer = ConvLSTM2D(4, 3, form=ConvLSTMForm(peepholes="positions")).build(1, (8, 8))
        >>> layer.peephole_l0.shape
        torch.Size([3, 4, 8, 8])

    Source:
        Shi et al. 2015, "Convolutional LSTM Network: A Machine Learning Approach for Precipitation
        Nowcasting", Eq. 3.
    """

    peepholes: Peepholes | None = None
    activation: str = "tanh"
    gate_activation: str = "sigmoid"

    def __post_init__(self) -> None:
        if self.peepholes is not None:
            check_choice("peepholes", self.peepholes, get_args(Peepholes), owner="ConvLSTMForm")
        check_activation("activation", self.activation, owner="ConvLSTMForm")
        check_activation("gate_activation", self.gate_activation, owner="ConvLSTMForm")

    def __repr__(self) -> str:
        """What is not the default."""
        changed = [field.name for field in fields(self) if getattr(self, field.name) != field.default]
        return f"ConvLSTMForm({', '.join(f'{name}={getattr(self, name)!r}' for name in changed)})"


def axes_of(dimensions: int) -> str:
    """Name the axes of an image, for messages.

    Example:
        >>> axes_of(2)
        'height, width'
    """
    return ", ".join(_AXES[-dimensions:])


def check_sizes(name: str, value: object, dimensions: int, *, owner: str) -> tuple[int, ...]:
    """Give one size for each dimension of space; raise an `ArgumentError` unless each is at least 1.

    Args:
        name: of the argument.
        value: that was given: one number for all dimensions, or one for each.
        dimensions: how many there are.
        owner: what the argument belongs to.

    Example:
        >>> check_sizes("stride", 2, 3, owner="ConvLSTM3D")
        (2, 2, 2)
    """
    given = value if isinstance(value, tuple | list) else (value,) * dimensions
    if len(given) != dimensions:
        raise ArgumentError(
            f"the '{name}' parameter of {owner} is {value!r}",
            expected=f"a whole number, or one for each of ({axes_of(dimensions)})",
        )
    return tuple(check_whole(name, size, owner=owner) for size in given)


def shown_sizes(sizes: tuple[int, ...]) -> str:
    """Show sizes as short as they can be given.

    Example:
        >>> shown_sizes((3, 3)), shown_sizes((3, 5))
        ('3', '(3, 5)')
    """
    return str(sizes[0] if len(set(sizes)) == 1 else sizes)
