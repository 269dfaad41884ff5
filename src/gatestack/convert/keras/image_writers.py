"""Our layers over space as Keras 3 writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gatestack.convert.keras.shapes import Shape
from gatestack.convert.keras.writer_parts import keras_function_of, refused
from gatestack.convert.layers import Convolution, MeanOverTime, NetworkLayer, Pool, WindowPool

__all__ = ["image_class", "image_config"]


def image_class(layer: NetworkLayer) -> str | None:
    """Give the name of the class that Keras has for a layer over space; None for another layer.

    Example:
        >>> from gatestack.convert.layers import WindowPoolOptions
        >>> image_class(WindowPool(WindowPoolOptions(operation="mean", size=(2, 2))))
        'AveragePooling2D'
    """
    if isinstance(layer, Convolution):
        return f"Conv{len(layer.options.kernel_size)}D"
    if isinstance(layer, WindowPool):
        kind = "Max" if layer.options.operation == "max" else "Average"
        return f"{kind}Pooling{len(layer.options.size)}D"
    if isinstance(layer, MeanOverTime):
        return "GlobalAveragePooling1D"
    if isinstance(layer, Pool):
        kind = "Average" if layer.options.operation == "mean" else "Max"
        return f"Global{kind}Pooling{min(len(layer.options.axes), 3)}D"
    return None


def image_config(layer: NetworkLayer, inputs: Sequence[Shape]) -> dict[str, Any]:
    """Give the settings of a layer over space, without name and dtype.

    Args:
        layer: of a network.
        inputs: the shapes of its inputs, without the batch.

    Raises:
        ArgumentError: it has an option that Keras has not.

    Example:
        >>> from gatestack.convert.layers import MeanOverTimeOptions
        >>> image_config(MeanOverTime(MeanOverTimeOptions()), [(None, 3)])["keepdims"]
        False
    """
    if isinstance(layer, Convolution):
        return _convolution(layer)
    if isinstance(layer, WindowPool):
        options = layer.options
        return {
            "pool_size": list(options.size),
            "strides": list(options.stride or options.size),
            "padding": options.padding,
            "data_format": _data_format(options.channels_last),
        }
    if isinstance(layer, MeanOverTime):
        if len(inputs[0]) != 2:
            raise refused(layer, f"its input has {len(inputs[0]) + 1} axes", "batch, time, features")
        return {"data_format": "channels_last", "keepdims": layer.options.keep}
    if isinstance(layer, Pool):
        return _pool(layer, inputs)
    raise refused(layer, "it has no writer", "a layer that Keras has")


def _convolution(layer: Convolution) -> dict[str, Any]:
    options = layer.options
    ones = [1] * len(options.kernel_size)
    return {
        "filters": options.channels,
        "kernel_size": list(options.kernel_size),
        "strides": list(options.stride or ones),
        "dilation_rate": list(options.dilation or ones),
        "padding": options.padding,
        "data_format": _data_format(options.channels_last),
        "groups": options.groups,
        "activation": keras_function_of(layer, options.activation),
        "use_bias": options.bias,
    }


def _pool(layer: Pool, inputs: Sequence[Shape]) -> dict[str, Any]:
    options, rank = layer.options, len(inputs[0]) + 1
    axes = tuple(sorted(axis % rank for axis in options.axes))
    last, first = tuple(range(1, rank - 1)), tuple(range(2, rank))
    mean_of_steps = options.operation == "mean" and rank == 3  # Keras' looks at masks, this one does not
    if options.operation not in ("max", "mean") or axes not in (last, first) or rank < 3 or mean_of_steps:
        raise refused(layer, f"{options!r}", "the largest over all of time or space, or the mean over space")
    return {"keepdims": options.keep, "data_format": _data_format(axes == last)}


def _data_format(channels_last: bool) -> str:
    return "channels_last" if channels_last else "channels_first"
