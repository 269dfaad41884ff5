"""Models inside models, and layers of several cells: one architecture of plain layers.

A layer that is inside another model is called "model/layer" here, a cell of several "rnn/cell_0".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gatestack.convert.keras.architecture import Architecture, Call, KerasLayer, Place, damaged
from gatestack.convert.keras.formulas import Reference
from gatestack.convert.keras.stores import layer_paths
from gatestack.errors import ModelFileError, quote_value

__all__ = ["MODELS", "expanded"]

MODELS = ("Sequential", "Functional", "Model")
"""Keras' classes of models."""

_DEEPEST = 16
_MOST_LAYERS = 2000
_MOST_CALLS = 10_000
_STATES = {"LSTMCell": 2, "GRUCell": 1, "SimpleRNNCell": 1}

ReadModel = Callable[[Mapping[str, Any], str], Architecture]


def expanded(model: Architecture, where: str, read: ReadModel) -> Architecture:
    """Put the layers of inner models into the place of these.

    Args:
        model: as the file has it.
        where: the file, for errors.
        read: reads an inner model, given its data and where it is.

    Raises:
        ModelFileError: an inner model that is not read, or models nested more than 16 deep.
    """
    return _Expansion(where, read).run(model, Place(), "", 0)


class _Expansion:
    """Inner models become layers with longer names."""

    def __init__(self, where: str, read: ReadModel) -> None:
        self._where = where
        self._read = read
        self._layers = 0
        self._calls = 0

    def run(self, model: Architecture, outer: Place, prefix: str, depth: int) -> Architecture:
        """Expand a model whose layers get names with this prefix."""
        if depth > _DEEPEST:
            raise damaged(f"its models are nested more than {_DEEPEST} deep", self._where)
        paths = layer_paths([(layer.name, layer.kind) for layer in model.layers])
        layers: list[KerasLayer] = []
        inner: dict[str, Architecture] = {}
        for layer in model.layers:
            trainable = (*outer.trainable, layer.data.get("config", {}).get("trainable") is not False)
            path = "/".join(part for part in (outer.path, paths[layer.name]) if part)
            place = Place(outer.owner or layer.name, path, "", trainable)
            name = prefix + layer.name
            where = f"{self._where}, layer {quote_value(name)}"
            if layer.kind in MODELS:
                found = self._read(layer.data, where)
                inner[layer.name] = self.run(found, place, f"{name}/", depth + 1)
                layers += inner[layer.name].layers
            elif (model_inside := _model_per_step(layer)) is not None:
                found = self._read(model_inside, where)
                inside = self.run(found, replace(place, path=f"{path}/layer"), f"{name}/", depth + 1)
                inner[layer.name] = _per_step(layer, inside, where)
                layers += inner[layer.name].layers
            elif _cells(layer) is not None:
                inner[layer.name] = _chain(layer, name, place, where)
                layers += inner[layer.name].layers
            else:
                layers.append(KerasLayer(name, layer.data, place))
        self._layers += len(model.layers)
        if self._layers > _MOST_LAYERS or len(layers) > _MOST_LAYERS:
            raise damaged(f"it has more than {_MOST_LAYERS} layers", self._where)
        return self._wired(model, layers, inner, prefix)

    def _wired(
        self, model: Architecture, layers: list[KerasLayer], inner: dict[str, Architecture], prefix: str
    ) -> Architecture:
        """Call the layers of inner models where these are called."""
        given: dict[Reference, Reference] = {}

        def renamed(reference: Reference) -> Reference:
            if reference in given:
                return given[reference]
            if reference.layer in inner:
                raise damaged(f"{quote_value(reference.layer)} has no such output", self._where)
            return reference._replace(layer=prefix + reference.layer)

        calls: list[Call] = []
        for call in model.calls:
            masks = call.masks and tuple(mask and mask.renamed(renamed) for mask in call.masks)
            inputs = tuple(map(renamed, call.inputs))
            if call.layer not in inner:
                calls.append(replace(call, layer=prefix + call.layer, inputs=inputs, masks=masks))
                continue
            one = inner[call.layer]
            found, outputs = _called(one, replace(call, inputs=inputs, masks=masks), self._where)
            calls += found
            given |= {Reference(call.layer, call.number, n): out for n, out in enumerate(outputs)}
            if len(calls) > _MOST_CALLS:
                raise damaged(f"it has more than {_MOST_CALLS} calls of layers", self._where)
        inputs_of_all = [prefix + name for name in model.inputs]
        return replace(
            model, layers=layers, calls=calls, inputs=inputs_of_all, outputs=list(map(renamed, model.outputs))
        )


