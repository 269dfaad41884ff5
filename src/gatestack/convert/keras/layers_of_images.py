"""Keras' layers over space: convolutions, and the largest number or the mean of windows or of all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from gatestack.convert.keras.functions import function_name
from gatestack.convert.keras.layers import Entry, ReadLayer
from gatestack.convert.keras.settings import Settings
from gatestack.convert.layers import (
    Convolution,
    ConvolutionOptions,
    MeanOverTime,
    MeanOverTimeOptions,
    NetworkLayer,
    Pool,
    PoolOptions,
    WindowPool,
    WindowPoolOptions,
)

__all__ = ["IMAGE_LAYERS", "is_channels_last", "sizes_of"]


def is_channels_last(settings: Settings) -> bool:
    """Whether the channels are the last axis."""
    form = settings.choice("data_format", ("channels_last", "channels_first"), "channels_last")
    return form == "channels_last"


def sizes_of(settings: Settings, key: str, dimensions: int) -> tuple[int, ...]:
    """Give one number of at least 1 for each dimension; ones where the key is not there.

    Example:
        >>> sizes_of(Settings({"strides": [2, 1]}, "m.keras, layer 'a'"), "strides", 2)
        (2, 1)
    """
    if settings.take(key) is None:
        return (1,) * dimensions
    found = settings.wholes(key)
    found = found * dimensions if len(found) == 1 else found
    if len(found) != dimensions or min(found) < 1:
        raise settings.refused(f"{key} is {list(found)}", expected=f"{dimensions} numbers of 1 or more")
    return found


def _convolution(dimensions: int) -> ReadLayer:
    def read(entry: Entry) -> NetworkLayer:
        settings, last = entry.settings, is_channels_last(entry.settings)
        shape = _image(entry, dimensions)
        channels = shape[-1 if last else 0]
        if channels is None:
            raise settings.refused("its input has channels of unknown number", expected="a known number")
        paddings = ("same", "valid", "causal") if dimensions == 1 else ("same", "valid")
        options = {
            "channels": settings.whole("filters"),
            "input_channels": channels,
            "kernel_size": sizes_of(settings, "kernel_size", dimensions),
            "stride": sizes_of(settings, "strides", dimensions),
            "dilation": sizes_of(settings, "dilation_rate", dimensions),
            "padding": settings.choice("padding", paddings, "valid"),
            "groups": settings.take("groups", 1),
            "bias": settings.flag("use_bias", True),
            "activation": function_name(settings, "activation", "linear", version=entry.version),
            "channels_last": last,
        }
        return Convolution(ConvolutionOptions.model_validate(options))

    return read


def _windows(operation: Literal["max", "mean"], dimensions: int) -> ReadLayer:
    def read(entry: Entry) -> NetworkLayer:
        settings = entry.settings
        _image(entry, dimensions)
        size = sizes_of(settings, "pool_size", dimensions)
        stride = settings.take("strides")
        options = {
            "operation": operation,
            "size": size,
            "stride": size if stride is None else sizes_of(settings, "strides", dimensions),
            "padding": settings.choice("padding", ("same", "valid"), "valid"),
            "channels_last": is_channels_last(settings),
        }
        return WindowPool(WindowPoolOptions.model_validate(options))

    return read


def _whole(operation: Literal["max", "mean"], dimensions: int) -> ReadLayer:
    def read(entry: Entry) -> NetworkLayer:
        settings, last = entry.settings, is_channels_last(entry.settings)
        _image(entry, dimensions)
        keep = settings.flag("keepdims")
        if (operation, dimensions) == ("mean", 1):
            if not last:
                raise settings.refused("its data_format is channels_first", expected="channels_last")
            return MeanOverTime(MeanOverTimeOptions(keep=keep))
        first = 1 if last else 2
        return Pool(PoolOptions(operation=operation, axes=tuple(range(first, first + dimensions)), keep=keep))

    return read


def _image(entry: Entry, dimensions: int) -> tuple[int | None, ...]:
    """Give the shape of the input, which has as many axes as it should."""
    shape = tuple(entry.shapes[0])
    if len(shape) != dimensions + 1:
        raise entry.settings.refused(
            f"its input has {len(shape) + 1} axes", expected=f"batch, {dimensions} of space, channels"
        )
    return shape


_MADE: dict[str, Callable[[int], ReadLayer]] = {
    "Conv": _convolution,
    "MaxPooling": partial(_windows, "max"),
    "AveragePooling": partial(_windows, "mean"),
    "GlobalMaxPooling": partial(_whole, "max"),
    "GlobalAveragePooling": partial(_whole, "mean"),
}
IMAGE_LAYERS: Mapping[str, ReadLayer] = {
    f"{name}{dimensions}D": read(dimensions) for dimensions in (1, 2, 3) for name, read in _MADE.items()
}
"""Keras' class to its reader."""
