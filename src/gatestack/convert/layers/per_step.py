"""A layer applied to each step by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from gatestack.convert.layers.base import LayerOptions, NetworkLayer, Signal
from gatestack.convert.layers.made import layer_from_data

__all__ = ["LayerData", "PerStepLayer", "PerStepOptions"]


class LayerData(BaseModel):
    """A layer as data, as `NetworkLayer.to_data` gives it.

    Args:
        kind: of the layer.
        options: as JSON values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    options: dict[str, Any]


class PerStepOptions(LayerOptions):
    """Options of `PerStepLayer`.

    Args:
        layer: what is applied, as `NetworkLayer.to_data` gives it.
    """

    layer: LayerData


class PerStepLayer(NetworkLayer):
    """A layer of one input and one output, applied to each step by itself: Keras' TimeDistributed.

    One signal (N, T, …) in, one (N, T, …) out; the mask passes.

    Args:
        options: the layer.

    Attributes:
        layer: the inner `NetworkLayer`.

    Example:
        >>> import torch
        >>> from gatestack.convert.layers import Flatten, FlattenOptions
        >>> layer = PerStepLayer(PerStepOptions(layer=Flatten(FlattenOptions()).to_data()))
        >>> layer.run([Signal(torch.zeros(2, 5, 3, 4))])[0].value.shape
        torch.Size([2, 5, 12])
    """

    kind = "per_step"
    Options = PerStepOptions

    def __init__(self, options: PerStepOptions) -> None:
        super().__init__(options)
        self.layer = layer_from_data(options.layer.kind, options.layer.options)
        if 1 not in self.layer.inputs or self.layer.outputs != 1:
            raise self.refuse(f"the inner layer is a {self.layer.kind}", "one with one input and one output")

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Apply the layer to x (N, T, …)."""
        value, mask = signals[0]
        if value.dim() < 3:
            raise self.refuse(f"x has shape {tuple(value.shape)}", "(batch, time, …)")
        # Every step is a row of its own: a layer that works on rows cannot tell the difference.
        (inner,) = self.layer.run([Signal(value.flatten(0, 1))])
        return (Signal(inner.value.reshape(*value.shape[:2], *inner.value.shape[1:]), mask),)

    def reset_state(self) -> None:
        """Forget what the inner layer keeps."""
        self.layer.reset_state()
