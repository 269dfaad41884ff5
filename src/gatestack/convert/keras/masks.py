"""Which steps are real after each layer, as far as a file tells it: Keras 3 writes masks down.

Our layers hand masks on as Keras' do. A file in which a layer is told to take another mask than the one that
would reach it computes something else, and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from gatestack.convert.keras.formulas import RealSteps, Reference, formula
from gatestack.convert.layers import (
    Activation,
    Attention,
    BatchNorm,
    BidirectionalLayer,
    Combine,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    LayerNorm,
    MaskBy,
    Masking,
    MeanOverTime,
    NetworkLayer,
    OverTime,
    PerStepLayer,
    Rescale,
    Standardise,
)

__all__ = ["masks_after", "takes_mask"]

_HANDED_ON = (Activation, BatchNorm, Dense, Dropout, LayerNorm, PerStepLayer, Rescale, Standardise)


def masks_after(
    layer: NetworkLayer, sources: Sequence[Reference], masks: Sequence[RealSteps | None]
) -> tuple[RealSteps | None, ...]:
    """Tell the masks of the outputs of a layer; those left out are none.

    Args:
        layer: of the network.
        sources: its inputs.
        masks: of its inputs.

    Example:
        >>> from gatestack.convert.layers import MaskingOptions
        >>> masks_after(Masking(MaskingOptions()), [Reference("x", 0, 0)], [None])[0].operation
        'any'
    """
    mask = masks[0] if masks else None
    if isinstance(layer, Masking):
        return (formula("any", formula("differs", sources[0], layer.options.mask_value)),)
    if isinstance(layer, Embedding):
        return (formula("differs", sources[0], 0.0),) if layer.options.mask_zero else ()
    if isinstance(layer, MaskBy):
        return (formula("given", sources[1]),)
    if isinstance(layer, Attention):
        return (mask and formula("same", mask),)
    if isinstance(layer, _HANDED_ON):
        return (mask,)
    if isinstance(layer, BidirectionalLayer) and layer.options.forward.return_sequences:
        return (mask, mask) if layer.options.merge == "none" else (mask,)
    if isinstance(layer, OverTime) and layer.options.return_sequences:
        return (mask,)
    if isinstance(layer, Concatenate) and any(one is not None for one in masks):
        return (_concatenated(layer, sources, masks),)
    if isinstance(layer, Combine):
        return (_combined(layer, masks),)
    return ()


def takes_mask(layer: NetworkLayer) -> bool:
    """Whether Keras hands the mask of the input to the call of this layer.

    Example:
        >>> from gatestack.convert.layers import MaskingOptions
        >>> takes_mask(Masking(MaskingOptions()))
        False
    """
    if isinstance(layer, Activation):
        return bool(layer.options.function == "softmax")
    return isinstance(layer, BatchNorm | BidirectionalLayer | MeanOverTime | OverTime | PerStepLayer)


def _combined(layer: Combine, masks: Sequence[RealSteps | None]) -> RealSteps | None:
    given = [mask for mask in masks if mask is not None]
    if layer.options.masks == "all":
        return reduce(lambda one, other: formula("and", one, other), given) if given else None
    if len(given) < len(masks):
        return None
    return reduce(lambda one, other: formula("or", one, other), given)


def _concatenated(
    layer: Concatenate, sources: Sequence[Reference], masks: Sequence[RealSteps | None]
) -> RealSteps:
    parts = [
        formula("all", source)
        if mask is None
        else formula("or", formula("wider", mask), formula("none", source))
        for source, mask in zip(sources, masks, strict=True)
    ]
    return formula("any", formula("joined", layer.options.axis % 3, *parts))
