"""The layers that are read from Keras files: an allow-list, each with the settings it may have.

A reader takes the settings and the shapes of the inputs, without the batch, and makes the layer of a
`Network`. Layers over time have a file of their own, `layers_over_time.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gatestack.convert.keras.functions import function_name
from gatestack.convert.keras.settings import Settings
from gatestack.convert.keras.shapes import Shape
from gatestack.convert.layers import (
    Activation,
    ActivationOptions,
    BatchNorm,
    BatchNormOptions,
    Combine,
    CombineOptions,
    Concatenate,
    ConcatenateOptions,
    Dense,
    DenseOptions,
    Dropout,
    DropoutOptions,
    Embedding,
    EmbeddingOptions,
    Flatten,
    FlattenOptions,
    LayerNorm,
    LayerNormOptions,
    Masking,
    MaskingOptions,
    NetworkLayer,
    Permute,
    PermuteOptions,
    Repeat,
    RepeatOptions,
    Reshape,
    ReshapeOptions,
)

__all__ = ["LAYERS", "Entry", "ReadLayer"]


@dataclass(frozen=True)
class Entry:
    """A layer in the file.

    Args:
        settings: its config.
        shapes: of its inputs, without the batch.
        version: 2 or 3, of the Keras that wrote it.

    Example:
        >>> Entry(Settings({}, "m.keras, layer 'a'"), [(None, 3)], 3).features
        3
    """

    settings: Settings
    shapes: Sequence[Shape]
    version: int

    @property
    def features(self) -> int:
        """Size of the last axis of the first input.

        Raises:
            ModelFileError: it is not known.
        """
        shape = self.shapes[0]
        if not shape or shape[-1] is None:
            sizes = ", ".join("any" if size is None else str(size) for size in shape)
            raise self.settings.refused(
                f"its input has the shape (batch, {sizes})", expected="a last axis whose size is known"
            )
        return shape[-1]


ReadLayer = Callable[[Entry], NetworkLayer]


def _dense(entry: Entry) -> NetworkLayer:
    settings = entry.settings
    settings.only("quantization_config", None)
    settings.only("lora_rank", None)
    settings.only("lora_alpha", None)
    options = {
        "units": settings.whole("units"),
        "input_size": entry.features,
        "bias": settings.flag("use_bias", True),
        "activation": function_name(settings, "activation", "linear", version=entry.version),
    }
    return Dense(DenseOptions.model_validate(options))


def _embedding(entry: Entry) -> NetworkLayer:
    settings = entry.settings
    settings.only("quantization_config", None)
    settings.only("lora_rank", None)
    settings.only("lora_alpha", None)
    settings.only("sparse", False)
    return Embedding(
        EmbeddingOptions(
            vocabulary_size=settings.whole("input_dim"),
            size=settings.whole("output_dim"),
            mask_zero=settings.flag("mask_zero"),
        )
    )


def _dropout(entry: Entry) -> NetworkLayer:
    settings = entry.settings
    settings.only("noise_shape", None)
    return Dropout(DropoutOptions(rate=settings.number("rate", 0.5)))


def _spatial_dropout(entry: Entry) -> NetworkLayer:
    entry.settings.only("noise_shape", None)
    return Dropout(DropoutOptions(rate=entry.settings.number("rate", 0.5), same_over_time=True))


def _activation(entry: Entry) -> NetworkLayer:
    function = function_name(entry.settings, "activation", "linear", version=entry.version)
    return Activation(ActivationOptions.model_validate({"function": function}))


def _relu(entry: Entry) -> NetworkLayer:
    settings = entry.settings
    settings.only("threshold", 0, None)
    settings.only("negative_slope", 0, None)
    most = settings.take("max_value")
    if most not in (None, 6):
        raise settings.refused(f"its max_value is {most}", expected="none, or 6")
    return Activation(ActivationOptions(function="relu" if most is None else "relu6"))


def _leaky_relu(entry: Entry) -> NetworkLayer:
    key = "negative_slope" if entry.version > 2 else "alpha"
    return Activation(ActivationOptions(function="leaky_relu", slope=entry.settings.number(key, 0.3)))


def _elu(entry: Entry) -> NetworkLayer:
    return Activation(ActivationOptions(function="elu", slope=entry.settings.number("alpha", 1.0)))


def _softmax(entry: Entry) -> NetworkLayer:
    entry.settings.only("axis", -1, [-1])
    return Activation(ActivationOptions(function="softmax"))


def _masking(entry: Entry) -> NetworkLayer:
    return Masking(MaskingOptions(mask_value=entry.settings.number("mask_value", 0.0)))


def _batch_norm(entry: Entry) -> NetworkLayer:
    settings = entry.settings
    for key in ("renorm", "synchronized", "fused", "virtual_batch_size", "adjustment", "renorm_clipping"):
        settings.only(key, None, False)
    settings.take("renorm_momentum")
    (axis,) = _axes(entry, "axis", most=1)
    features = entry.shapes[0][axis - 1]
    if axis == 0 or features is None:
        raise settings.refused(f"its axis is {axis}, whose size is not known")
    return BatchNorm(
        BatchNormOptions(
            features=features,
            axis=axis,
            epsilon=settings.number("epsilon", 1e-3),
            momentum=1 - settings.number("momentum", 0.99),
            center=settings.flag("center", True),
            scale=settings.flag("scale", True),
        )
    )


def _layer_norm(entry: Entry) -> NetworkLayer:
    settings, shape = entry.settings, entry.shapes[0]
    settings.only("rms_scaling", False)
    axes = sorted(_axes(entry, "axis", most=32))
    sizes = [size for size in shape[axes[0] - 1 :] if size is not None]
    if axes != list(range(axes[0], len(shape) + 1)) or axes[0] == 0 or len(sizes) != len(axes):
        raise settings.refused(f"it normalises over the axes {axes}", expected="the last ones, of known size")
    return LayerNorm(
        LayerNormOptions(
            shape=tuple(sizes),
            epsilon=settings.number("epsilon", 1e-3),
            center=settings.flag("center", True),
            scale=settings.flag("scale", True),
        )
    )


def _axes(entry: Entry, key: str, *, most: int) -> list[int]:
    """Give axes counted from the front, the batch being 0; Keras' default is the last one."""
    found = entry.settings.wholes(key) if entry.settings.take(key) is not None else (-1,)
    rank = len(entry.shapes[0]) + 1
    if not 1 <= len(found) <= most or any(not -rank <= axis < rank for axis in found):
        raise entry.settings.refused(f"{key} is {list(found)}", expected=f"axes of an input with {rank}")
    return [axis % rank for axis in found]


