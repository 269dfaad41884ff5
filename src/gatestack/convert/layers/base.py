"""What every layer of a network shares: options that are data, signals in, signals out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from gatestack.errors import ArgumentError, nearest_name, quote_value

__all__ = ["MANY", "Axis", "Flag", "LayerOptions", "NetworkLayer", "Number", "Signal", "Size", "one_mask"]

# What a file may claim. Far above what fits into memory, and far below what makes a product of two overflow.
_LARGEST = 2**31 - 1

Size = Annotated[int, Field(strict=True, ge=1, le=_LARGEST)]
Axis = Annotated[int, Field(strict=True, ge=-32, le=31)]
Flag = Annotated[bool, Field(strict=True)]
Number = Annotated[float, Field(allow_inf_nan=False)]
MANY = range(1, 10_000)
"""`inputs` of a layer that takes one or more."""


class Signal(NamedTuple):
    """What one layer hands to the next.

    value, a tensor whose batch is axis 0 unless a layer moved it; mask (N, T) bool, True where a step is
    real, or None where nothing is masked.

    Example:
        >>> import torch
        >>> Signal(torch.zeros(2, 3)).mask is None
        True
    """

    value: Tensor
    mask: Tensor | None = None


class LayerOptions(BaseModel):
    """Base of the options of a layer: frozen, checked when made, and all of it can be written as JSON.

    Raises:
        ArgumentError: an option out of its range, or one that does not exist.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Type checkers see the fields as keyword arguments; at run time the error is turned into one of ours.
    if not TYPE_CHECKING:

        def __init__(self, **options: Any) -> None:
            try:
                super().__init__(**options)
            except ValidationError as error:
                raise _explained(error, type(self)) from None

    @classmethod
    def model_validate(cls, obj: Any, **_: Any) -> Self:
        """Make options of a mapping, as the constructor does: pydantic's own has an error of its own."""
        return cls(**obj)

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """What `repr` shows: the options that are not their default."""
        fields = type(self).model_fields
        return [
            (name, getattr(self, name))
            for name, field in fields.items()
            if field.is_required() or getattr(self, name) != field.default
        ]


class NetworkLayer(nn.Module):
    """Base of the layers of a `Network`: made from options alone, so that a file can say what they are.

    A class of its own names its `kind`, and the class of its options as `Options`; its sizes are options, so
    that its parameters are made in the constructor. Inside it are modules of torch and of `gatestack.nn`, in
    their layout of weights, which exporters look at.

    Args:
        options: of the class `Options`.

    Raises:
        ArgumentError: the options are of another class.

    Example:
        >>> import torch
        >>> from gatestack.convert.layers import Dense, DenseOptions
        >>> layer = Dense(DenseOptions(units=2, input_size=3))
        >>> layer.kind, layer.run([Signal(torch.zeros(4, 3))])[0].value.shape
        ('dense', torch.Size([4, 2]))
    """

    kind: ClassVar[str]
    Options: ClassVar[type[LayerOptions]]
    kinds: ClassVar[dict[str, type[NetworkLayer]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            NetworkLayer.kinds[cls.kind] = cls

    def __init__(self, options: LayerOptions) -> None:
        super().__init__()
        if not isinstance(options, self.Options):
            raise ArgumentError(
                f"options are of type {type(options).__name__}",
                where=type(self).__name__,
                expected=f"{self.Options.__name__}",
            )
        self._options = options

    @property
    def options(self) -> Any:
        """What was given to the constructor."""
        return self._options

    @property
    def inputs(self) -> range:
        """How many signals it may take: one, unless a class says otherwise."""
        return range(1, 2)

    @property
    def outputs(self) -> int:
        """How many signals it gives."""
        return 1

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Compute the layer.

        Args:
            signals: as many as it takes; the class has their shapes.

        Returns:
            As many signals as `outputs` says.
        """
        raise NotImplementedError

    def forward(self, *signals: Signal) -> tuple[Signal, ...]:
        """Compute the layer; see `run`."""
        return self.run(signals)

    def reset_state(self) -> None:
        """Forget what a stateful layer keeps between calls; most layers keep nothing."""

    def to_data(self) -> dict[str, Any]:
        """Give what makes the layer again, as JSON values: `{"kind": …, "options": …}`, without weights."""
        return {"kind": self.kind, "options": self._options.model_dump(mode="json")}

    def extra_repr(self) -> str:
        """The options that are not their default."""
        return ", ".join(f"{name}={value!r}" for name, value in self._options.__repr_args__())

    def refuse(self, what: str, expected: str) -> ArgumentError:
        """Make the error that says that a call does not fit."""
        return ArgumentError(what, where=f"{self.kind} layer", expected=expected)


def one_mask(masks: Sequence[Tensor | None]) -> Tensor | None:
    """Join the masks of several inputs of equal length as Keras does: real where one is, None if one is.

    Example:
        >>> import torch
        >>> one_mask([torch.tensor([[True, False]]), torch.tensor([[False, False]])]).tolist()
        [[True, False]]
    """
    joined: Tensor | None = None
    for mask in masks:
        if mask is None:
            return None
        joined = mask if joined is None else joined | mask
    return joined


def _explained(error: ValidationError, options: type[LayerOptions]) -> ArgumentError:
    problem = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in problem["loc"]) or "options"
    where = options.__name__
    if problem["type"] == "extra_forbidden":
        return ArgumentError(
            f"there is no option {name!r}", where=where, hint=nearest_name(name, options.model_fields)
        )
    if problem["type"] == "missing":
        return ArgumentError(f"the option {name!r} is missing", where=where)
    rule = problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return ArgumentError(f"{name} is {quote_value(problem['input'])}", where=where, expected=rule)
