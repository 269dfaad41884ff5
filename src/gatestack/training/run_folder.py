"""Where a run keeps its checkpoints, and whether it goes on from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["RunFolder"]


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Where a run keeps its checkpoints, whether it goes on from them, and whether it shows its progress.

    Args:
        path: folder of the checkpoints; None keeps none.
        resume: go on from the newest checkpoint in the folder, with the same settings and data.
        progress: None shows a bar on stderr if it is a terminal; True also writes lines if it is not.

    Example:
        >>> RunFolder(path=Path("runs/weather"), resume=True).resume
        True
    """

    path: Path | None = None
    resume: bool = False
    progress: bool | None = None
