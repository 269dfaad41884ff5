"""What the architecture in a Keras file says: layers, and who is called on what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gatestack.convert.keras.formulas import MASK_OPERATIONS, RealSteps, Reference
from gatestack.errors import ModelFileError

__all__ = ["Architecture", "Call", "KerasLayer", "Place", "damaged"]

_OPERATIONS = "keras.src.ops."


@dataclass(frozen=True)
class Call:
    """A layer called on outputs of others.

    Args:
        layer: its name.
        number: which of the calls of this layer it is, from 0.
        inputs: what it is called on; states that it starts from come last.
        states: how many of them are states given as such.
        masks: for each input, the steps that it is told to take for real, where the file says so; otherwise
            they come with the inputs.

    Example:
        >>> Call("lstm", 0, (Reference("x", 0, 0),)).states
        0
    """

    layer: str
    number: int
    inputs: tuple[Reference, ...]
    states: int = 0
    masks: tuple[RealSteps | None, ...] | None = None


@dataclass(frozen=True)
class Place:
    """Where the weights of a layer are in a file.

    Args:
        owner: name of the layer of the outermost model that it is, or that it is inside of.
        path: in a `.keras` file, such as "layers/lstm_1", or "layers/functional/layers/lstm".
        within: what the paths of its own weights begin with and the file leaves out: "cell", of one of
            several cells.
        trainable: it, and each model that it is inside of, from the outermost.

    Example:
        >>> Place("encoder", "layers/functional/layers/lstm", trainable=(True, True)).within
        ''
    """

    owner: str = ""
    path: str = ""
    within: str = ""
    trainable: tuple[bool, ...] = ()


@dataclass(frozen=True)
class KerasLayer:
    """A layer as the file has it.

    Args:
        name: of the layer; no two are equal. That of a layer inside another model is "model/layer".
        data: class_name, module, registered_name, config.
        place: where its weights are.

    Example:
        >>> KerasLayer("out", {"class_name": "Dense"}).kind
        'Dense'
    """

    name: str
    data: dict[str, Any]
    place: Place = Place()

    @property
    def is_operation(self) -> bool:
        """Whether it is a function and no layer."""
        module = self.data.get("module")
        if module is None:  # as in .h5 files, which tell no modules
            return self.kind in MASK_OPERATIONS and "trainable" not in self.data.get("config", {})
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
        takes_states: of a layer of several cells: how many tensors of state each of them has.

    Example:
        >>> Architecture("m", [], [], [], [], 3).version
        3
    """

    name: str
    layers: list[KerasLayer]
    calls: list[Call]
    inputs: list[str]
    outputs: list[Reference]
    version: int = 3
    takes_states: tuple[int, ...] = ()


def damaged(what: str, where: str) -> ModelFileError:
    """Make the error for an architecture that cannot be.

    Example:
        >>> damaged("it describes no model", "m.keras").what
        'it describes no model'
    """
    return ModelFileError(
        what, where=where, hint="the file is damaged, or not a model of Keras: take it from its source again"
    )
