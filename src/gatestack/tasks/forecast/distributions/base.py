"""The face that all distributions show: raw outputs to parameters, a loss, values at levels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatestack.data.series_table import SeriesTable
from gatestack.errors import DataError, quote_value
from gatestack.tasks.forecast.options import DistributionName

__all__ = [
    "FLOOR",
    "LEAST_WIDTH",
    "Distribution",
    "FloatArray",
    "Start",
    "location",
    "positive",
    "softplus_from",
]

FloatArray = npt.NDArray[np.float64]

LEAST_WIDTH = 1e-6
"""What is added to a width in the loss, in typical deviations of the series: keeps constant series finite."""

FLOOR = 1e-3
"""Share of the first width below which none falls."""


class Start(NamedTuple):
    """What training starts from at R origins: the linear autoregression, and the units of the series there.

    Shapes: `base` (R, horizon), its forecast in units of the scale around the level; `spread` (horizon,), its
    mean absolute error in the same units; `moments` (R, 4), see `gatestack.tasks.forecast.scaling`.
    """

    base: Tensor
    spread: Tensor
    moments: Tensor

    @property
    def level(self) -> Tensor:
        """(R, 1)."""
        return self.moments[:, :1]

    @property
    def scale(self) -> Tensor:
        """(R, 1)."""
        return self.moments[:, 1:2]

    @property
    def error(self) -> Tensor:
        """Mean absolute error of the autoregression in the user's unit, (R, horizon)."""
        return self.scale * self.spread


class Distribution(ABC):
    """What is said of each step ahead; the equations stand in `gatestack.tasks.forecast.distributions`.

    Args:
        levels: of the quantiles that forecasts give, ascending, symmetric around 0.5.
    """

    name: ClassVar[DistributionName]
    expected: ClassVar[str] = "finite numbers"

    def __init__(self, levels: tuple[float, ...]) -> None:
        self.levels = levels

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Raw numbers that the head gives per step ahead."""

    @abstractmethod
    def parameters(self, raw: Tensor, start: Start) -> Tensor:
        """Turn raw numbers into parameters in the user's unit.

        Args:
            raw: (R, horizon, outputs), zeros before training.
            start: what they are said on top of.

        Returns:
            shape (R, horizon, parameters).
        """

    @abstractmethod
    def loss(self, parameters: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        """Score parameters against what came true.

        Args:
            parameters: (R, horizon, parameters).
            truth: (R, horizon), in the user's unit.
            weight: (R, horizon), above 0: 1 over the typical deviation of the series.

        Returns:
            shape (R, horizon), lower is better, comparable between series of different scales.
        """

    def at(self, parameters: FloatArray, level: FloatArray) -> FloatArray:
        """Give the values below which the distribution has these shares; at random levels these are draws.

        Args:
            parameters: (…, parameters).
            level: in (0, 1), broadcast against the axes before the last.

        Returns:
            In the user's unit, in the shape of `level` broadcast; never falls as the level rises.
        """
        return self.value(parameters, *self.prepared(level))

    def quantiles(self, parameters: Tensor) -> FloatArray:
        """Give the quantiles at `levels`, (…, quantiles), of parameters (…, parameters)."""
        plain = parameters.numpy().astype(np.float64)
        return self.at(plain[..., None, :], np.array(self.levels))

    def centre(self, parameters: Tensor) -> Tensor:
        """Give the middle of parameters (…, parameters), (…): the median, of counts the mean."""
        return parameters[..., 0]

    def prepared(self, level: FloatArray) -> tuple[npt.NDArray[np.generic], ...]:
        """Give what `value` needs of levels, as arrays that do not depend on parameters."""
        return (level,)

    @abstractmethod
    def value(self, parameters: FloatArray, *prepared: npt.NDArray[np.generic]) -> FloatArray:
        """Give the values at levels that `prepared` gave; see `at`."""

    def takes(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """Say which values may come from such a distribution, in the shape of `values`."""
        return np.ones(values.shape, dtype=np.bool_)

    def check(self, table: SeriesTable) -> None:
        """Raise a `DataError` for the first target that cannot come from such a distribution."""
        sequences = table.sequences
        wrong = ~self.takes(sequences.values[:, 0])
        if not wrong.any():
            return
        step = int(np.argmax(wrong))
        row = int(np.searchsorted(sequences.offsets, step, side="right")) - 1
        when = table.time_kind.to_series(table.times[step : step + 1], "time")[0]
        raise DataError(
            f"the target is {sequences.values[step, 0]:g} at {when}, step "
            f"{step - int(sequences.offsets[row]) + 1} of series {quote_value((sequences.keys or ())[row])}",
            where=f"{table.source}, column {quote_value(table.columns.target)}",
            expected=self.expected,
            hint="choose another distribution; 'spline' and 'quantiles' take any numbers",
        )


def softplus_from(raw: Tensor, first: float) -> Tensor:
    """Give positive numbers that are `first` where `raw` is 0."""
    return torch.nn.functional.softplus(raw + math.log(math.expm1(first)))


def positive(raw: Tensor) -> Tensor:
    """Give numbers above a thousandth that are 1 where `raw` is 0."""
    return FLOOR + softplus_from(raw, 1.0 - FLOOR)


def location(raw: Tensor, start: Start) -> Tensor:
    """Move the autoregression's forecast by `raw` (R, horizon) of its errors; in the user's unit."""
    return start.level + start.scale * (start.base + start.spread * raw)
