"""What an export wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gatestack.convert.proof import Difference

__all__ = ["Exported"]


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Args:
        path: the file.
        proof: the test vectors beside it.
        file_bytes: size of the file.
        differences: of each output, between the file as it is run by its target and the model.
        plain_bytes: with int8, the size without it; else None.
        plain_scores: with int8, and where there is data: scores without it.
        scores: where there is data, scores of the file; smaller is better.

    Example:
        >>> Exported(Path("m.onnx"), Path("m.onnx.proof.safetensors"), 10).differences
        {}
    """

    path: Path
    proof: Path
    file_bytes: int
    differences: Mapping[str, Difference] = field(default_factory=dict)
    plain_bytes: int | None = None
    plain_scores: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
