"""A network as a `.keras` file, for Keras 3 on any backend."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

from gatestack.convert.keras.formulas import RealSteps, Reference
from gatestack.convert.keras.layer_writers import keras_class, keras_config, serialised
from gatestack.convert.keras.masks import masks_after, takes_mask
from gatestack.convert.keras.order import Step, layer_order
from gatestack.convert.keras.shapes import Shape, shapes_of
from gatestack.convert.keras.slots import slots_of
from gatestack.convert.keras.stores import layer_paths
from gatestack.convert.layers import (
    Attention,
    BidirectionalLayer,
    Combine,
    Concatenate,
    NetworkLayer,
    RecurrentLayer,
)
from gatestack.convert.network import Network
from gatestack.convert.ports import Node, Port
from gatestack.errors import ArgumentError
from gatestack.runtime.durable import write_atomically

__all__ = ["write_keras"]

_KERAS_VERSION = "3.5.0"  # the oldest whose layers have every setting that is written
_DAY = (1980, 1, 1, 0, 0, 0)  # equal networks give equal bytes


def write_keras(
    network: Network,
    path: str | os.PathLike[str],
    *,
    batch_size: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write a network as a `.keras` file, which Keras 3 loads on any of its backends.

    It becomes a Functional model; layers and their weights keep their names and numbers. Needs the extra
    `keras`, for h5py.

    Args:
        network: to be written.
        path: ends with `.keras`.
        batch_size: rows of every batch, which Keras wants to know where a layer is stateful. Default any.
        overwrite: replace a file that stands there. Default False.

    Raises:
        ArgumentError: a layer or an option that Keras has not, by the name of its node; the path exists or
            has another ending; h5py is not installed.
        StorageError: the file cannot be written. What was at `path` is still there, whole.

    Example:
        >>> from gatestack.convert import Network, Node, Port
        >>> from gatestack.convert.layers import Dense, DenseOptions
        >>> layer = Dense(DenseOptions(units=2, input_size=3))
        >>> write_keras(Network([Port("x", (3,))], [Node("out", layer, ("x",))], ["out"]), "model.keras")
        >>> from gatestack.convert.keras import read_keras
        >>> read_keras("model.keras").nodes[0].name
        'out'
    """
    target = Path(path)
    if target.suffix != ".keras":
        raise ArgumentError("another ending", where=str(target), expected="a path that ends with .keras")
    if os.path.lexists(target) and (not overwrite or target.is_dir()):
        raise ArgumentError(
            "exists already", where=str(target), hint="choose another path, or pass overwrite=True"
        )
    h5py = _h5py()
    model = _Model(network, batch_size)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in (
            ("metadata.json", json.dumps({"keras_version": _KERAS_VERSION, "date_saved": ""}).encode()),
            ("config.json", json.dumps(model.config()).encode()),
            ("model.weights.h5", model.weights(h5py)),
        ):
            archive.writestr(zipfile.ZipInfo(name, _DAY), content)
    write_atomically(target, stream.getvalue())


def _h5py() -> ModuleType:
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise ArgumentError(
            "h5py is not installed, which writes weights for Keras",
            where="write_keras",
            hint="pip install 'gatestack[keras]'",
        ) from None


