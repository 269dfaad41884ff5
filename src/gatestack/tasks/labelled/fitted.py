"""Everything that fitting a classifier or regressor finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatestack.data.collections import LabelColumns
from gatestack.data.sequences import Sequences
from gatestack.tasks.labelled.calibration import class_shares
from gatestack.tasks.labelled.fitting import Member, run_members
from gatestack.tasks.labelled.options import Architecture

__all__ = ["FittedLabelled"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FittedLabelled:
    """A fitted classifier or regressor.

    Attributes:
        members: one trained network per seed.
        architecture: of the networks.
        temperature: divides the logits before they become probabilities; 1 without calibration.
        training: the cases of the fit, which the baselines answer from.
        answers: (n,) what is known of them: classes from 0 on, or numbers.
        classes: number of classes; None for numbers.
        flat: whether the fit had scikit-learn's two-dimensional X.
        columns: of the table of the fit; None where there was none.
        source: of the training cases, for texts.
    """

    members: tuple[Member, ...]
    architecture: Architecture
    temperature: float
    training: Sequences
    answers: npt.NDArray[np.generic]
    classes: int | None
    flat: bool
    columns: LabelColumns | None
    source: str

    def probabilities(self, sequences: Sequences) -> Floats:
        """Give (n, K) probabilities: the mean over the members."""
        return class_shares(self._outputs(sequences), self.temperature)

    def numbers(self, sequences: Sequences) -> Floats:
        """Give (n,) numbers: the mean over the members."""
        found: Floats = self._outputs(sequences).mean(axis=0)[:, 0]
        return found

    def _outputs(self, sequences: Sequences) -> Floats:
        return run_members([member.network for member in self.members], sequences)
