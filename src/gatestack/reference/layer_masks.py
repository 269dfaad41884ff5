"""The masks of a regularised layer: recurrent dropout, dropout of the candidate, zoneout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from gatestack.reference.cell import Array, StepDropout

Factor: TypeAlias = Array | float
"""An array of factors, or one factor for all."""


@dataclass(frozen=True, eq=False)
class LayerMasks:
    """The factors that a layer applies, given: nothing is drawn here. 1.0 (default) does nothing.

    Dropout with probability p has the factor 1/(1-p) where a unit is kept and 0 where it is dropped:

        hidden        h_{t-1} * hidden enters the recurrent product; one mask for all steps of a sequence
        candidate     c' = f * c + i * (candidate_t * g), or h' = (1 - z) * (candidate_t * n) + z * h

    Zoneout has the share of the new value, 1 where a unit takes it and 0 where it keeps the old one. Outside
    training the share is its expected value, 1 - p, everywhere:

        c_t = zoneout_cell_t * c' + (1 - zoneout_cell_t) * c_{t-1}
        h_t = zoneout_hidden_t * h' + (1 - zoneout_hidden_t) * h_{t-1}

    h' is made from c', not from c_t.

    Args:
        hidden: (N, P), P the width of h.
        candidate: (N, T, H). A plain RNN has no candidate and does not look at it.
        zoneout_hidden: (N, T, P).
        zoneout_cell: (N, T, H), for an LSTM.

    Example:
        >>> import numpy as np
        >>> from gatestack.reference import LayerMasks, RNNCell, layer_forward
        >>> cell = RNNCell(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.zeros(1), "relu")
        >>> keeps_its_state = LayerMasks(zoneout_hidden=np.array([[[1.0], [0.0], [1.0]]]))
        >>> layer_forward(cell, np.ones((1, 3, 1)), masks=keeps_its_state).output[0, :, 0]
        array([1., 1., 2.])

    Source:
        hidden: Gal & Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural
        Networks", arXiv 1512.05287, the LSTM with tied weights, so one mask for all gates;
        candidate: Semeniuta, Severyn & Barth 2016, "Recurrent Dropout without Memory Loss",
        arXiv 1603.05118, its LSTM and GRU, with a new mask each step;
        zoneout: Krueger et al. 2017, "Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations",
        arXiv 1606.01305, its equations of the LSTM.
    """

    hidden: Factor = 1.0
    candidate: Factor = 1.0
    zoneout_hidden: Factor = 1.0
    zoneout_cell: Factor = 1.0

    def step(self, t: int) -> StepDropout:
        """Give what the cell applies at position t.

        Example:
            >>> LayerMasks(hidden=2.0).step(0)
            StepDropout(hidden=2.0, candidate=1.0)
        """
        return StepDropout(hidden=self.hidden, candidate=_at(self.candidate, t))

    def shares(self, t: int) -> tuple[Factor, Factor]:
        """Give the shares of the new h and of the new c at position t.

        Example:
            >>> LayerMasks(zoneout_cell=0.9).shares(0)
            (1.0, 0.9)
        """
        return _at(self.zoneout_hidden, t), _at(self.zoneout_cell, t)


NO_MASKS = LayerMasks()


def _at(factor: Factor, t: int) -> Factor:
    return factor if isinstance(factor, float) else factor[:, t]
