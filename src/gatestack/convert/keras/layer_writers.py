"""Our layers as Keras 3 writes them: class and config. What Keras has not is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gatestack.convert.keras.image_writers import image_class, image_config
from gatestack.convert.keras.layers_over_time import CELLS, MERGES
from gatestack.convert.keras.shapes import Shape
from gatestack.convert.keras.writer_parts import HINT, keras_function_of, refused
from gatestack.convert.layers import (
    Activation,
    Attention,
    BatchNorm,
    BidirectionalLayer,
    Combine,
    Concatenate,
    ConvLSTMLayer,
    ConvLSTMOptions,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    LayerNorm,
    Masking,
    NetworkLayer,
    OverTimeOptions,
    Permute,
    PerStepLayer,
    RecurrentLayer,
    RecurrentOptions,
    Repeat,
    Rescale,
    Reshape,
    Standardise,
)
from gatestack.errors import ArgumentError

__all__ = ["keras_class", "keras_config", "serialised"]

_CELLS = {ours: keras for keras, ours in CELLS.items()}
_MERGES = {ours: keras for keras, ours in MERGES.items()}
_COMBINED = {
    "add": "Add", "subtract": "Subtract", "multiply": "Multiply", "average": "Average",
    "maximum": "Maximum", "minimum": "Minimum",
}  # fmt: skip


def keras_class(layer: NetworkLayer) -> str:
    """Give the name of the class that Keras has for a layer.

    Args:
        layer: of a network.

    Raises:
        ArgumentError: Keras has none.

    Example:
        >>> from gatestack.convert.layers import FlattenOptions
        >>> keras_class(Flatten(FlattenOptions()))
        'Flatten'
    """
    if isinstance(layer, RecurrentLayer):
        return _CELLS[layer.options.cell]
    if isinstance(layer, ConvLSTMLayer):
        return f"ConvLSTM{len(layer.options.kernel_size)}D"
    if isinstance(layer, Combine) and layer.options.operation in _COMBINED:
        return _COMBINED[layer.options.operation]
    if isinstance(layer, Dropout):
        return "SpatialDropout1D" if layer.options.same_over_time else "Dropout"
    if isinstance(layer, Activation):
        return {"leaky_relu": "LeakyReLU", "elu": "ELU", "softmax": "Softmax"}.get(
            layer.options.function, "Activation"
        )
    if isinstance(layer, Attention):
        return "AdditiveAttention" if layer.options.score == "additive" else "Attention"
    for kind, (name, _) in _WRITERS.items():
        if isinstance(layer, kind):
            return name
    found = image_class(layer)
    if found is not None:
        return found
    raise ArgumentError(f"Keras has no layer for a {layer.kind!r}", where=f"{layer.kind} layer", hint=HINT)


def keras_config(layer: NetworkLayer, inputs: Sequence[Shape]) -> dict[str, Any]:
    """Give the settings of a layer as Keras 3 writes them, without name and dtype.

    Args:
        layer: of a network.
        inputs: the shapes of its inputs, without the batch.

    Raises:
        ArgumentError: it has an option that Keras has not.

    Example:
        >>> from gatestack.convert.layers import DropoutOptions
        >>> keras_config(Dropout(DropoutOptions(rate=0.5)), [(3,)])
        {'rate': 0.5}
    """
    keras_class(layer)
    for kind, (_, write) in _WRITERS.items():
        if isinstance(layer, kind):
            return write(layer, inputs)
    return image_config(layer, inputs)


def serialised(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """Write an object of Keras as its files do.

    Example:
        >>> serialised("Dense", {"units": 1})["module"]
        'keras.layers'
    """
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


def _dense(layer: Dense, _: Sequence[Shape]) -> dict[str, Any]:
    options = layer.options
    return {
        "units": options.units,
        "activation": keras_function_of(layer, options.activation),
        "use_bias": options.bias,
    }


def _embedding(layer: Embedding, _: Sequence[Shape]) -> dict[str, Any]:
    options = layer.options
    return {
        "input_dim": options.vocabulary_size,
        "output_dim": options.size,
        "mask_zero": options.mask_zero,
    }


def _dropout(layer: Dropout, inputs: Sequence[Shape]) -> dict[str, Any]:
    if layer.options.same_over_time and len(inputs[0]) != 2:
        raise refused(layer, f"its input has {len(inputs[0]) + 1} axes", "batch, time, features")
    return {"rate": layer.options.rate}


def _activation(layer: Activation, inputs: Sequence[Shape]) -> dict[str, Any]:
    function, axis, slope = layer.options.function, layer.options.axis, layer.options.slope
    rank = len(inputs[0]) + 1
    if function in ("softmax", "log_softmax") and axis % rank == 0:
        raise refused(layer, "it sums over the batch", "another axis")
    if function == "softmax":
        return {"axis": axis}
    if function == "log_softmax" and axis % rank != rank - 1:
        raise refused(layer, f"the axis of its log_softmax is {axis}", "the last")
    if function == "leaky_relu":
        return {"negative_slope": 0.01 if slope is None else slope}
    if function == "elu":
        return {"alpha": 1.0 if slope is None else slope}
    return {"activation": keras_function_of(layer, function)}


def _batch_norm(layer: BatchNorm, inputs: Sequence[Shape]) -> dict[str, Any]:
    options = layer.options
    return {
        "axis": options.axis % (len(inputs[0]) + 1),
        "momentum": 1 - options.momentum,
        "epsilon": options.epsilon,
        "center": options.center,
        "scale": options.scale,
    }


def _layer_norm(layer: LayerNorm, _: Sequence[Shape]) -> dict[str, Any]:
    options = layer.options
    return {
        "axis": list(range(-len(options.shape), 0)),
        "epsilon": options.epsilon,
        "center": options.center,
        "scale": options.scale,
    }


def _flatten(layer: Flatten, _: Sequence[Shape]) -> dict[str, Any]:
    if layer.options.first != 1:
        raise refused(layer, f"it begins at axis {layer.options.first}", "axis 1")
    return {}


def _reshape(layer: Reshape, inputs: Sequence[Shape]) -> dict[str, Any]:
    batch, *target = layer.options.shape
    for place, size in enumerate(target):
        kept = inputs[0][place] if size == 0 and place < len(inputs[0]) else None
        if size == 0 and kept is None:
            raise refused(layer, f"it keeps axis {place + 1}, which is free", "an axis of known size")
        target[place] = size if kept is None else kept
    if batch != 0:
        raise refused(layer, f"it makes the batch {batch}", "a batch that stays as it is")
    return {"target_shape": target}


def _permute(layer: Permute, _: Sequence[Shape]) -> dict[str, Any]:
    axes = [axis % len(layer.options.axes) for axis in layer.options.axes]
    if axes[0] != 0:
        raise refused(layer, f"it puts axis {axes[0]} into the place of the batch", "a batch that stays")
    return {"dims": axes[1:]}


def _concatenate(layer: Concatenate, inputs: Sequence[Shape]) -> dict[str, Any]:
    if layer.options.axis % (len(inputs[0]) + 1) == 0:
        raise refused(layer, "it joins batches", "another axis")
    return {"axis": layer.options.axis}


def _combine(layer: Combine, inputs: Sequence[Shape]) -> dict[str, Any]:
    if layer.options.operation == "subtract" and len(inputs) != 2:
        raise refused(layer, f"it subtracts {len(inputs)} inputs", "2")
    return {}


def _attention(layer: Attention, _: Sequence[Shape]) -> dict[str, Any]:
    options = layer.options
    if options.causal:
        raise refused(
            layer, "its steps see no later ones", "a layer without causal, which is a setting of a call"
        )
    config = {"use_scale": options.scaled, "dropout": options.dropout}
    return config if options.score == "additive" else {**config, "score_mode": options.score}


def _standardise(layer: Standardise, inputs: Sequence[Shape]) -> dict[str, Any]:
    options = layer.options
    rank = len(inputs[0]) + 1
    if any(axis % rank == 0 for axis in options.axes):
        raise refused(layer, "it has a mean for each row of a batch", "axes beside the batch")
    if options.mean is not None and len(options.axes) > 1:
        raise refused(layer, f"its mean is a setting, for the axes {options.axes}", "one axis, or weights")
    given: dict[str, Any] = {"mean": None, "variance": None}
    if options.mean is not None and options.axes:
        given = {"mean": list(options.mean), "variance": list(options.variance)}
    elif options.mean is not None:
        given = {"mean": options.mean[0], "variance": options.variance[0]}
    return {"axis": list(options.axes) or None, "invert": options.invert, **given}


def _over_time(layer: NetworkLayer, options: OverTimeOptions) -> dict[str, Any]:
    if options.takes_lengths:
        raise refused(layer, "it takes lengths", "masks, which Keras has instead")
    if options.reversed and options.return_sequences and options.reversed_output != "processing":
        raise refused(layer, "it gives reversed steps in the order of time", "that of processing")
    return {
        "return_sequences": options.return_sequences,
        "return_state": options.return_state,
        "go_backwards": options.reversed,
        "stateful": options.stateful,
        # Without sequences, Keras' gives zero where the last step is masked; our "zero" is the final state.
        "zero_output_for_mask": options.masked_output == "zero_last"
        or (options.masked_output == "zero" and options.return_sequences),
        "dropout": options.input_dropout,
        "recurrent_dropout": options.recurrent_dropout,
    }


def _recurrent(layer: RecurrentLayer, _: Sequence[Shape]) -> dict[str, Any]:
    return _recurrent_config(layer, layer.options)


def _recurrent_config(layer: NetworkLayer, options: RecurrentOptions) -> dict[str, Any]:
    if options.projection_size or options.peepholes:
        what = "a projection" if options.projection_size else "peepholes"
        raise refused(layer, f"it has {what}", "a plain cell, which is all that Keras has")
    config = {
        "units": options.hidden_size,
        "activation": keras_function_of(layer, options.activation, cell=True),
        "use_bias": options.bias,
        **_over_time(layer, options),
    }
    if options.cell != "rnn":
        config["recurrent_activation"] = keras_function_of(layer, options.gate_activation, cell=True)
    if options.cell == "gru":
        config["reset_after"] = options.reset == "after"
    return config


def _conv_lstm(layer: ConvLSTMLayer, _: Sequence[Shape]) -> dict[str, Any]:
    return _conv_lstm_config(layer, layer.options)


def _conv_lstm_config(layer: NetworkLayer, options: ConvLSTMOptions) -> dict[str, Any]:
    if options.peepholes:
        raise refused(layer, "it has peepholes", "a plain cell, which is all that Keras has")
    if options.takes_state:
        raise refused(layer, "it takes states", "one that starts from zeros")
    ones = [1] * len(options.kernel_size)
    return {
        "filters": options.channels,
        "kernel_size": list(options.kernel_size),
        "strides": list(options.stride or ones),
        "dilation_rate": list(options.dilation or ones),
        "padding": options.padding,
        "data_format": "channels_last" if options.channels_last else "channels_first",
        "activation": keras_function_of(layer, options.activation, cell=True),
        "recurrent_activation": keras_function_of(layer, options.gate_activation, cell=True),
        "use_bias": options.bias,
        **_over_time(layer, options),
    }


def _bidirectional(layer: BidirectionalLayer, _: Sequence[Shape]) -> dict[str, Any]:
    both = []
    for name, one in (("forward", layer.forward_layer), ("backward", layer.backward_layer)):
        if one.options.return_sequences and one.options.masked_output != "zero":
            raise refused(layer, "its masked steps hold the last output", "zero, as Keras has it")
        # Ours is in the order of time, whatever the layer by itself would give.
        options = one.options.model_copy(update={"reversed_output": "processing"})
        write = _recurrent_config if isinstance(one, RecurrentLayer) else _conv_lstm_config
        config = write(layer, options)
        both.append(serialised(keras_class(one), {"name": name, **config}))
    return {"layer": both[0], "backward_layer": both[1], "merge_mode": _MERGES[layer.options.merge]}


def _per_step(layer: PerStepLayer, inputs: Sequence[Shape]) -> dict[str, Any]:
    config = keras_config(layer.layer, [inputs[0][1:]])
    return {"layer": serialised(keras_class(layer.layer), {"name": "inner", **config})}


_WRITERS: dict[type[NetworkLayer], tuple[str, Callable[[Any, Sequence[Shape]], dict[str, Any]]]] = {
    Dense: ("Dense", _dense),
    Embedding: ("Embedding", _embedding),
    Dropout: ("Dropout", _dropout),
    Activation: ("Activation", _activation),
    Masking: ("Masking", lambda layer, _: {"mask_value": layer.options.mask_value}),
    BatchNorm: ("BatchNormalization", _batch_norm),
    LayerNorm: ("LayerNormalization", _layer_norm),
    Flatten: ("Flatten", _flatten),
    Reshape: ("Reshape", _reshape),
    Permute: ("Permute", _permute),
    Repeat: ("RepeatVector", lambda layer, _: {"n": layer.options.times}),
    Concatenate: ("Concatenate", _concatenate),
    Combine: ("", _combine),
    Attention: ("", _attention),
    Rescale: ("Rescaling", lambda layer, _: {"scale": layer.options.scale, "offset": layer.options.offset}),
    Standardise: ("Normalization", _standardise),
    RecurrentLayer: ("", _recurrent),
    ConvLSTMLayer: ("", _conv_lstm),
    BidirectionalLayer: ("Bidirectional", _bidirectional),
    PerStepLayer: ("TimeDistributed", _per_step),
}
