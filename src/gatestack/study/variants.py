"""The second axis of a study of depth: what regularises the network, by name.

Each variant has a search over depths of its own, since a network that is kept from learning by heart may bear
more layers. It is compared with the depth that was chosen as the estimator was given. The best of many ways
flatters itself, so the rule is stricter than that of a layer: all intervals together hold the truth in 95 of
100 studies, and a way is worth it where its own lies above 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gatestack.errors import ArgumentError, nearest_name
from gatestack.study.comparison import PairedDifference
from gatestack.study.folded_task import Measure

__all__ = [
    "AS_GIVEN",
    "USUAL",
    "VariantRow",
    "layers_text",
    "least_layers",
    "parse_variants",
    "variants_sentence",
]

AS_GIVEN = ""
"""Name of the variant without a change."""

USUAL: Mapping[str, Any] = {
    "dropout": 0.3,
    "variational_dropout": 0.3,
    "recurrent_dropout": 0.3,
    "zoneout": 0.1,
    "weight_decay": 0.1,
    "layer_norm": True,
}
"""What regularises, and the strength that a name alone stands for."""


@dataclass(frozen=True, kw_only=True)
class VariantRow:
    """What a study found of one way to regularise.

    Attributes:
        name: such as `"zoneout=0.1"`.
        layers: depth that its own search chose.
        score: mean over folds and seeds at that depth.
        training: mean score on the training part.
        gain: over the depth chosen as the estimator was given; above 0 it is better. The interval is widened
            for the number of ways that were tried.
        worth: whether the interval of the gain lies above 0, and the gain above the minimum gain for each
            layer more, but at least once.

    Example:
        >>> gain = PairedDifference(mean=0.1, error=0.02, low=0.05, high=0.15)
        >>> VariantRow(name="zoneout=0.1", layers=2, score=0.9, training=0.8, gain=gain, worth=True).layers
        2
    """

    name: str
    layers: int
    score: float
    training: float | None
    gain: PairedDifference
    worth: bool


def parse_variants(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read what regularises, by name.

    Args:
        texts: such as `"dropout=0.3"`, a name alone for its usual strength, or several joined by `+`.

    Returns:
        Name of each variant → changes of the estimator's settings; the first one is as it was given.

    Raises:
        ArgumentError: no such name, or no such strength.

    Example:
        >>> parse_variants(["zoneout", "dropout=0.2+layer_norm"])  # doctest: +NORMALIZE_WHITESPACE
        {'': {}, 'zoneout=0.1': {'zoneout': 0.1},
         'dropout=0.2+layer_norm': {'dropout': 0.2, 'layer_norm': True}}
    """
    found: dict[str, dict[str, Any]] = {AS_GIVEN: {}}
    for text in texts:
        parts = [_change(part.strip()) for part in text.split("+")]
        changes = dict(parts)
        if len(changes) < len(parts):
            raise ArgumentError(f"{text!r} names one thing twice", where="study", expected="each name once")
        name = "+".join(
            key if value is True else f"{key}={str(value).removesuffix('.0')}"
            for key, value in sorted(changes.items())
        )
        found[name] = changes
    return found


def least_layers(changes: Mapping[str, Any]) -> int:
    """Give the smallest depth at which these changes change anything.

    Example:
        >>> least_layers({"variational_dropout": 0.3}), least_layers({"dropout": 0.3})
        (2, 1)
    """
    return 2 if set(changes) == {"variational_dropout"} else 1


def layers_text(count: int) -> str:
    """Write a number of layers.

    Example:
        >>> layers_text(1), layers_text(2)
        ('1 layer', '2 layers')
    """
    return f"{count} layer{'' if count == 1 else 's'}"


def _change(text: str) -> tuple[str, Any]:
    name, given, strength = (part.strip() for part in text.partition("="))
    name = name.replace("-", "_")
    if name not in USUAL:
        raise ArgumentError(
            f"there is no regularisation {name!r}", where="study", hint=nearest_name(name, USUAL)
        )
    if not given:
        return name, USUAL[name]
    try:
        value = math.nan if USUAL[name] is True else float(strength)
    except ValueError:
        value = math.nan
    if not 0 <= value < (math.inf if name == "weight_decay" else 1):
        raise ArgumentError(
            f"{text!r}",
            where="study",
            expected="layer_norm alone"
            if name == "layer_norm"
            else f"a strength such as {name}={USUAL[name]}",
        )
    return name, value


def variants_sentence(rows: Sequence[VariantRow], measure: Measure) -> str:
    """Say which of the ways to regularise is worth it.

    Args:
        rows: one for each way; one or more.
        measure: that was compared.
    """
    good = [row for row in rows if row.worth]
    if not good:
        names = ", ".join(row.name for row in rows)
        return f"Regularisation: nothing measurable is gained by {names}."
    best = min(good, key=lambda row: measure.loss(row.score))
    gain = f"{best.gain.mean:.3g} ± {best.gain.half_width:.2g} better than without"
    ways = f", the best of {len(rows)} ways" if len(rows) > 1 else ""
    return (
        f"Regularisation: {best.name} with {layers_text(best.layers)} has {measure.label} "
        f"{measure.text(best.score)}, {gain}{ways}."
    )