def _called(one: Architecture, call: Call, where: str) -> tuple[list[Call], list[Reference]]:
    """Give the calls inside of a model that is called, and the outputs."""
    inputs = call.inputs
    counts = (1, 1 + sum(one.takes_states)) if one.takes_states else (len(one.inputs),)
    if len(inputs) not in counts:
        raise damaged(
            f"{quote_value(call.layer)} is called on {len(inputs)} inputs, and takes {counts[-1]}", where
        )
    names = list(one.inputs)
    places = {Reference(name, 0, 0): source for name, source in zip(names, inputs, strict=False)}
    told = dict(zip([Reference(name, 0, 0) for name in names], call.masks or (), strict=False))
    # Calls of the same inner layer by earlier calls of the model come first.
    step = 1 + max((inside.number for inside in one.calls), default=0)

    def moved(reference: Reference) -> Reference:
        found = places.get(reference)
        return found or reference._replace(call=reference.call + call.number * step)

    calls, taken = [], 1
    for number, inside in enumerate(one.calls):
        masks = inside.masks and tuple(mask and mask.renamed(moved) for mask in inside.masks)
        if masks is None and any(told.get(source) for source in inside.inputs):
            masks = tuple(told.get(source) for source in inside.inputs)  # as they come with the inputs
        sources, states = tuple(map(moved, inside.inputs)), inside.states
        if one.takes_states and len(inputs) > 1:
            states = one.takes_states[number]
            sources, taken = (*sources, *inputs[taken : taken + states]), taken + states
        turn = inside.number + call.number * step
        calls.append(replace(inside, number=turn, inputs=sources, states=states, masks=masks))
    return calls, [moved(reference) for reference in one.outputs]


def _model_per_step(layer: KerasLayer) -> Mapping[str, Any] | None:
    """Give the model that a TimeDistributed has inside."""
    config = layer.data.get("config")
    inside = config.get("layer") if layer.kind == "TimeDistributed" and isinstance(config, dict) else None
    return inside if isinstance(inside, dict) and inside.get("class_name") in MODELS else None


def _per_step(layer: KerasLayer, inside: Architecture, where: str) -> Architecture:
    """Make a TimeDistributed of each layer of a model inside one: steps stay apart all the way."""
    if any(len(call.inputs) != 1 for call in inside.calls) or len(inside.inputs) != 1:
        raise ModelFileError(
            "the model that it holds joins tensors", where=where, expected="layers one after another"
        )
    layers = []
    for one in inside.layers:
        config = {**layer.data["config"], "layer": one.data}
        place = replace(one.place, within="layer")
        layers.append(KerasLayer(one.name, {**layer.data, "config": config}, place))
    return replace(inside, layers=layers)


def _cells(layer: KerasLayer) -> list[Any] | None:
    """Give the cells of an RNN that has several of them."""
    config = layer.data.get("config")
    cell = config.get("cell") if layer.kind == "RNN" and isinstance(config, dict) else None
    if not isinstance(cell, dict) or cell.get("class_name") != "StackedRNNCells":
        return None
    inner = cell.get("config")
    cells = inner.get("cells") if isinstance(inner, dict) else None
    return cells if isinstance(cells, list) else []


def _chain(layer: KerasLayer, name: str, place: Place, where: str) -> Architecture:
    """Make a chain of layers of one cell each; all but the last give every step."""
    config, cells = layer.data["config"], _cells(layer) or []
    kinds = [cell.get("class_name") if isinstance(cell, dict) else None for cell in cells]
    if not cells or any(kind not in _STATES for kind in kinds):
        raise ModelFileError(f"its cells are {quote_value(kinds)}", where=where, expected=", ".join(_STATES))
    if config.get("go_backwards") and len(cells) > 1:
        raise ModelFileError(
            "several cells with go_backwards are not read", where=where, expected="layers, one after another"
        )
    paths = layer_paths([(str(number), str(kind)) for number, kind in enumerate(kinds)], folder="cells")
    source = KerasLayer(f"{name}/input", {"class_name": "InputLayer"})
    layers, calls, outputs = [], [], []
    last = Reference(source.name, 0, 0)
    for number, cell in enumerate(cells):
        ends = number == len(cells) - 1
        own = {**config, "cell": cell, "return_sequences": not ends or config.get("return_sequences", False)}
        where_it_is = replace(place, path=f"{place.path}/cell/{paths[str(number)]}", within="cell")
        layers.append(KerasLayer(f"{name}/cell_{number}", {**layer.data, "config": own}, where_it_is))
        calls.append(Call(layers[-1].name, 0, (last,)))
        last = Reference(layers[-1].name, 0, 0)
        outputs += [last._replace(output=1 + state) for state in range(_STATES[str(kinds[number])])]
    states = tuple(_STATES[str(kind)] for kind in kinds)
    kept = outputs if config.get("return_state") else []
    return Architecture(name, layers, calls, [source.name], [last, *kept], takes_states=states)