class _Model:
    """A network as Keras sees it: layers that are called, instead of nodes that have layers."""

    def __init__(self, network: Network, batch_size: int | None) -> None:
        self._network = network
        self._batch = batch_size
        self._policy = "float64" if str(network.dtype) == "torch.float64" else "float32"
        self._shapes: dict[str, list[Shape]] = {}
        # name of a port or node -> name of Keras' layer, which of its calls it is
        self._places: dict[str, tuple[str, int]] = {}
        self._entries: dict[str, dict[str, Any]] = {}
        self._layers: dict[str, NetworkLayer] = {}
        self._kinds: dict[str, str] = {}
        self._masks: dict[tuple[str, int], RealSteps | None] = {}
        self._calls: dict[tuple[str, int], list[Step]] = {}
        self._read = {source for node in network.nodes for source in node.inputs} | {*network.outputs}
        names: dict[int, str] = {}
        for port in network.inputs:
            self._add_port(port)
        for node in network.nodes:
            try:
                self._add_node(node, names)
            except ArgumentError as error:
                raise ArgumentError(
                    error.what,
                    where=f"node {node.name!r}" + (f", {error.where}" if error.where else ""),
                    expected=error.expected,
                    hint=error.hint,
                ) from None
        outputs = [self._history(source)[:2] for source in network.outputs]
        self._order = layer_order(self._calls, outputs)

    def config(self) -> dict[str, Any]:
        network = self._network
        return {
            "module": "keras.src.models.functional",
            "class_name": "Functional",
            "config": {
                "name": _free(network.name, ()),
                "trainable": True,
                "layers": [self._entries[name] for name in self._order],
                "input_layers": [[self._places[port.name][0], 0, 0] for port in network.inputs],
                "output_layers": [list(self._history(source)) for source in network.outputs],
            },
            "registered_name": "Functional",
        }

    def weights(self, h5py: ModuleType) -> bytes:
        stream = io.BytesIO()
        paths = layer_paths([(name, self._kinds[name]) for name in self._order])
        with h5py.File(stream, "w") as file:
            for name in self._order:
                if name not in self._layers:
                    continue
                layer = self._layers[name]
                counts: dict[str, int] = {}
                for slot in slots_of(layer):
                    number = counts[slot.path] = counts.get(slot.path, -1) + 1
                    parts = (paths[name], slot.path, "vars", str(number))
                    file["/".join(part for part in parts if part)] = slot.get()
        return stream.getvalue()

    def _add_port(self, port: Port) -> None:
        if port.batch_axis != 0:
            raise ArgumentError(
                f"its batch is axis {port.batch_axis}", where=f"input {port.name!r}", expected="axis 0"
            )
        name = _free(port.name, self._entries)
        dtype = self._policy if port.dtype != "int64" else "int64"
        config = {"name": name, "batch_shape": [self._batch, *port.shape], "dtype": dtype}
        self._entries[name] = {**serialised("InputLayer", config), "name": name, "inbound_nodes": []}
        self._places[port.name] = (name, 0)
        self._calls[name, 0] = []
        self._shapes[port.name] = [port.shape]
        self._kinds[name] = "InputLayer"

    def _add_node(self, node: Node, names: dict[int, str]) -> None:
        layer = node.layer
        shapes = [self._shape(source) for source in node.inputs]
        kind = keras_class(layer)
        config = keras_config(layer, shapes)
        if id(layer) not in names:
            # Keras calls the operations so by which it joins masks, and no name may be there twice.
            clashes = kind == "Concatenate" and re.fullmatch(r"concatenate(_\d+)?", node.name)
            wanted = f"{node.name}_layer" if clashes else node.name
            name = names[id(layer)] = _free(wanted, self._entries)
            policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": self._policy}}
            config = {"name": name, "dtype": {**policy, "registered_name": None}, **config}
            self._entries[name] = {**serialised(kind, config), "name": name, "inbound_nodes": []}
            self._layers[name] = layer
            self._kinds[name] = kind
        name = names[id(layer)]
        calls = self._entries[name]["inbound_nodes"]
        self._places[node.name] = (name, len(calls))
        self._hand_on(node)
        calls.append(self._call(node))
        try:
            self._shapes[node.name] = shapes_of(layer, shapes)
        except (ValueError, IndexError) as error:
            raise ArgumentError(str(error) or "its input has too few axes") from None
        if config.get("stateful") and self._batch is None:
            raise ArgumentError(
                "it is stateful, and Keras wants to know the rows of a batch",
                expected="batch_size=…",
                hint="in Python: gatestack.convert.keras.write_keras(network, path, batch_size=N)",
            )

    def _hand_on(self, node: Node) -> None:
        """Follow the masks: Keras 3 hands none to a layer that is called with states, we do."""
        layer = node.layer
        masks = [self._masks.get(self._split(source)) for source in node.inputs]
        with_states = isinstance(layer, RecurrentLayer | BidirectionalLayer) and len(node.inputs) > 1
        if with_states and masks[0] is not None:
            raise ArgumentError(
                "it is called with states and on steps of which a mask says that some are not real",
                expected="one of both: Keras 3 takes no notice of the mask then",
            )
        if isinstance(layer, Combine | Concatenate) and layer.options.masks == "all" and any(masks):
            raise ArgumentError(
                "a step of it is real where it is in all its inputs, as in Keras 2",
                expected="masks='any', which is Keras 3",
            )
        sources = [Reference(*self._history(source)) for source in node.inputs]
        for output, mask in enumerate(masks_after(layer, sources, masks)):
            self._masks[node.name, output] = mask
        steps: list[Step] = [(source.layer, source.call) for source in sources]
        if takes_mask(layer) and masks[0] is not None:
            steps.append(masks[0])
        self._calls[self._places[node.name]] = steps

    def _call(self, node: Node) -> dict[str, Any]:
        layer, tensors = node.layer, [self._tensor(source) for source in node.inputs]
        if isinstance(layer, Combine | Concatenate):
            return {"args": [tensors], "kwargs": {}}
        if isinstance(layer, Attention):
            # Its weights are an output only of a call that asks for them.
            wanted = f"{node.name}:1" in self._read
            return {"args": [tensors], "kwargs": {"return_attention_scores": True} if wanted else {}}
        if isinstance(layer, RecurrentLayer | BidirectionalLayer) and len(tensors) > 1:
            return {"args": tensors[:1], "kwargs": {"initial_state": tensors[1:]}}
        return {"args": tensors, "kwargs": {}}

    def _tensor(self, source: str) -> dict[str, Any]:
        config = {
            "shape": [self._batch, *self._shape(source)],
            "dtype": self._policy,
            "keras_history": list(self._history(source)),
        }
        return {"class_name": "__keras_tensor__", "config": config}

    def _split(self, source: str) -> tuple[str, int]:
        if source in self._places:
            return source, 0
        head, _, tail = source.rpartition(":")
        return head, int(tail)

    def _shape(self, source: str) -> Shape:
        name, output = self._split(source)
        return self._shapes[name][output]

    def _history(self, source: str) -> tuple[str, int, int]:
        name, output = self._split(source)
        return (*self._places[name], output)


def _free(name: str, taken: Any) -> str:
    """Make a name that Keras takes, and that is not taken."""
    wanted = name.replace("/", "_").replace(":", "_")
    found, number = wanted, 1
    while found in taken:
        found, number = f"{wanted}_{number}", number + 1
    return found
