"""The choices a detector's network is made of, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass

from gatestack.tasks.layers import RegularisedChoices

__all__ = ["Architecture"]


@dataclass(frozen=True, kw_only=True)
class Architecture(RegularisedChoices):
    """What regularises the LSTM layers of an `AnomalyDetector`.

    Args:
        dropout: share of units dropped between layers and before the head, in [0, 1), drawn anew at each
            step.
        variational_dropout: share of units dropped between layers, with one draw per sequence (Gal &
            Ghahramani 2016), in [0, 1); above 0 it takes the place of `dropout` there. One layer has
            nothing between.
        recurrent_dropout: share of the units of h that a layer does not see of its last step, with one draw
            per sequence (Gal & Ghahramani 2016), in [0, 1).
        zoneout: share of the units of h and c that keep their last value, in [0, 1), drawn anew at each step
            (Krueger et al. 2017).
        layer_norm: normalise the gates' sums and the cell state (Ba, Kiros & Hinton 2016).

    Raises:
        ArgumentError: a value is outside its range.

    Example:
        >>> Architecture(zoneout=0.1).zoneout
        0.1
    """

    def __post_init__(self) -> None:
        self._check_regularisation("lstm")
