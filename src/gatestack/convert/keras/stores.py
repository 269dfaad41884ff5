"""Where the weights of a layer are in a Keras file: by path as in `.keras`, or by a list as in `.h5`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from gatestack.convert.hdf5 import Hdf5Dataset, Hdf5Group
from gatestack.convert.keras.architecture import Place
from gatestack.convert.keras.slots import Slot
from gatestack.errors import ModelFileError, quote_value

__all__ = [
    "ListedWeights",
    "PathWeights",
    "Wanted",
    "WeightStore",
    "check_shapes",
    "fill",
    "layer_paths",
    "load",
    "read_texts",
]


_OLD_FOLDER = "_layer_checkpoint_dependencies"


@dataclass(frozen=True, eq=False)
class Wanted:
    """A layer whose weights are looked for.

    Args:
        place: where they are.
        slots: what they are, at least one.
        where: the file and the layer, for errors.
    """

    place: Place
    slots: Sequence[Slot]
    where: str


class WeightStore(Protocol):
    """Finds the weights of layers."""

    def find(self, layers: Sequence[Wanted]) -> list[list[Hdf5Dataset]]:
        """Give for each layer one dataset for each slot.

        Args:
            layers: all that have weights, in the order of the model.
        """


def layer_paths(kinds: Sequence[tuple[str, str]], folder: str = "layers") -> dict[str, str]:
    """Give the path that Keras 3 gives to each layer: its class in small letters, numbered from the second.

    Args:
        kinds: name and class of each layer, in the order of the model.
        folder: what the paths begin with. Default "layers".

    Example:
        >>> layer_paths([("a", "LSTM"), ("b", "LSTM"), ("c", "TimeDistributed")])
        {'a': 'layers/lstm', 'b': 'layers/lstm_1', 'c': 'layers/time_distributed'}
    """
    seen: dict[str, int] = {}
    found = {}
    for name, kind in kinds:
        word = re.sub(r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", kind).lower()
        number = seen[word] = seen.get(word, -1) + 1
        found[name] = f"{folder}/{word}_{number}" if number else f"{folder}/{word}"
    return found


class PathWeights:
    """Weights of `.keras` and `.weights.h5`: each layer has a path, and under it `vars/0`, `vars/1`.

    Args:
        roots: of the HDF5 file, or of the files over which the weights are spread.
    """

    def __init__(self, *roots: Hdf5Group) -> None:
        self._roots = roots
        # Keras 2.12 to 2.14 had another name for the same place.
        self._old = any(_OLD_FOLDER in root.names for root in roots)

    def find(self, layers: Sequence[Wanted]) -> list[list[Hdf5Dataset]]:
        """Give for each layer one dataset for each slot.

        Raises:
            ModelFileError: there are more or fewer.
        """
        return [self._of_layer(layer) for layer in layers]

    def _of_layer(self, layer: Wanted) -> list[Hdf5Dataset]:
        found: list[Hdf5Dataset] = []
        for path in dict.fromkeys(slot.path for slot in layer.slots):
            names = [slot.name for slot in layer.slots if slot.path == path]
            inside = path.removeprefix(layer.place.within).strip("/")
            place = "/".join(part for part in (layer.place.path, inside, "vars") if part)
            if self._old:
                place = self._old_place(place)
            groups = [group for root in self._roots if isinstance(group := root.find(place), Hdf5Group)]
            there = {name: group for group in groups for name in group.names}
            expected = [str(number) for number in range(len(names))]
            if sorted(there) != sorted(expected) or sum(len(group.names) for group in groups) != len(there):
                raise _missing(names, len(there), f"{layer.where}, {place}")
            found += [there[name].dataset(name) for name in expected]
        return found

    def _old_place(self, place: str) -> str:
        """Give the path in files of Keras 2.12 to 2.14.

        2.12 counts every layer with weights twice: `gru`, `gru_2`, `gru_4`.
        """
        parts = place.split("/")
        for number in range(len(parts) - 1):
            if parts[number] != "layers":
                continue
            parts[number] = _OLD_FOLDER
            word, _, turn = parts[number + 1].rpartition("_")
            groups = [root.find("/".join(parts[: number + 1])) for root in self._roots]
            there = {name for group in groups if isinstance(group, Hdf5Group) for name in group.names}
            if turn.isdecimal() and f"{word}_1" not in there and f"{word}_2" in there:
                parts[number + 1] = f"{word}_{2 * int(turn)}"
        return "/".join(parts)


class ListedWeights:
    """Weights of `.h5`: each layer has a group, and an attribute that lists its weights in their order.

    A model inside the model is one layer here: of all its layers, weights that are trained come first.

    Args:
        root: the group that has the layers.
        names: name of a layer to the name of its group, where they differ.
    """

    def __init__(self, root: Hdf5Group, names: Mapping[str, str] | None = None) -> None:
        self._root = root
        self._names = names or {}

    def find(self, layers: Sequence[Wanted]) -> list[list[Hdf5Dataset]]:
        """Give for each layer one dataset for each slot.

        Raises:
            ModelFileError: there are more or fewer, or in another order.
        """
        owners: dict[str, list[tuple[Wanted, int]]] = {}
        for layer in layers:
            slots = owners.setdefault(layer.place.owner, [])
            slots += [(layer, number) for number in range(len(layer.slots))]
        found: dict[tuple[int, int], Hdf5Dataset] = {}
        for owner, slots in owners.items():
            ordered = sorted(slots, key=lambda one: _stands_still(*one))  # otherwise as they are
            for (layer, number), dataset in zip(ordered, self._of_owner(owner, ordered), strict=True):
                found[id(layer), number] = dataset
        return [[found[id(layer), number] for number in range(len(layer.slots))] for layer in layers]

    def _of_owner(self, owner: str, slots: Sequence[tuple[Wanted, int]]) -> list[Hdf5Dataset]:
        layer = slots[0][0]
        names = [one.slots[number].name for one, number in slots]
        group = self._root.find(self._names.get(owner, owner))
        listed = read_texts(group, "weight_names") if isinstance(group, Hdf5Group) else []
        if not isinstance(group, Hdf5Group) or len(listed) != len(slots):
            raise _missing(names, len(listed), layer.where)
        for name, wanted in zip(listed, names, strict=True):
            last = name.rpartition("/")[2].partition(":")[0]
            if last in names and last != wanted:
                raise ModelFileError(
                    f"the weight {quote_value(name)} stands in the place of {wanted}",
                    where=layer.where,
                    expected=", ".join(names[:20]),
                )
        return [group.dataset(name) for name in listed]


def _stands_still(layer: Wanted, number: int) -> bool:
    """Whether a weight stands behind those that are trained, in the list of a model inside the model."""
    outermost, *inner = layer.place.trainable or (True,)
    return outermost and bool(inner) and not (all(inner) and layer.slots[number].trained)


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


def load(slots: Sequence[Slot], datasets: Sequence[Hdf5Dataset], where: str) -> list[npt.NDArray[Any]]:
    """Read the arrays of a layer.

    Raises:
        ModelFileError: they are damaged, or of another kind of numbers.
    """
    arrays = [dataset.read() for dataset in datasets]
    for slot, array, dataset in zip(slots, arrays, datasets, strict=True):
        if array.dtype.kind not in ("iu" if slot.whole else "f"):
            raise ModelFileError(
                f"{dataset.path} has the dtype {array.dtype}",
                where=where,
                expected="whole numbers" if slot.whole else "floats",
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
