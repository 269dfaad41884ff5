"""The architecture that stands as JSON in a Keras file: a Sequential or a Functional model."""

from __future__ import annotations

from typing import Any

from gatestack.convert.keras.architecture import Architecture, Call, KerasLayer, damaged
from gatestack.convert.keras.formulas import Reference
from gatestack.convert.keras.functional import read_functional
from gatestack.convert.keras.nested import MODELS, expanded
from gatestack.errors import ModelFileError, quote_value

__all__ = ["read_architecture"]

_MOST_LAYERS = 2000
_MODEL_MODULES = ("keras", "keras.models", "keras.src.", "tf_keras", "keras.engine.")


def read_architecture(config: Any, where: str, *, version: int) -> Architecture:
    """Read what `config.json`, or the attribute `model_config` of an `.h5` file, holds.

    Args:
        config: parsed JSON.
        where: the file, for errors.
        version: 2 or 3, of Keras.

    Raises:
        ModelFileError: it is no Sequential or Functional model, or calls layers in a way that is not read.

    Example:
        >>> dense = {"class_name": "Dense", "config": {"name": "out", "batch_input_shape": [None, 3]}}
        >>> config = {"class_name": "Sequential", "config": {"name": "m", "layers": [dense]}}
        >>> read_architecture(config, "m.h5", version=2).outputs
        [Reference(layer='out', call=0, output=0)]
    """
    model = _read_model(config, where, version)
    return expanded(model, where, lambda inner, place: _read_model(inner, place, version))


def _read_model(config: Any, where: str, version: int) -> Architecture:
    """Read one model, with the models inside it as layers."""
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise damaged("it describes no model", where)
    kind, module, registered = (config.get(key) for key in ("class_name", "module", "registered_name"))
    if kind not in MODELS or registered not in (None, kind) or not _is_keras(module):
        raise ModelFileError(
            f"the model is a {quote_value(registered or kind)} of {quote_value(module or 'no module')}",
            where=where,
            expected="a Sequential or a Functional model of Keras",
            hint="a class of your own is code: build the same layers as a Functional model and save that",
        )
    inner = config.get("config")
    if isinstance(inner, list):  # Keras before 2.2.3
        inner = {"layers": inner}
    if not isinstance(inner, dict) or not isinstance(inner.get("layers"), list):
        raise damaged("the model has no list of layers", where)
    if len(inner["layers"]) > _MOST_LAYERS:
        raise damaged(f"the model has more than {_MOST_LAYERS} layers", where)
    name = inner.get("name")
    name = name if isinstance(name, str) and name else "network"
    layers = _layers(inner["layers"], where)
    if kind == "Sequential":
        return _sequential(inner, layers, where, name, version)
    return read_functional(inner, layers, where, name=name, version=version)


def _is_keras(module: Any) -> bool:
    return module is None or (isinstance(module, str) and module.startswith(_MODEL_MODULES))


def _layers(entries: list[Any], where: str) -> list[KerasLayer]:
    found: dict[str, KerasLayer] = {}
    for number, entry in enumerate(entries):
        config = entry.get("config") if isinstance(entry, dict) else None
        if not isinstance(config, dict):
            raise damaged(f"its layer {number} has no config", where)
        name = entry.get("name", config.get("name"))
        if not isinstance(name, str) or not 0 < len(name) < 500:
            raise damaged(f"its layer {number} is called {quote_value(name)}", where)
        if name in found:
            raise damaged(f"it has two layers called {quote_value(name)}", where)
        found[name] = KerasLayer(name, entry)
    return list(found.values())


def _sequential(
    inner: dict[str, Any], layers: list[KerasLayer], where: str, name: str, version: int
) -> Architecture:
    if not layers or layers[0].kind != "InputLayer":
        layers.insert(0, _missing_input(inner, layers, where))
    last = Reference(layers[0].name, 0, 0)
    calls = []
    for layer in layers[1:]:
        calls.append(Call(layer.name, 0, (last,)))
        last = Reference(layer.name, 0, 0)
    return Architecture(name, layers, calls, [layers[0].name], [last], version)


def _missing_input(inner: dict[str, Any], layers: list[KerasLayer], where: str) -> KerasLayer:
    """Give the input that older files do not list: its shape stands with the first layer or the model."""
    first = layers[0].data["config"] if layers else {}
    while isinstance(first.get("layers"), list) and first["layers"]:  # a model in the first place
        inside = first["layers"][0]
        first = inside.get("config") if isinstance(inside, dict) else None
        first = first if isinstance(first, dict) else {}
    shape = first.get("batch_input_shape", first.get("batch_shape", inner.get("build_input_shape")))
    if shape is None:
        raise damaged("the model was never built: it says nothing about its input", where)
    dtype = first.get("dtype") if isinstance(first.get("dtype"), str) else "float32"
    config = {"batch_shape": shape, "dtype": dtype, "name": "input"}
    taken = {layer.name for layer in layers}
    while config["name"] in taken:
        config["name"] += "_"
    return KerasLayer(config["name"], {"class_name": "InputLayer", "config": config})
