"""A network of what a Keras file says: layers of an allow-list, filled after every size was compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch

from gatestack.convert.hdf5 import Hdf5Dataset
from gatestack.convert.keras.architecture import Architecture, Call, KerasLayer
from gatestack.convert.keras.formulas import RealSteps, Reference
from gatestack.convert.keras.layers import Entry
from gatestack.convert.keras.layers_over_time import read_layer
from gatestack.convert.keras.masks import masks_after
from gatestack.convert.keras.settings import Settings
from gatestack.convert.keras.shapes import Shape, shapes_of
from gatestack.convert.keras.slots import slots_of
from gatestack.convert.keras.stores import Wanted, WeightStore, check_shapes, fill, load
from gatestack.convert.layers import MaskBy, MaskByOptions, NetworkLayer, Permute, PermuteOptions
from gatestack.convert.network import Network
from gatestack.convert.ports import Node, Port, PortType
from gatestack.errors import ArgumentError, ModelFileError, quote_value

__all__ = ["assemble"]

_PORTS: dict[str, PortType] = {
    "float32": "float32", "float16": "float32", "bfloat16": "float32", "float64": "float64",
    "int8": "int64", "int16": "int64", "int32": "int64", "int64": "int64", "uint8": "int64",
    "bool": "int64",
}  # fmt: skip
# Name, layer of the file if any, layer, inputs.
_Planned: TypeAlias = tuple[str, str, NetworkLayer, tuple[str, ...]]
# Beside what the file stores, a layer may have weights that stand still (a bias of zero). A layer that would
# have many more than are stored is not what the file says.
_UNSTORED = 2**20
_MOST_OF_A_ROW = 2**24


def assemble(architecture: Architecture, store: WeightStore, where: str) -> Network:
    """Make the network.

    Args:
        architecture: layers and calls.
        store: their weights.
        where: the file, for errors.

    Raises:
        ModelFileError: a layer that is not read, or whose weights are missing or of another shape. Layers are
            made without memory first, and their sizes compared with those in the file.
    """
    return _Assembly(architecture, store, where).network()


class _Assembly:
    """The network as far as it is made."""

    def __init__(self, architecture: Architecture, store: WeightStore, where: str) -> None:
        self._architecture = architecture
        self._store = store
        self._where = where
        self._layers = {layer.name: layer for layer in architecture.layers}
        self._shapes: dict[tuple[str, int], list[Shape]] = {}
        self._masks: dict[Reference, RealSteps | None] = {}
        self._empty: dict[str, NetworkLayer] = {}
        self._states = {call.layer for call in architecture.calls if call.states or self._has_states(call)}
        self._wide = False

    def network(self) -> Network:
        ports = [self._port(name) for name in self._architecture.inputs]
        planned = [one for call in self._architecture.calls for one in self._planned(call)]
        made = self._filled()
        nodes = [Node(name, made.get(owner, layer), inputs) for name, owner, layer, inputs in planned]
        outputs = [self._written(reference) for reference in self._architecture.outputs]
        try:
            network = Network(ports, nodes, outputs, name=self._architecture.name)
        except ArgumentError as error:
            raise ModelFileError(error.what, where=self._where, expected=error.expected) from None
        return (network.double() if self._wide else network).eval()

    def _has_states(self, call: Call) -> bool:
        """Whether a call gives states as further inputs, as Keras 2 writes them."""
        kind = self._layers[call.layer].kind
        return len(call.inputs) > 1 and kind in ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional")

    def _settings(self, layer: KerasLayer) -> Settings:
        return Settings(layer.data.get("config"), f"{self._where}, layer {quote_value(layer.name)}")

    def _port(self, name: str) -> Port:
        settings = self._settings(self._layers[name])
        settings.only("sparse", False)
        settings.only("ragged", False)
        settings.only("optional", False)
        shape = settings.take("batch_shape", settings.take("batch_input_shape", settings.take("shape")))
        sizes = shape[1:] if isinstance(shape, list) else None
        if not sizes or len(sizes) > 32 or not all(_is_size(size) for size in sizes):
            raise settings.refused(
                f"its shape is {quote_value(shape)}", expected="a batch, then sizes or null"
            )
        dtype = settings.take("dtype", "float32")
        kind = _PORTS.get(dtype if isinstance(dtype, str) else settings.dtype)
        if kind is None:
            raise settings.refused(
                f"its dtype is {quote_value(dtype)}", expected="one of " + ", ".join(_PORTS)
            )
        self._shapes[name, 0] = [tuple(sizes)]
        _check_row(self._shapes[name, 0], settings)
        return Port(name, tuple(sizes), kind)

    def _planned(self, call: Call) -> list[_Planned]:
        """Plan the node of a call, and one before it where it has another mask than that of its input."""
        layer = self._layers[call.layer]
        settings = self._settings(layer)
        shapes = [self._shape(reference, settings) for reference in call.inputs]
        empty = self._empty_layer(layer, settings, shapes)
        try:
            found = self._shapes[call.layer, call.number] = shapes_of(empty, shapes)
        except (ValueError, IndexError) as error:
            raise settings.refused(str(error) or "its input has too few axes") from None
        _check_row(found, settings)
        name, inputs = _name(call.layer, call.number), [self._written(source) for source in call.inputs]
        masks = [self._masks.get(source) for source in call.inputs]
        before: list[_Planned] = []
        told = self._told(call, masks)
        if told is not None:
            masks[0], reference = told, told.operands[0]
            before = [(f"{name}/mask", "", MaskBy(MaskByOptions()), (inputs[0], self._written(reference)))]
        elif call.masks is not None and any(
            mask not in (None, masks[place]) for place, mask in enumerate(call.masks[: len(masks)])
        ):
            raise settings.refused("it is called with another mask than that of its input")
        elif self._drops_mask(call):
            bare = Permute(PermuteOptions(axes=tuple(range(len(shapes[0]) + 1))))
            before, masks = [(f"{name}/without_mask", "", bare, (inputs[0],))], [None] * len(masks)
        if before:
            inputs[0] = before[0][0]
        self._hand_on(empty, call, masks)
        return [*before, (name, call.layer, empty, tuple(inputs))]

    def _told(self, call: Call, masks: list[RealSteps | None]) -> RealSteps | None:
        """Give the mask that a call is told and that is an input of the model; None where there is none."""
        mask = call.masks[0] if call.masks else None
        if mask is None or mask == masks[0] or mask.operation != "given":
            return None
        return mask if mask.operands[0].layer in self._architecture.inputs else None

    def _drops_mask(self, call: Call) -> bool:
        """Whether the mask of the input has no effect: Keras 3 hands none to a layer called with states."""
        with_states = len(call.inputs) > 1 and call.layer in self._states
        masked = self._masks.get(call.inputs[0]) is not None
        return self._architecture.version > 2 and with_states and call.masks is None and masked

    def _hand_on(self, made: NetworkLayer, call: Call, masks: list[RealSteps | None]) -> None:
        for output, mask in enumerate(masks_after(made, call.inputs, masks)):
            self._masks[Reference(call.layer, call.number, output)] = mask

    def _shape(self, reference: Reference, settings: Settings) -> Shape:
        shapes = self._shapes.get(reference[:2], [])
        if reference.output >= len(shapes):
            raise settings.refused(
                f"{quote_value(reference.layer)} has no output {reference.output}",
                expected=f"one of {len(shapes)}",
            )
        return shapes[reference.output]

    def _empty_layer(self, layer: KerasLayer, settings: Settings, shapes: list[Shape]) -> NetworkLayer:
        """Make a layer without memory for its weights."""
        entry = Entry(settings, shapes, self._architecture.version)
        try:
            with torch.device("meta"):
                empty = read_layer(layer.data, entry, takes_state=layer.name in self._states)
        except (RuntimeError, OverflowError) as error:  # torch, of shapes whose product overflows
            raise settings.refused(f"its sizes cannot be: {str(error).splitlines()[0][:100]}") from None
        if settings.dtype == "float64":
            self._wide = True
        known = self._empty.setdefault(layer.name, empty)
        if known.to_data() != empty.to_data():
            raise settings.refused("it is called on inputs of different sizes")
        return empty

    def _filled(self) -> dict[str, NetworkLayer]:
        """Make the layers with their weights, after the sizes of all were compared with those in the file."""
        wanted: dict[str, Wanted] = {}
        for layer in self._architecture.layers:  # in the order of the file, which the weights have
            if layer.name in self._empty and (slots := slots_of(self._empty[layer.name])):
                wanted[layer.name] = Wanted(layer.place, slots, self._settings(layer).where)
        found = dict(zip(wanted, self._store.find(list(wanted.values())), strict=True))
        for name, empty in self._empty.items():
            self._check_sizes(empty, wanted.get(name), found.get(name, []), self._layers[name])
        made = {}
        for name, empty in self._empty.items():
            whole = made[name] = type(empty)(empty.options)
            if self._wide:
                whole.double()
            if name in wanted:
                slots = slots_of(whole)
                fill(slots, load(slots, found[name], wanted[name].where))
        return made

    def _check_sizes(
        self, empty: NetworkLayer, wanted: Wanted | None, datasets: Sequence[Hdf5Dataset], layer: KerasLayer
    ) -> None:
        if wanted is not None:
            check_shapes(wanted.slots, datasets, wanted.where)
        stored = sum(dataset.nbytes for dataset in datasets)
        needed = sum(tensor.nbytes for tensor in (*empty.parameters(), *empty.buffers()))
        if needed > 8 * stored + _UNSTORED:
            raise self._settings(layer).refused(f"it would take {needed} bytes, of which {stored} are stored")

    def _written(self, reference: Reference) -> str:
        name = _name(reference.layer, reference.call)
        return f"{name}:{reference.output}" if reference.output else name


def _name(layer: str, number: int) -> str:
    """Name a node: that of its layer, which may be called several times."""
    return f"{layer}/call_{number}" if number else layer


def _check_row(shapes: Sequence[Shape], settings: Settings) -> None:
    """Refuse what would give very much for one row: a short file can ask for that."""
    for shape in shapes:
        count = math.prod(size for size in shape if size is not None)
        if count > _MOST_OF_A_ROW:
            raise settings.refused(
                f"one row of it has {count} numbers, the shape {shape}", expected=f"at most {_MOST_OF_A_ROW}"
            )


def _is_size(value: Any) -> bool:
    return value is None or (type(value) is int and 1 <= value < 2**31)
