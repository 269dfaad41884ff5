"""Finding what is usual: scales and tails, from the deviations of the training part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gatestack.errors import DataError
from gatestack.tasks.detect.alarms import CalibratedRule
from gatestack.tasks.detect.networks import Method
from gatestack.tasks.detect.scoring import EVIDENCE, PULL, Scorer, Usual
from gatestack.tasks.detect.tail import Tail

__all__ = ["UsualSteps", "find_usual"]

FloatArray = npt.NDArray[np.float64]

_LEAST_MEMORY = 500
_LEAST_SCALE = 1e-6
_FEWEST_TOGETHER = 5
_NO_TAILS = tuple(Tail(np.zeros(46), 1.0, 0.0) for _ in EVIDENCE)


@dataclass(frozen=True)
class UsualSteps:
    """The training part of one series.

    Attributes:
        deviations: (T, C) of the network, NaN where there is none.
        values: (T, C) standardised.
        held_out: the first step that the network was not trained on.
        method: of the network.
    """

    deviations: FloatArray
    values: FloatArray
    held_out: int
    method: Method


def find_usual(series: Sequence[UsualSteps]) -> Usual:
    """Find scales and tails.

    Args:
        series: the training part of each series.

    Raises:
        DataError: no deviation is known.
    """
    held_out = np.concatenate([part.deviations[part.held_out :] for part in series])
    if np.isnan(held_out).all(axis=0).any():
        # Gaps at the end of the training part: what was trained on must do.
        held_out = np.concatenate([part.deviations for part in series])
    if np.isnan(held_out).all(axis=0).any():
        raise DataError(
            "nothing can be expected from the training part",
            where="fit",
            expected="stretches without gaps as long as a window",
        )
    centre = np.nanmedian(held_out, axis=0)
    scale = np.maximum(np.nanmean(np.abs(held_out - centre), axis=0), _LEAST_SCALE)
    values = np.concatenate([part.values for part in series])
    spread = np.maximum(np.nanmean(np.abs(values), axis=0), _LEAST_SCALE)
    usual = Usual(
        centre=centre,
        scale=scale,
        pull=np.nanmean(np.minimum(np.abs(held_out - centre) / scale, PULL), axis=0),
        spread=spread,
        spread_pull=np.nanmean(np.minimum(np.abs(values) / spread, PULL), axis=0),
        mixing=_mixing((held_out - centre) / scale, series[0].method),
        memory=max(_LEAST_MEMORY, int(np.median([len(part.values) for part in series]))),
        tails=_NO_TAILS,
    )
    # The rule never alarms here: what is usual is what the training part holds, outliers included.
    evidence = np.concatenate([_evidence(usual, part) for part in series])
    known = evidence[~np.isnan(evidence).any(axis=1)]
    return replace(usual, tails=tuple(Tail.fit(column) for column in known.T))


def _evidence(usual: Usual, part: UsualSteps) -> FloatArray:
    scorer = Scorer(usual, CalibratedRule(np.inf, 1))
    scored, _ = scorer.run(part.deviations, part.values, scorer.start())
    return scored.evidence


def _mixing(z: FloatArray, method: Method) -> FloatArray | None:
    """Give R^-1 / C of the errors of a reconstruction; one channel, or a forecast, needs none."""
    channels = z.shape[1]
    together = z[~np.isnan(z).any(axis=1)]
    if method == "forecast" or channels == 1 or len(together) < _FEWEST_TOGETHER * channels:
        return None
    second = together.T @ together / len(together)
    own = np.sqrt(np.diag(second))
    # Channels that always err together make R singular; a share of the identity keeps it in hand.
    correlation = 0.9 * second / np.outer(own, own) + 0.1 * np.eye(channels)
    return np.asarray(np.linalg.inv(correlation) / np.outer(own, own) / channels)