def _flatten(entry: Entry) -> NetworkLayer:
    entry.settings.only("data_format", None, "channels_last")
    return Flatten(FlattenOptions())


def _reshape(entry: Entry) -> NetworkLayer:
    target = entry.settings.wholes("target_shape")
    if any(size < -1 or size == 0 for size in target) or target.count(-1) > 1:
        raise entry.settings.refused(f"target_shape is {list(target)}", expected="sizes, one of them -1")
    # The batch is what is left over, unless one of the sizes is: then it is kept as it is.
    return Reshape(ReshapeOptions(shape=(0, *target)))


def _permute(entry: Entry) -> NetworkLayer:
    axes = entry.settings.wholes("dims")
    if sorted(axes) != list(range(1, len(entry.shapes[0]) + 1)):
        raise entry.settings.refused(f"dims is {list(axes)}", expected="each axis once, from 1")
    return Permute(PermuteOptions(axes=(0, *axes)))


def _repeat(entry: Entry) -> NetworkLayer:
    if len(entry.shapes[0]) != 1:
        raise entry.settings.refused(f"its input has {len(entry.shapes[0]) + 1} axes", expected="2")
    return Repeat(RepeatOptions(times=entry.settings.whole("n")))


def _concatenate(entry: Entry) -> NetworkLayer:
    (axis,) = _axes(entry, "axis", most=1)
    return Concatenate(ConcatenateOptions(axis=axis, masks=_masks(entry)))


def _combining(operation: Any) -> ReadLayer:
    def read(entry: Entry) -> NetworkLayer:
        return Combine(CombineOptions(operation=operation, masks=_masks(entry)))

    return read


def _masks(entry: Entry) -> Literal["any", "all"]:
    """How the masks of several inputs become one: Keras 2 and 3 differ."""
    return "any" if entry.version > 2 else "all"


LAYERS: Mapping[str, ReadLayer] = {
    "Dense": _dense,
    "Embedding": _embedding,
    "Dropout": _dropout,
    "SpatialDropout1D": _spatial_dropout,
    "Activation": _activation,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "Softmax": _softmax,
    "Masking": _masking,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "RepeatVector": _repeat,
    "Concatenate": _concatenate,
    "Add": _combining("add"),
    "Subtract": _combining("subtract"),
    "Multiply": _combining("multiply"),
    "Average": _combining("average"),
    "Maximum": _combining("maximum"),
    "Minimum": _combining("minimum"),
}
"""Keras' class to its reader, for layers that know no time."""
