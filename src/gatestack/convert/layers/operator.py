"""An ONNX operator as a layer of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, field_validator
from torch import Tensor

from gatestack.convert.layers.base import MANY, LayerOptions, NetworkLayer, Signal, Size
from gatestack.convert.layers.operator_table import OPERATORS
from gatestack.errors import ArgumentError, nearest_name

__all__ = ["Operator", "OperatorOptions"]

Value: TypeAlias = StrictBool | StrictInt | StrictFloat | StrictStr | list[StrictInt] | list[StrictFloat]


class OperatorOptions(LayerOptions):
    """Options of `Operator`.

    Args:
        operator: its name in ONNX, such as "Slice".
        attributes: by their names in ONNX; a tensor in one, as of ConstantOfShape, is its single number.
        outputs: how many tensors it gives. Default 1.
        missing: places of optional inputs that are left out.
    """

    operator: str
    attributes: dict[str, Value] = Field(default_factory=dict)
    outputs: Size = 1
    missing: tuple[Annotated[int, Field(strict=True, ge=0, le=16)], ...] = ()

    @field_validator("operator")
    @classmethod
    def _exists(cls, value: str) -> str:
        if value not in OPERATORS:
            raise ValueError(f"an operator that is known; {nearest_name(value, OPERATORS)}")
        return value


class Operator(NetworkLayer):
    """An ONNX operator on tensors of any shape: what a graph computes beside its layers.

    Signals as ONNX has the inputs and outputs; masks end here.

    Args:
        options: name and attributes.

    Example:
        >>> import torch
        >>> layer = Operator(OperatorOptions(operator="Shape"))
        >>> layer.run([Signal(torch.zeros(2, 5, 3))])[0].value
        tensor([2, 5, 3])
    """

    kind = "operator"
    Options = OperatorOptions

    @property
    def inputs(self) -> range:
        """One or more."""
        return MANY

    @property
    def outputs(self) -> int:
        """As many as the options say."""
        count: int = self.options.outputs
        return count

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Compute the operator."""
        options = self.options
        values: list[Tensor | None] = [signal.value for signal in signals]
        for place in sorted(options.missing):
            values.insert(place, None)
        found = computed(options.operator, values, options.attributes)
        if len(found) != options.outputs:
            raise self.refuse(f"{options.operator} gave {len(found)} outputs", f"{options.outputs}")
        return tuple(Signal(value) for value in found)


def computed(operator: str, values: Sequence[Tensor | None], attributes: dict[str, Any]) -> list[Tensor]:
    """Compute an operator, with its name in the message of any error.

    Args:
        operator: its name.
        values: inputs of any shape, None where one is left out.
        attributes: by name.

    Raises:
        ArgumentError: the inputs do not fit.

    Example:
        >>> import torch
        >>> computed("Concat", [torch.zeros(2, 1), torch.ones(2, 1)], {"axis": 1})
        [tensor([[0., 1.],
                [0., 1.]])]
    """
    try:
        found = OPERATORS[operator](values, attributes)
    except ArgumentError as error:
        raise ArgumentError(error.what, where=operator, expected=error.expected) from None
    except (ArithmeticError, RuntimeError, IndexError, ValueError, KeyError, TypeError) as error:
        shapes = ", ".join("none" if value is None else str(tuple(value.shape)) for value in values)
        reason = str(error).splitlines()[0][:200]
        raise ArgumentError(f"inputs of shapes {shapes}: {reason}", where=operator) from None
    return found if isinstance(found, list) else [found]
