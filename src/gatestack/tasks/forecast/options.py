"""The choices a forecaster is made of, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from gatestack.errors import check_choice, check_whole
from gatestack.tasks.layers import RegularisedChoices

__all__ = [
    "DEFAULT_QUANTILES",
    "Architecture",
    "Cell",
    "DistributionName",
    "IntervalKind",
    "Mode",
    "Scaling",
]

Cell = Literal["lstm", "gru", "rnn"]
IntervalKind = Literal["model", "conformal", "adaptive"]
Mode = Literal["direct", "windows", "recursive"]
Scaling = Literal["window", "series"]
DistributionName = Literal["quantiles", "normal", "student-t", "negative-binomial", "spline"]

DEFAULT_QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


@dataclass(frozen=True, kw_only=True)
class Architecture(RegularisedChoices):
    """What the network of a `Forecaster` is made of, beyond its depth and width.

    Args:
        cell: `"lstm"`, `"gru"` or `"rnn"`.
        distribution: what is said of each step ahead, see `gatestack.tasks.forecast.distributions`:
            `"quantiles"`, `"normal"`, `"student-t"`, `"negative-binomial"` (counts) or `"spline"`.
        dropout: share of units dropped between layers and in the head, in [0, 1), drawn anew at each step.
        variational_dropout: share of units dropped between layers, with one draw per sequence (Gal &
            Ghahramani 2016), in [0, 1); above 0 it takes the place of `dropout` there. One layer has
            nothing between.
        recurrent_dropout: share of the units of h that a layer does not see of its last step, with one draw
            per sequence (Gal & Ghahramani 2016), in [0, 1).
        zoneout: share of the units of h, and of c in an LSTM, that keep their last value, in [0, 1), drawn
            anew at each step (Krueger et al. 2017).
        layer_norm: normalise the gates' sums and the cell state of an LSTM (Ba, Kiros & Hinton 2016).
        residual: add the input of each layer but the lowest to its output; their widths must agree.
        initial_state: `"zeros"` or `"trained"`.
        scaling: `"window"` divides by what the last `window` values look like at each step, looking only
            backwards; `"series"` by mean and deviation of the series' training part.
        head_size: width of the hidden layer of the head, 1 or more.
        autoregression: start from the linear autoregression that is fitted beside the model, and learn
            what it lacks; without it the model starts from the last value.

    Raises:
        ArgumentError: a value is outside its range.

    Example:
        >>> Architecture(cell="gru", dropout=0.2).cell
        'gru'
    """

    cell: Cell = "lstm"
    distribution: DistributionName = "quantiles"
    dropout: float = 0.1
    residual: bool = False
    initial_state: Literal["zeros", "trained"] = "zeros"
    scaling: Scaling = "window"
    head_size: int = 128
    autoregression: bool = True

    def __post_init__(self) -> None:
        check_choice("cell", self.cell, get_args(Cell), owner="Architecture")
        check_choice("distribution", self.distribution, get_args(DistributionName), owner="Architecture")
        check_choice("scaling", self.scaling, get_args(Scaling), owner="Architecture")
        check_choice("initial_state", self.initial_state, ("zeros", "trained"), owner="Architecture")
        check_whole("head_size", self.head_size, owner="Architecture")
        self._check_switches("residual", "autoregression")
        self._check_regularisation(self.cell)
