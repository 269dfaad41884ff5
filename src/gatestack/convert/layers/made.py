"""Layers made from data."""

from __future__ import annotations

from typing import Any

from gatestack.convert.layers.base import NetworkLayer
from gatestack.errors import ArgumentError, nearest_name, quote_value

__all__ = ["layer_from_data"]


def layer_from_data(kind: str, options: dict[str, Any]) -> NetworkLayer:
    """Make a layer from its kind and its options, as `NetworkLayer.to_data` gives them.

    Args:
        kind: one of `NetworkLayer.kinds`.
        options: name to value.

    Returns:
        The layer, with weights drawn anew.

    Raises:
        ArgumentError: an unknown kind or option, or a value out of its range.

    Example:
        >>> layer_from_data("dense", {"units": 2, "input_size": 3}).options.activation
        'linear'
    """
    made = NetworkLayer.kinds.get(kind)
    if made is None:
        raise ArgumentError(
            f"there is no layer of the kind {quote_value(kind)}", hint=nearest_name(kind, NetworkLayer.kinds)
        )
    return made(made.Options(**options))
