"""Weights that Keras saved without an architecture, into a network that has one."""

from __future__ import annotations

import os
from collections.abc import Sequence

from gatestack.convert.hdf5 import Hdf5Dataset, Hdf5Group, open_hdf5
from gatestack.convert.keras.layer_writers import keras_class
from gatestack.convert.keras.reader import open_file
from gatestack.convert.keras.slots import Slot, slots_of
from gatestack.convert.keras.stores import (
    ListedWeights,
    PathWeights,
    WeightStore,
    check_shapes,
    fill,
    layer_paths,
    load,
    read_texts,
)
from gatestack.convert.layers import NetworkLayer
from gatestack.convert.network import Network
from gatestack.errors import ModelFileError, quote_value

__all__ = ["read_keras_weights"]


def read_keras_weights(path: str | os.PathLike[str], network: Network, *, max_bytes: int = 2**30) -> Network:
    """Read weights that Keras saved with `save_weights` into a network of the same layers.

    Layers are matched as Keras does it: in a `.weights.h5` file by their class and their order in it, in an
    older `.h5` file by the order of those that have weights.

    Args:
        path: a `.weights.h5` or `.h5` file.
        network: of the same layers in the same order. Its weights are replaced, all or none of them.
        max_bytes: how large the file, and all its weights together, may be. Default 1 GiB.

    Returns:
        The network itself.

    Raises:
        ModelFileError: the file is missing, damaged or hostile, or its weights do not fit: the message names
            the layer, the weight, the shape found and the one expected. The network is as it was.
        ArgumentError: the network has a layer that Keras has not.

    Example:
        >>> import h5py
        >>> from gatestack.convert import Node, Port
        >>> from gatestack.convert.layers import Dense, DenseOptions
        >>> layer = Dense(DenseOptions(units=1, input_size=1, bias=False))
        >>> network = Network([Port("x", (1,))], [Node("out", layer, ("x",))], ["out"])
        >>> with h5py.File("model.weights.h5", "w") as file:
        ...     file["layers/dense/vars/0"] = [[2.5]]
        >>> read_keras_weights("model.weights.h5", network).predict([[4.0]]).tolist()
        [[10.0]]
    """
    where = os.fspath(path)
    layers: dict[int, tuple[str, NetworkLayer]] = {}
    for node in network.nodes:
        layers.setdefault(id(node.layer), (node.name, node.layer))
    with open_file(path, max_bytes) as stream:
        found = _found(open_hdf5(stream, where, max_bytes=max_bytes), list(layers.values()))
        # All are read before the first is put: a damaged file must not leave half a network.
        arrays = [load(datasets, place) for _, datasets, place in found]
    for (slots, _, _), values in zip(found, arrays, strict=True):
        fill(slots, values)
    return network


def _found(
    root: Hdf5Group, layers: Sequence[tuple[str, NetworkLayer]]
) -> list[tuple[Sequence[Slot], list[Hdf5Dataset], str]]:
    """Find the weights of each layer that has some, and compare their shapes."""
    store = _store(root, layers)
    found: list[tuple[Sequence[Slot], list[Hdf5Dataset], str]] = []
    for name, layer in layers:
        slots, place = slots_of(layer), f"{root.where}, layer {quote_value(name)}"
        if slots:
            datasets = store.find(name, slots, place)
            check_shapes(slots, datasets, place)
            found.append((slots, datasets, place))
    return found


def _store(root: Hdf5Group, layers: Sequence[tuple[str, NetworkLayer]]) -> WeightStore:
    old = root.find("model_weights") or root
    if isinstance(old, Hdf5Group) and ("layer_names" in old.attributes or "layer_names0" in old.attributes):
        return _listed(old, layers)
    if not {"layers", "_layer_checkpoint_dependencies"} & set(root.names):
        raise ModelFileError(
            "it has no weights of Keras layers",
            where=root.where,
            expected="a group 'layers', or an attribute layer_names",
        )
    return PathWeights(root, layer_paths([(name, keras_class(layer)) for name, layer in layers]))


def _listed(group: Hdf5Group, layers: Sequence[tuple[str, NetworkLayer]]) -> ListedWeights:
    """Match layers that have weights by their order."""
    stored = [
        name for name in read_texts(group, "layer_names") if read_texts(group.group(name), "weight_names")
    ]
    ours = [name for name, layer in layers if slots_of(layer)]
    if len(stored) != len(ours):
        raise group.damaged(f"{len(stored)} layers have weights, and {len(ours)} in the network")
    return ListedWeights(group, dict(zip(ours, stored, strict=True)))
