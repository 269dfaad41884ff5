"""Where the weights of a layer are in a Keras file: by path as in `.keras`, or by a list as in `.h5`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy.typing as npt

from gatestack.convert.hdf5 import Hdf5Dataset, Hdf5Group
from gatestack.convert.keras.slots import Slot
from gatestack.errors import ModelFileError, quote_value

__all__ = [
    "ListedWeights",
    "PathWeights",
    "WeightStore",
    "check_shapes",
    "fill",
    "layer_paths",
    "load",
    "read_texts",
]


class WeightStore(Protocol):
    """Finds the weights of a layer."""

    def find(self, layer: str, slots: Sequence[Slot], where: str) -> list[Hdf5Dataset]:
        """Give one dataset for each slot."""


def layer_paths(kinds: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Give the path that Keras 3 gives to each layer: its class in small letters, numbered from the second.

    Args:
        kinds: name and class of each layer, in the order of the model.

    Example:
        >>> layer_paths([("a", "LSTM"), ("b", "LSTM"), ("c", "TimeDistributed")])
        {'a': 'layers/lstm', 'b': 'layers/lstm_1', 'c': 'layers/time_distributed'}
    """
    seen: dict[str, int] = {}
    found = {}
    for name, kind in kinds:
        word = re.sub(r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", kind).lower()
        number = seen[word] = seen.get(word, -1) + 1
        found[name] = f"layers/{word}_{number}" if number else f"layers/{word}"
    return found


class PathWeights:
    """Weights of `.keras` and `.weights.h5`: each layer has a path, and under it `vars/0`, `vars/1`.

    Args:
        root: of the HDF5 file.
        paths: name of a layer to its path.
    """

    def __init__(self, root: Hdf5Group, paths: Mapping[str, str]) -> None:
        self._root = root
        # Keras 2.12 to 2.14 had another name for the same place.
        old = "_layer_checkpoint_dependencies"
        self._paths = {
            name: path.replace("layers", old, 1) if old in root.names else path
            for name, path in paths.items()
        }

    def find(self, layer: str, slots: Sequence[Slot], where: str) -> list[Hdf5Dataset]:
        """Give one dataset for each slot.

        Raises:
            ModelFileError: there are more or fewer.
        """
        found: list[Hdf5Dataset] = []
        for path in dict.fromkeys(slot.path for slot in slots):
            names = [slot.name for slot in slots if slot.path == path]
            place = "/".join(part for part in (self._paths[layer], path, "vars") if part)
            group = self._root.find(place)
            there = group.names if isinstance(group, Hdf5Group) else []
            expected = [str(number) for number in range(len(names))]
            if not isinstance(group, Hdf5Group) or sorted(there) != sorted(expected):
                raise _missing(names, len(there), f"{where}, {place}")
            found += [group.dataset(name) for name in expected]
        return found


class ListedWeights:
    """Weights of `.h5`: each layer has a group, and an attribute that lists its weights in their order.

    Args:
        root: the group that has the layers.
        names: name of a layer to the name of its group, where they differ.
    """

    def __init__(self, root: Hdf5Group, names: Mapping[str, str] | None = None) -> None:
        self._root = root
        self._names = names or {}

    def find(self, layer: str, slots: Sequence[Slot], where: str) -> list[Hdf5Dataset]:
        """Give one dataset for each slot.

        Raises:
            ModelFileError: there are more or fewer, or in another order.
        """
        group = self._root.find(self._names.get(layer, layer))
        if not isinstance(group, Hdf5Group):
            raise _missing([slot.name for slot in slots], 0, where)
        listed = read_texts(group, "weight_names")
        if len(listed) != len(slots):
            raise _missing([slot.name for slot in slots], len(listed), where)
        known = {slot.name for slot in slots}
        for name, slot in zip(listed, slots, strict=True):
            last = name.rpartition("/")[2].partition(":")[0]
            if last in known and last != slot.name:
                raise ModelFileError(
                    f"the weight {quote_value(name)} stands in the place of {slot.name}",
                    where=where,
                    expected=", ".join(slot.name for slot in slots),
                )
        return [group.dataset(name) for name in listed]


def read_texts(group: Hdf5Group, name: str) -> list[str]:
    """Read an attribute that lists names; Keras breaks a long one into `name0`, `name1`, and so on.

    Raises:
        ModelFileError: it is there and lists no names.
    """
    parts = [name] if name in group.attributes else []
    while not parts or parts[-1] != name:
        part = f"{name}{len(parts)}"
        if part not in group.attributes:
            break
        parts.append(part)
    found: list[str] = []
    for part in parts:
        value = group.attributes[part]
        if isinstance(value, list):
            found += value
        elif isinstance(value, str) or value.size:  # an empty list is stored as an empty array of numbers
            raise group.damaged(f"its attribute {part!r} is no list of names")
    return found


def load(datasets: Sequence[Hdf5Dataset], where: str) -> list[npt.NDArray[Any]]:
    """Read the arrays of a layer.

    Raises:
        ModelFileError: they are damaged, or no floats.
    """
    arrays = [dataset.read() for dataset in datasets]
    for array, dataset in zip(arrays, datasets, strict=True):
        if array.dtype.kind != "f":
            raise ModelFileError(
                f"{dataset.path} has the dtype {array.dtype}", where=where, expected="floats"
            )
    return arrays


def fill(slots: Sequence[Slot], arrays: Sequence[npt.NDArray[Any]]) -> None:
    """Put arrays into the slots, whose shapes they have."""
    for slot, array in zip(slots, arrays, strict=True):
        slot.put(array)


def check_shapes(slots: Sequence[Slot], datasets: Sequence[Hdf5Dataset], where: str) -> None:
    """Refuse datasets of other shapes than those of the slots; nothing is read of them.

    Raises:
        ModelFileError: names the weight, the shape that was found and the one expected.
    """
    for slot, dataset in zip(slots, datasets, strict=True):
        if dataset.shape != slot.shape:
            name = f"{slot.path}/{slot.name}" if slot.path else slot.name
            raise ModelFileError(
                f"the weight {name} has shape {dataset.shape}",
                where=where,
                expected=f"{slot.shape}",
                hint="the architecture and the weights in the file are not of one model",
            )


def _missing(names: Sequence[str], found: int, where: str) -> ModelFileError:
    return ModelFileError(
        f"{found} weights are stored",
        where=where,
        expected=f"{len(names)}: {', '.join(names)}",
        hint="the architecture and the weights in the file are not of one model",
    )
