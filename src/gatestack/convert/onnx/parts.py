"""What a model gives beside its graph when it is exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from gatestack.convert.onnx.builder import Array
from gatestack.convert.proof import TOLERANCE, ProofVector

__all__ = ["OnnxParts", "RunGraph", "Score"]

RunGraph: TypeAlias = Callable[[Mapping[str, Array]], dict[str, Array]]
"""Runs the graph: inputs by name -> outputs by name."""

Score: TypeAlias = Callable[[RunGraph], dict[str, float]]
"""Scores the graph on data at hand -> named scores, smaller is better."""


@dataclass(frozen=True)
class OnnxParts:
    """What `_to_onnx(builder)` of an estimator returns after it has built its graph.

    Args:
        vectors: inputs and the outputs that the model itself gives for them. Every open axis must have two
            sizes or more among them, one of them 1.
        tolerance: what a difference may be; see `gatestack.convert.proof.compare`.
        metadata: texts to keep in the file.
        score: None, or how good the graph is on data at hand; called for the file, and with int8 also for
            the graph without it.

    Example:
        >>> OnnxParts([]).tolerance
        2e-05
    """

    vectors: Sequence[ProofVector]
    tolerance: float = TOLERANCE
    metadata: Mapping[str, str] = field(default_factory=dict)
    score: Score | None = None
