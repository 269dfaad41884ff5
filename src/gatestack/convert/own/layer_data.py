"""Layers and cells of `gatestack.nn` as JSON values, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from gatestack.convert.own.module_data import MODULES, module_from_data, module_to_data
from gatestack.errors import ArgumentError, quote_value
from gatestack.nn import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    ConvLSTM,
    ConvLSTM1D,
    ConvLSTM2D,
    ConvLSTM3D,
    ConvLSTMForm,
    DeepOutput,
    DeepTransitionCell,
    GRUCell,
    Loop,
    LSTMCell,
    LSTMForm,
    PerStep,
    Regularisation,
    RNNCell,
    ShortcutStack,
    Stack,
    StackedCells,
    Stateful,
)
from gatestack.nn.recurrent import Recurrent

__all__ = ["layer_from_data", "layer_to_data"]

Data = dict[str, Any]
Parts = Sequence[nn.Module]

_DEEPEST = 32
_RECURRENT = ("hidden_size", "input_size", "bidirectional", "merge", "return_sequences", "initial_state")
_CELL = ("hidden_size", "input_size", "activation")
# Class -> the arguments that make it again, each of which it keeps under the same name.
_SAME_NAMES: dict[type[nn.Module], tuple[str, ...]] = {
    Bidirectional: ("merge",),
    ConvLSTM1D: (),
    ConvLSTM2D: (),
    ConvLSTM3D: (),
    DeepOutput: ("activation", "sizes"),
    DeepTransitionCell: (*_CELL, "depth", "shortcut"),
    GRU: _RECURRENT,
    GRUCell: (*_CELL, "gate_activation", "reset"),
    LSTM: (*_RECURRENT, "forget_bias"),
    LSTMCell: (*_CELL, "gate_activation", "forget_bias"),
    Loop: ("return_sequences",),
    PerStep: (),
    RNN: _RECURRENT,
    RNNCell: _CELL,
    ShortcutStack: ("return_sequences",),
    Stack: ("dropout", "variational_dropout", "residual"),
    StackedCells: (),
    Stateful: (),
}
_CONV = (
    "channels", "kernel_size", "stride", "padding", "dilation", "return_sequences", "forget_bias",
    "recurrent_dropout",
)  # fmt: skip
_CLASSES = {one.__name__: one for one in _SAME_NAMES}


def layer_to_data(layer: nn.Module) -> Data:
    """Write a layer or a cell without its weights.

    Args:
        layer: of `gatestack.nn`, built; layers, cells and modules inside of it have theirs in "parts".

    Raises:
        ArgumentError: a class of somebody else.

    Example:
        >>> data = layer_to_data(Loop(GRUCell(4, 2)))
        >>> data["class"], data["parts"][0]["options"]["hidden_size"]
        ('Loop', 4)
    """
    kind = type(layer)
    if kind in MODULES.values():
        return module_to_data(layer)
    if kind not in _SAME_NAMES:
        raise ArgumentError(f"a layer of the class {kind.__name__}", expected=", ".join(sorted(_CLASSES)))
    options: Data = {name: getattr(layer, name) for name in _SAME_NAMES[kind]}
    if isinstance(layer, Recurrent):
        options |= _recurrent_options(layer)
    elif isinstance(layer, ConvLSTM):
        options |= {name: getattr(layer, name) for name in _CONV}
        options |= {"form": asdict(layer.form), "input_channels": layer.input_size}
        options["image_size"] = _image_size(layer)
    options = {name: list(one) if isinstance(one, tuple) else one for name, one in options.items()}
    return {
        "class": kind.__name__,
        "options": options,
        "parts": [layer_to_data(one) for one in _inner(layer)],
    }


def layer_from_data(data: Mapping[str, Any]) -> nn.Module:
    """Make a layer, a cell or a module of what `layer_to_data` gave; its weights are drawn anew.

    Args:
        data: JSON values, from anywhere.

    Raises:
        ArgumentError: an unknown class, an option that it has not, or a value out of its range.

    Example:
        >>> layer_from_data(layer_to_data(Stack(LSTM(4), GRU(3), input_size=2))).output_size
        3
    """
    try:
        return _made(data, _DEEPEST)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, OverflowError) as error:
        if isinstance(error, ArgumentError):
            raise
        reason = str(error).splitlines()[0][:200]
        raise ArgumentError(f"no layer of gatestack.nn: {reason}", where="layer") from None


def _made(data: Mapping[str, Any], deepest: int) -> nn.Module:
    if deepest == 0:
        raise ArgumentError(f"layers inside of each other, more than {_DEEPEST}", where="layer")
    name = data["class"]
    if name in MODULES:
        return module_from_data(data)
    if name not in _CLASSES:
        raise ArgumentError(f"the class {quote_value(name)}", expected=", ".join(sorted(_CLASSES)))
    parts = [_made(one, deepest - 1) for one in data["parts"]]
    kind, options = _CLASSES[name], dict(data["options"])
    for option, form in _FORMS.get(kind, {}).items():
        options[option] = form(**options[option])
    if issubclass(kind, ConvLSTM):
        return _made_conv(kind, options)
    if kind is DeepOutput:
        return DeepOutput(parts[0], *options.pop("sizes"), **options)  # type: ignore[arg-type]
    return kind(*parts, **options)


def _made_conv(kind: type[ConvLSTM], options: Data) -> ConvLSTM:
    for name in ("kernel_size", "stride", "dilation"):
        options[name] = tuple(options[name])
    size, channels = options.pop("image_size"), options.pop("input_channels")
    layer = kind(**options)
    return layer.build(channels, None if size is None else tuple(size))


_FORMS: dict[type[nn.Module], dict[str, Callable[..., Any]]] = {
    LSTM: {"form": LSTMForm, "regularisation": Regularisation},
    GRU: {"regularisation": Regularisation},
    RNN: {"regularisation": Regularisation},
    **{one: {"form": ConvLSTMForm} for one in (ConvLSTM1D, ConvLSTM2D, ConvLSTM3D)},
}


def _recurrent_options(layer: Recurrent) -> Data:
    found: Data = {"regularisation": asdict(layer.regularisation)}
    if isinstance(layer, LSTM):
        return found | {"form": asdict(layer.form)}
    found["layer_norm"] = layer.spec.layer_norm
    if isinstance(layer, GRU):
        return found | {"reset": "before" if layer.spec.cell == "gru_reset_before" else "after"}
    return found | {"activation": layer.spec.cell.removeprefix("rnn_")}


def _image_size(layer: ConvLSTM) -> list[int] | None:
    """Give the smallest image for which peepholes of "positions" have this shape."""
    if layer.peephole_l0 is None or layer.form.peepholes != "positions":
        return None
    shape = layer.peephole_l0.shape[2:]
    reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
    return [
        (size - 1) * stride + (1 if layer.padding == "same" else least)
        for size, stride, least in zip(shape, layer.stride, reach, strict=True)
    ]


def _inner(layer: nn.Module) -> list[nn.Module]:
    """Give what a layer is made of, as its constructor takes it."""
    if isinstance(layer, Stack | ShortcutStack):
        return list(layer.layers)
    if isinstance(layer, Bidirectional):
        return [layer.forward_layer, layer.reverse_layer]
    if isinstance(layer, DeepOutput | Stateful):
        return [layer.layer]
    if isinstance(layer, Loop):
        return [layer.cell]
    if isinstance(layer, StackedCells):
        return list(layer.cells)
    return [layer.module] if isinstance(layer, PerStep) else []
