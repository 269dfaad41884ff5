"""What the architecture in a Keras file says: layers, and who is called on what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gatestack.errors import ModelFileError

__all__ = ["Architecture", "Call", "KerasLayer", "RealSteps", "Reference", "damaged"]

_OPERATIONS = "keras.src.ops."
_MASK_OPERATIONS = ("NotEqual", "Any")


class Reference(NamedTuple):
    """One output of one call of a layer, as Keras writes it: [name, call, output]."""

    layer: str
    call: int
    output: int


@dataclass(frozen=True)
class Call:
    """A layer called on outputs of others.

    Args:
        layer: its name.
        number: which of the calls of this layer it is, from 0.
        inputs: what it is called on; states that it starts from come last.
        states: how many of them are states given as such.
        mask: the steps that it is told to take for real, where the file says so; otherwise those of its
            first input.

    Example:
        >>> Call("lstm", 0, (Reference("x", 0, 0),)).states
        0
    """

    layer: str
    number: int
    inputs: tuple[Reference, ...]
    states: int = 0
    mask: RealSteps | None = None


class RealSteps(NamedTuple):
    """Which steps are real: where a tensor, or one of its features, is not a value.

    tensor, output of a layer; value; features, whether the last axis is that of features, one of which must
    differ, as Masking has it, or the tensor holds words, as Embedding has it.

    Example:
        >>> RealSteps(Reference("x", 0, 0), 0.0, True).value
        0.0
    """

    tensor: Reference
    value: float
    features: bool


@dataclass(frozen=True)
class KerasLayer:
    """A layer as the file has it.

    Args:
        name: of the layer; no two are equal.
        data: class_name, module, registered_name, config.

    Example:
        >>> KerasLayer("out", {"class_name": "Dense"}).kind
        'Dense'
    """

    name: str
    data: dict[str, Any]

    @property
    def is_operation(self) -> bool:
        """Whether it is a function and no layer."""
        module = self.data.get("module")
        if module is None:  # as in .h5 files, which tell no modules
            return self.kind in _MASK_OPERATIONS
        return isinstance(module, str) and module.startswith(_OPERATIONS)

    @property
    def kind(self) -> str:
        """Keras' class."""
        found = self.data.get("class_name")
        return found if isinstance(found, str) else ""


@dataclass(frozen=True)
class Architecture:
    """What is called on what.

    Args:
        name: of the model.
        layers: in the order of the file, those of the inputs among them.
        calls: in such an order that each one's inputs stand above it.
        inputs: names of the layers that are inputs, in the order of the model.
        outputs: what the model gives.
        version: 2 or 3, of the Keras that wrote the file.

    Example:
        >>> Architecture("m", [], [], [], [], 3).version
        3
    """

    name: str
    layers: list[KerasLayer]
    calls: list[Call]
    inputs: list[str]
    outputs: list[Reference]
    version: int = field(default=3)


def damaged(what: str, where: str) -> ModelFileError:
    """Make the error for an architecture that cannot be.

    Example:
        >>> damaged("it describes no model", "m.keras").what
        'it describes no model'
    """
    return ModelFileError(
        what, where=where, hint="the file is damaged, or not a model of Keras: take it from its source again"
    )
