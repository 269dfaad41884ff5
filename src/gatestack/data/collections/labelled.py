"""Sequences with what is known of each: its class, or a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gatestack.data.sequences import Sequences
from gatestack.errors import ArgumentError

__all__ = ["LabelColumns", "LabelledSequences", "TargetKind"]

TargetKind = Literal["classes", "numbers"]
"""What a label is read as: the name of a class, or a number to be predicted."""


@dataclass(frozen=True, kw_only=True)
class LabelColumns:
    """Which columns of a table hold what; the others are steps (wide) or channels (long).

    Args:
        label: name of the column of labels or targets.
        case: name of the column that says to which sequence a row belongs; None where each row is one.
        time: name of the column of times in a sequence, or None.

    Example:
        >>> LabelColumns(label="activity", case="recording").time is None
        True
    """

    label: str | None = None
    case: str | None = None
    time: str | None = None


@dataclass(frozen=True, eq=False, repr=False)
class LabelledSequences:
    """Sequences, and one label or one target value for each.

    Args:
        sequences: n sequences of one or more features (channels).
        labels: (n,) names of classes, text or whole numbers; None without classes.
        targets: (n,) finite numbers, float64; None without target values.
        classes: every class that may occur, as the file declares them, or those that occur, sorted.
        source: file or name, for messages.
        columns: which columns of a table were read as what; None where there was no table.

    Raises:
        ArgumentError: both labels and targets are given, or a length does not fit.

    Example:
        >>> sequences = Sequences.from_arrays([[0.0, 1.0], [2.0]])
        >>> LabelledSequences(sequences, targets=np.array([0.5, 2.0])).targets
        array([0.5, 2. ])
    """

    sequences: Sequences
    labels: npt.NDArray[Any] | None = None
    targets: npt.NDArray[np.float64] | None = None
    classes: tuple[Any, ...] = ()
    source: str = "data"
    columns: LabelColumns | None = None

    def __post_init__(self) -> None:
        if self.labels is not None and self.targets is not None:
            raise ArgumentError(
                "labels and targets are both given", where=self.source, expected="one of them"
            )
        for name in ("labels", "targets"):
            value = getattr(self, name)
            if value is not None and np.shape(value) != (len(self.sequences),):
                raise ArgumentError(
                    f"{name} has shape {np.shape(value)}",
                    where=self.source,
                    expected=f"(sequences,) = ({len(self.sequences)},)",
                )

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.sequences)

    def __repr__(self) -> str:
        """Say how much there is, and of what."""
        inside = repr(self.sequences).removeprefix("Sequences(").removesuffix(")")
        if self.labels is not None:
            shown = ", ".join(map(str, self.classes[:8])) + (", …" if len(self.classes) > 8 else "")
            inside += f"; classes: {shown}"
        elif self.targets is not None and len(self):
            inside += f"; targets: {self.targets.min():.4g} to {self.targets.max():.4g}"
        return f"LabelledSequences({inside})"

    def rows(self, indices: npt.ArrayLike) -> LabelledSequences:
        """Copy some sequences with their labels or targets, in any order.

        Args:
            indices: (m,) whole numbers from 0 to n - 1.

        Example:
            >>> data = LabelledSequences(
            ...     Sequences.from_arrays([[0.0], [1.0]]), np.array(["a", "b"]), classes=("a", "b")
            ... )
            >>> data.rows([1]).labels.tolist()
            ['b']
        """
        picked = np.asarray(indices)
        return LabelledSequences(
            self.sequences.rows(picked),
            None if self.labels is None else self.labels[picked],
            None if self.targets is None else self.targets[picked],
            self.classes,
            self.source,
            self.columns,
        )
