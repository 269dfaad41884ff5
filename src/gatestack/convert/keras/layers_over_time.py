"""Keras' layers over time: SimpleRNN, LSTM, GRU, ConvLSTM, Bidirectional, TimeDistributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from gatestack.convert.keras.functions import function_name
from gatestack.convert.keras.layers import LAYERS, Entry, ReadLayer
from gatestack.convert.keras.layers_of_images import IMAGE_LAYERS, is_channels_last, sizes_of
from gatestack.convert.keras.layers_of_scale import SCALE_LAYERS
from gatestack.convert.keras.settings import Settings
from gatestack.convert.layers import (
    BidirectionalLayer,
    BidirectionalOptions,
    ConvLSTMLayer,
    ConvLSTMOptions,
    NetworkLayer,
    PerStepLayer,
    PerStepOptions,
    RecurrentLayer,
    RecurrentOptions,
)
from gatestack.errors import ArgumentError, nearest_name, quote_value

__all__ = ["CELLS", "MERGES", "read_layer"]

CELLS = {"SimpleRNN": "rnn", "LSTM": "lstm", "GRU": "gru"}
"""Keras' class to our name of the cell."""

MERGES = {"concat": "concat", "sum": "sum", "mul": "mul", "ave": "average", None: "none"}
"""Keras' merge_mode to our name of it."""

_CELL_CLASSES = tuple(f"{name}Cell" for name in CELLS)
_CONVOLVED = {"ConvLSTM1D": 1, "ConvLSTM2D": 2, "ConvLSTM3D": 3}
_BOTH_WAYS = (*CELLS, "RNN", *_CONVOLVED)
_REASONS = {
    "Lambda": "it holds code of Python, which reading it would run",
    "TorchModuleWrapper": "it holds a pickled module of torch, which reading it would run",
    "TFSMLayer": "it loads a TensorFlow program from a path",
    "TextVectorization": "it reads a vocabulary from a path",
    "StringLookup": "it reads a vocabulary from a path",
    "IntegerLookup": "it reads a vocabulary from a path",
    "Sequential": "a model is read as a layer of a model, and not inside another layer",
    "Functional": "a model is read as a layer of a model, and not inside another layer",
    "Model": "a model is read as a layer of a model, and not inside another layer",
}
_MODULES = ("keras.layers", "keras.src.layers.", "tf_keras.src.layers.", "keras.layers.", "keras.engine.")


def read_layer(data: Mapping[str, Any], entry: Entry, *, takes_state: bool = False) -> NetworkLayer:
    """Make a layer of what a Keras file says of it.

    Args:
        data: its class, module and registered name, as the file has them.
        entry: its settings, and what it is given.
        takes_state: whether it is called with states after its first input.

    Raises:
        ModelFileError: it is not on the allow-list, or has settings that are not read here.

    Example:
        >>> entry = Entry(Settings({"units": 2}, "m.keras, layer 'out'"), [(3,)], 3)
        >>> read_layer({"module": "keras.layers", "class_name": "Dense"}, entry).options.input_size
        3
    """
    name = _class_name(data, entry.settings)
    if not entry.shapes:
        raise entry.settings.refused("it is called on nothing", expected="one input or more")
    try:
        if name in CELLS or name == "RNN":
            layer: NetworkLayer = RecurrentLayer(_recurrent(name, entry, takes_state))
        elif name == "Bidirectional":
            layer = _bidirectional(entry, takes_state)
        elif takes_state:
            raise entry.settings.refused(f"a {name} is called with states, which is not read")
        else:
            layer = (_READERS.get(name) or LAYERS[name])(entry)
    except ArgumentError as error:
        raise entry.settings.refused(error.what, expected=error.expected) from None
    entry.settings.finish()
    return layer


