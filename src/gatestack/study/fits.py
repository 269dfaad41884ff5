"""One fit of a study, and what it found, as data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Self

__all__ = ["Fit", "Outcome", "digest_of_parts"]


class Fit(NamedTuple):
    """Which fit of a study.

    Attributes:
        layers: depth; 0 for the baselines and a model without recurrence.
        fold: number of the fold that is held out, from 0 on.
        seed: of initial weights and batches.
        variant: name of the changed settings; empty as the estimator was given.

    Example:
        >>> Fit(layers=2, fold=0, seed=1)
        Fit(layers=2, fold=0, seed=1, variant='')
    """

    layers: int
    fold: int
    seed: int
    variant: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a fit found.

    Attributes:
        scores: name of the model → score on the part that was held out. One network has one score; at depth 0
            each plain answer has its own.
        training: score on the part it was trained on; None at depth 0.
        seconds: of training.
        parameters: that are trained; None at depth 0.
        step_ms: milliseconds that a step of one series takes at inference; None at depth 0.
        step_bytes: weights and state that such a step reads; None at depth 0.

    Example:
        >>> Outcome.from_dict(Outcome(scores={"linear": 0.8}, seconds=0.1).to_dict()).scores
        {'linear': 0.8}
    """

    scores: dict[str, float]
    seconds: float
    training: float | None = None
    parameters: int | None = None
    step_ms: float | None = None
    step_bytes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})


def digest_of_parts(parts: Mapping[str, Any]) -> str:
    """Give a short name of JSON values, such as those that the fits of a study depend on.

    Example:
        >>> digest_of_parts({"folds": 3}) == digest_of_parts({"folds": 4})
        False
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
