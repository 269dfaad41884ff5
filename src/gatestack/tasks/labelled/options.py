"""The choices a classifier's or regressor's network is made of, checked when they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from gatestack.errors import ArgumentError, check_choice, check_share, check_whole
from gatestack.tasks.layers import RegularisedChoices

__all__ = ["Architecture", "Augmentation", "Cell", "Pooling", "Recipe", "Scaling"]

Recipe = Literal["kernels", "lstm-fcn", "plain"]
Cell = Literal["lstm", "gru", "rnn"]
Pooling = Literal["last", "mean", "max", "attention", "all"]
Scaling = Literal["both", "series", "training"]


@dataclass(frozen=True, kw_only=True)
class Architecture(RegularisedChoices):
    """What the network of a `Classifier` or `Regressor` is made of, beyond its depth and width.

    Args:
        recipe: `"kernels"` starts from a linear model of how fixed kernels respond to a series, and its stack
            of recurrent layers, which reads these responses segment by segment, learns what that lacks;
            strong from tens of cases on. `"lstm-fcn"` is a recurrent stack beside three convolutions.
            `"plain"` is a stack that reads every step.
        cell: `"lstm"`, `"gru"` or `"rnn"`.
        bidirectional: run every layer in both directions.
        pooling: what becomes of the stack's outputs: the `"last"` of each direction, their `"mean"`, their
            `"max"`, a weighted mean with learned weights (`"attention"`), or mean, max and attention side by
            side (`"all"`).
        dropout: share of units dropped between layers and before the head, in [0, 1), drawn anew at each
            step.
        variational_dropout: share of units dropped between layers, with one draw per sequence (Gal &
            Ghahramani 2016), in [0, 1); above 0 it takes the place of `dropout` there. One layer has
            nothing between.
        recurrent_dropout: share of the units of h that a layer does not see of its last step, with one draw
            per sequence (Gal & Ghahramani 2016), in [0, 1).
        zoneout: share of the units of h, and of c in an LSTM, that keep their last value, in [0, 1), drawn
            anew at each step (Krueger et al. 2017).
        layer_norm: normalise the gates' sums and the cell state of an LSTM (Ba, Kiros & Hinton 2016).
        residual: add the input of each layer but the lowest to its output; their widths must agree.
        scaling: what the network reads: each series in units of its own mean and deviation (`"series"`), in
            units of the training part (`"training"`), which keeps level and size, or `"both"`.
        kernels: number of features of the linear model that is aimed at, 84 or more. Recipe "kernels" only.
        segments: parts into which the stack's view of a series is cut, 1 or more. Recipe "kernels" only.

    Raises:
        ArgumentError: a value is outside its range.

    Example:
        >>> Architecture(cell="gru", dropout=0.2).cell
        'gru'

    Source:
        Karim, Majumdar, Darabi & Chen 2017, "LSTM Fully Convolutional Networks for Time Series
        Classification" (lstm-fcn); Dempster, Schmidt & Webb 2021, "MiniRocket" (kernels).
    """

    recipe: Recipe = "kernels"
    cell: Cell = "lstm"
    bidirectional: bool = True
    pooling: Pooling = "all"
    dropout: float = 0.3
    residual: bool = False
    scaling: Scaling = "training"
    kernels: int = 10_000
    segments: int = 32

    def __post_init__(self) -> None:
        choices = (("recipe", Recipe), ("cell", Cell), ("pooling", Pooling), ("scaling", Scaling))
        for name, values in choices:
            check_choice(name, getattr(self, name), get_args(values), owner="Architecture")
        self._check_switches("bidirectional", "residual")
        self._check_regularisation(self.cell)
        check_whole("kernels", self.kernels, owner="Architecture", least=84)
        check_whole("segments", self.segments, owner="Architecture")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a training case is changed each time it is drawn.

    Args:
        crop: the largest share of the steps that is cut off, at both ends together, in [0, 1).
        jitter: deviation of normal noise on every value, in units of the feature's deviation in the training
            part, 0 or more.

    Raises:
        ArgumentError: a value is outside its range.

    Example:
        >>> Augmentation(crop=0.1, jitter=0.05).on
        True
    """

    crop: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        check_share("crop", self.crop, owner="Augmentation")
        jitter = self.jitter
        if isinstance(jitter, bool) or not isinstance(jitter, int | float) or not 0 <= jitter < math.inf:
            raise ArgumentError(
                f"the 'jitter' parameter of Augmentation is {jitter!r}", expected="a number of 0 or more"
            )

    @property
    def on(self) -> bool:
        """Whether anything is changed."""
        return self.crop > 0 or self.jitter > 0