def _class_name(data: Mapping[str, Any], settings: Settings, wanted: Sequence[str] = ()) -> str:
    name, module, registered = (data.get(key) for key in ("class_name", "module", "registered_name"))
    known = wanted or [*CELLS, "RNN", *_READERS, "Bidirectional", *LAYERS]
    if isinstance(name, str) and name in _REASONS:
        raise settings.refused(f"a {name} layer is refused: {_REASONS[name]}")
    if module is not None and not (isinstance(module, str) and module.startswith(_MODULES)):
        raise settings.refused(
            f"its class comes from the module {quote_value(module)}, which is not Keras' own"
        )
    if registered not in (None, name):
        raise settings.refused(f"it is a custom object, registered as {quote_value(registered)}")
    if not isinstance(name, str) or name not in known:
        raise settings.refused(
            f"the layer {quote_value(name)} is not one of those that are read here",
            hint=nearest_name(str(name), known),
        )
    return name


def _recurrent(name: str, entry: Entry, takes_state: bool) -> RecurrentOptions:
    if name == "RNN":
        cell_name, joined = _of_cell(entry)
        options = _recurrent(cell_name, joined, takes_state)
        joined.settings.finish()
        return options
    settings, version = entry.settings, entry.version
    if len(entry.shapes[0]) != 2:
        raise settings.refused(
            f"its input has {len(entry.shapes[0]) + 1} axes", expected="batch, time, features"
        )
    cell = CELLS[name]
    gates = "sigmoid"
    if cell != "rnn":
        gates = function_name(settings, "recurrent_activation", "sigmoid", version=version, cell=True)
    reset = "after"
    if cell == "gru" and not settings.flag("reset_after", version > 2):
        reset = "before"
    return RecurrentOptions.model_validate(
        {
            "cell": cell,
            "input_size": entry.features,
            "hidden_size": settings.whole("units"),
            "reset": reset,
            "activation": function_name(settings, "activation", "tanh", version=version, cell=True),
            "gate_activation": gates,
            "takes_state": takes_state,
            **_over_time(settings),
        }
    )


def _of_cell(entry: Entry) -> tuple[str, Entry]:
    """Give the layer that RNN(cell) is, and its settings: those of the cell and those of the RNN."""
    settings = entry.settings
    cell = settings.take("cell")
    inner = _inner(cell, entry)
    name = _class_name(cell, inner.settings, _CELL_CLASSES)
    plain = name.removesuffix("Cell")
    joined = settings.joined(inner.settings, leave_out=("cell",))
    return plain, Entry(joined, entry.shapes, entry.version)


def _over_time(settings: Settings) -> dict[str, Any]:
    """Give what all layers over time share."""
    settings.only("time_major", False)
    settings.only("use_cudnn", "auto", True, False)
    return {
        "bias": settings.flag("use_bias", True),
        "return_sequences": settings.flag("return_sequences"),
        "return_state": settings.flag("return_state"),
        "reversed": settings.flag("go_backwards"),
        "masked_output": _masked_output(settings),
        "stateful": settings.flag("stateful"),
        "input_dropout": settings.number("dropout", 0.0),
        "recurrent_dropout": settings.number("recurrent_dropout", 0.0),
    }


def _masked_output(settings: Settings) -> str:
    """What a masked step gives: the last output, or zero."""
    if not settings.flag("zero_output_for_mask"):
        return "hold"
    return "zero" if settings.flag("return_sequences") else "zero_last"


