"""Keras' layers that weigh steps or bring features to a scale: attention, Rescaling, Normalization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from gatestack.convert.keras.layers import Entry, ReadLayer
from gatestack.convert.keras.settings import Settings
from gatestack.convert.layers import (
    Attention,
    AttentionOptions,
    NetworkLayer,
    Rescale,
    RescaleOptions,
    Standardise,
    StandardiseOptions,
)
from gatestack.errors import quote_value

__all__ = ["SCALE_LAYERS"]


def _attention(entry: Entry) -> NetworkLayer:
    score = entry.settings.choice("score_mode", ("dot", "concat"), "dot")
    return _attending(entry, "concat" if score == "concat" else "dot", entry.settings.flag("use_scale"))


def _additive_attention(entry: Entry) -> NetworkLayer:
    return _attending(entry, "additive", entry.settings.flag("use_scale", True))


def _attending(entry: Entry, score: Literal["dot", "additive", "concat"], scaled: bool) -> NetworkLayer:
    settings = entry.settings
    settings.only("causal", False)  # of Keras before 2.10
    if any(len(shape) != 2 for shape in entry.shapes) or not 2 <= len(entry.shapes) <= 3:
        raise settings.refused(
            f"its inputs are {', '.join(map(str, entry.shapes))}",
            expected="a query, a value and perhaps a key, each (batch, time, features)",
        )
    return Attention(
        AttentionOptions(
            score=score,
            scaled=scaled,
            features=entry.features if score == "additive" and scaled else None,
            dropout=settings.number("dropout", 0.0),
        )
    )


def _rescaling(entry: Entry) -> NetworkLayer:
    settings = entry.settings
    return Rescale(RescaleOptions(scale=settings.number("scale", 1.0), offset=settings.number("offset", 0.0)))


def _normalization(entry: Entry) -> NetworkLayer:
    settings, shape = entry.settings, entry.shapes[0]
    rank = len(shape) + 1
    axes: tuple[int, ...] = ()
    if settings.take("axis", -1) is not None:
        listed = settings.wholes("axis", -1)
        axes = tuple(sorted({axis % rank for axis in listed if -rank <= axis < rank}))
        if len(axes) != len(listed) or 0 in axes or None in (shape[axis - 1] for axis in axes):
            raise settings.refused(f"axis is {list(listed)}", expected="axes beside the batch, of known size")
    sizes = tuple(size for size in (shape[axis - 1] for axis in axes) if size is not None)
    return Standardise(
        StandardiseOptions(
            axes=axes,
            shape=sizes,
            invert=settings.flag("invert"),
            mean=_numbers(settings, "mean", sizes),
            variance=_numbers(settings, "variance", sizes),
        )
    )


def _numbers(settings: Settings, key: str, sizes: tuple[int, ...]) -> tuple[float, ...] | None:
    """Give a mean or variance that is a setting: one number for all, or one for each place of the axis."""
    found = settings.take(key)
    if found is None:
        return None
    count = sizes[0] if len(sizes) == 1 else 1
    while isinstance(found, list) and len(found) == 1 and isinstance(found[0], list):
        found = found[0]
    listed = found * (count if len(found) == 1 else 1) if isinstance(found, list) else [found] * count
    plain = all(type(one) in (int, float) for one in listed)
    if len(sizes) > 1 or len(listed) != count or not plain or count > 2**20:
        raise settings.refused(f"{key} is {quote_value(found)}", expected="a number, or one for each feature")
    return tuple(map(float, listed))


SCALE_LAYERS: Mapping[str, ReadLayer] = {
    "Attention": _attention,
    "AdditiveAttention": _additive_attention,
    "Rescaling": _rescaling,
    "Normalization": _normalization,
}
"""Keras' class to its reader."""
