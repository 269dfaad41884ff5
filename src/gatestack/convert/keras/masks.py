"""Which steps are real after each layer, as far as a file tells it: Keras 3 writes masks down.

Our layers hand masks on as Keras' do. A file in which a layer is told to take another mask than the one that
would reach it computes something else, and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from gatestack.convert.keras.architecture import RealSteps, Reference
from gatestack.convert.layers import (
    Activation,
    BatchNorm,
    BidirectionalLayer,
    Combine,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    LayerNorm,
    Masking,
    NetworkLayer,
    OverTime,
    PerStepLayer,
)

__all__ = ["masks_after"]

# Of several masks, which no file writes as one that is read here.
_JOINED = RealSteps(Reference("", 0, 0), 0.0, False)
_HANDED_ON = (Activation, BatchNorm, Dense, Dropout, LayerNorm, PerStepLayer)


def masks_after(
    layer: NetworkLayer, source: Reference, masks: Sequence[RealSteps | None]
) -> tuple[RealSteps | None, ...]:
    """Tell the masks of the outputs of a layer; those left out are none.

    Args:
        layer: of the network.
        source: its first input.
        masks: of its inputs.

    Example:
        >>> from gatestack.convert.layers import MaskingOptions
        >>> masks_after(Masking(MaskingOptions()), Reference("x", 0, 0), [None])[0].features
        True
    """
    mask = masks[0] if masks else None
    if isinstance(layer, Masking):
        return (RealSteps(source, layer.options.mask_value, True),)
    if isinstance(layer, Embedding):
        return (RealSteps(source, 0.0, False),) if layer.options.mask_zero else ()
    if isinstance(layer, _HANDED_ON):
        return (mask,)
    if isinstance(layer, BidirectionalLayer) and layer.options.forward.return_sequences:
        return (mask, mask) if layer.options.merge == "none" else (mask,)
    if isinstance(layer, OverTime) and layer.options.return_sequences:
        return (mask,)
    if isinstance(layer, Combine | Concatenate) and any(one is not None for one in masks):
        return (_JOINED,)
    return ()