def _convolved(entry: Entry, dimensions: int) -> ConvLSTMOptions:
    settings, version = entry.settings, entry.version
    last = is_channels_last(settings)
    shape = entry.shapes[0]
    channels = shape[-1 if last else 1] if len(shape) == dimensions + 2 else None
    if channels is None:
        raise settings.refused(
            f"its input has the shape (batch, {', '.join(map(str, shape))})",
            expected=f"batch, time, {dimensions} axes of space, channels of known number",
        )
    gates = "sigmoid" if version > 2 else "hard_sigmoid"
    options = {
        "channels": settings.whole("filters"),
        "input_channels": channels,
        "kernel_size": sizes_of(settings, "kernel_size", dimensions),
        "stride": sizes_of(settings, "strides", dimensions),
        "dilation": sizes_of(settings, "dilation_rate", dimensions),
        "padding": settings.choice("padding", ("same", "valid"), "valid"),
        "activation": function_name(settings, "activation", "tanh", version=version, cell=True),
        "gate_activation": function_name(settings, "recurrent_activation", gates, version=version, cell=True),
        "channels_last": last,
        **_over_time(settings),
    }
    return ConvLSTMOptions.model_validate(options)


def _conv_lstm(dimensions: int, entry: Entry) -> NetworkLayer:
    return ConvLSTMLayer(_convolved(entry, dimensions))


def _bidirectional(entry: Entry, takes_state: bool) -> NetworkLayer:
    settings = entry.settings
    merge = settings.take("merge_mode", "concat")
    if not isinstance(merge, str | None) or merge not in MERGES:
        raise settings.refused(
            f"merge_mode is {quote_value(merge)}", expected="concat, sum, mul, ave or null"
        )
    forward = _inner_recurrent(settings.take("layer"), entry, takes_state)
    back = settings.take("backward_layer")
    # Without one of its own, the second direction is the first turned around.
    turned = forward.model_copy(update={"reversed": True})
    backward = turned if back is None else _inner_recurrent(back, entry, takes_state)
    if forward.return_sequences:
        # Keras sets it so for both, whatever they say: held outputs would be merged with the wrong steps.
        forward = forward.model_copy(update={"masked_output": "zero"})
        backward = backward.model_copy(update={"masked_output": "zero"})
    elif entry.version < 3:  # and Keras 2 for neither otherwise
        forward = forward.model_copy(update={"masked_output": "hold"})
        backward = backward.model_copy(update={"masked_output": "hold"})
    options = {"forward": forward, "backward": backward, "merge": MERGES[merge]}
    return BidirectionalLayer(BidirectionalOptions.model_validate(options))


def _inner_recurrent(data: Any, entry: Entry, takes_state: bool) -> RecurrentOptions | ConvLSTMOptions:
    inner = _inner(data, entry)
    name = _class_name(data, inner.settings)
    if name not in _BOTH_WAYS:
        raise inner.settings.refused(
            f"a {name} in both directions is not read", expected=", ".join(_BOTH_WAYS)
        )
    if name in _CONVOLVED:
        if takes_state:
            raise inner.settings.refused(f"a {name} is called with states, which is not read")
        options: RecurrentOptions | ConvLSTMOptions = _convolved(inner, _CONVOLVED[name])
    else:
        options = _recurrent(name, inner, takes_state)
    inner.settings.finish()
    return options


def _per_step(entry: Entry) -> NetworkLayer:
    shape = entry.shapes[0]
    if len(shape) < 2:
        raise entry.settings.refused(f"its input has {len(shape) + 1} axes", expected="batch, time, and more")
    data = entry.settings.take("layer")
    inner = _inner(data, Entry(entry.settings, [shape[1:]], entry.version))
    return PerStepLayer(PerStepOptions.model_validate({"layer": read_layer(data, inner).to_data()}))


def _inner(data: Any, entry: Entry) -> Entry:
    """Give the settings of a layer that stands inside another."""
    if not isinstance(data, dict):
        raise entry.settings.refused("it holds no layer")
    name = data.get("class_name")
    return Entry(
        Settings(data.get("config"), f"{entry.settings.where}, in it a {str(name)[:40]}"),
        entry.shapes,
        entry.version,
    )


_READERS: dict[str, ReadLayer] = {
    "TimeDistributed": _per_step,
    **{name: partial(_conv_lstm, dimensions) for name, dimensions in _CONVOLVED.items()},
    **IMAGE_LAYERS,
    **SCALE_LAYERS,
}
