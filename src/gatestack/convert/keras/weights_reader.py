"""Weights that Keras saved without an architecture, into a network that has one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from gatestack.convert.hdf5 import Hdf5Group, open_hdf5
from gatestack.convert.keras.architecture import Place
from gatestack.convert.keras.layer_writers import keras_class
from gatestack.convert.keras.reader import open_file
from gatestack.convert.keras.shards import shards_of
from gatestack.convert.keras.slots import slots_of
from gatestack.convert.keras.stores import (
    ListedWeights,
    PathWeights,
    Wanted,
    WeightStore,
    check_shapes,
    fill,
    layer_paths,
    load,
    read_texts,
)
from gatestack.convert.layers import MaskBy, NetworkLayer
from gatestack.convert.network import Network
from gatestack.errors import ModelFileError, quote_value

__all__ = ["read_keras_weights"]


def read_keras_weights(path: str | os.PathLike[str], network: Network, *, max_bytes: int = 2**30) -> Network:
    """Read weights that Keras saved with `save_weights` into a network of the same layers.

    Layers are matched as Keras does it: in a `.weights.h5` file by their class and their order in it, in an
    older `.h5` file by the order of those that have weights.

    Args:
        path: a `.weights.h5` or `.h5` file, or a `.weights.json` with the files that it names beside it.
        network: of the same layers in the same order. Its weights are replaced, all or none of them.
        max_bytes: how large the file, and all its weights together, may be. Default 1 GiB.

    Returns:
        The network itself.

    Raises:
        ModelFileError: the file is missing, damaged or hostile, or its weights do not fit: the message names
            the layer, the weight, the shape found and the one expected. The network is as it was.
        ArgumentError: the network has a layer that Keras has not.
        StorageError: the system would not let a file be read.

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
    with ExitStack() as stack:
        roots = _roots(path, max_bytes, stack)
        wanted = _wanted(list(layers.values()), where)
        found = _store(roots, wanted).find(wanted)
        for layer, datasets in zip(wanted, found, strict=True):
            check_shapes(layer.slots, datasets, layer.where)
        # All are read before the first is put: a damaged file must not leave half a network.
        arrays = [load(one.slots, datasets, one.where) for one, datasets in zip(wanted, found, strict=True)]
    for layer, values in zip(wanted, arrays, strict=True):
        fill(layer.slots, values)
    return network


def _roots(path: str | os.PathLike[str], max_bytes: int, stack: ExitStack) -> list[Hdf5Group]:
    """Open the file, or those over which a `.weights.json` says that the weights are spread."""
    if Path(path).suffix != ".json":
        stream = stack.enter_context(open_file(path, max_bytes))
        return [open_hdf5(stream, os.fspath(path), max_bytes=max_bytes)]
    roots, left = [], max_bytes
    for shard in shards_of(path):
        stream = stack.enter_context(open_file(shard, left))
        left -= os.fstat(stream.fileno()).st_size
        roots.append(open_hdf5(stream, os.fspath(shard), max_bytes=max_bytes))
    return roots


def _wanted(layers: Sequence[tuple[str, NetworkLayer]], where: str) -> list[Wanted]:
    """List the layers that have weights, with their places in a file of such layers."""
    # A step that Keras has no layer for, and that has no weights, does not stand in its way.
    kinds = [(name, "" if isinstance(layer, MaskBy) else keras_class(layer)) for name, layer in layers]
    paths = layer_paths(kinds)
    every = [
        Wanted(Place(name, paths[name]), slots_of(layer), f"{where}, layer {quote_value(name)}")
        for name, layer in layers
    ]
    return [one for one in every if one.slots]


def _store(roots: Sequence[Hdf5Group], wanted: Sequence[Wanted]) -> WeightStore:
    root = roots[0]
    old = root.find("model_weights") or root
    if isinstance(old, Hdf5Group) and ("layer_names" in old.attributes or "layer_names0" in old.attributes):
        return _listed(old, wanted)
    if not any({"layers", "_layer_checkpoint_dependencies"} & set(one.names) for one in roots):
        raise ModelFileError(
            "it has no weights of Keras layers",
            where=root.where,
            expected="a group 'layers', or an attribute layer_names",
        )
    return PathWeights(*roots)


def _listed(group: Hdf5Group, wanted: Sequence[Wanted]) -> ListedWeights:
    """Match layers that have weights by their order."""
    stored = [
        name for name in read_texts(group, "layer_names") if read_texts(group.group(name), "weight_names")
    ]
    if len(stored) != len(wanted):
        raise group.damaged(f"{len(stored)} layers have weights, and {len(wanted)} in the network")
    return ListedWeights(group, {one.place.owner: name for one, name in zip(wanted, stored, strict=True)})
