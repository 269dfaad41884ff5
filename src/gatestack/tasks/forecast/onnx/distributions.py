"""Distributions inside an ONNX graph: the formulas of `gatestack.tasks.forecast.distributions`.

Letters: N series, F steps ahead, P parameters, Q quantiles, K pieces of a spline.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from gatestack.convert.onnx.terms import Term, concat, constant
from gatestack.errors import ArgumentError
from gatestack.tasks.forecast.distributions import Distribution
from gatestack.tasks.forecast.distributions.base import FLOOR
from gatestack.tasks.forecast.distributions.normal import Normal
from gatestack.tasks.forecast.distributions.quantiles import FIRST_GAP, Quantiles
from gatestack.tasks.forecast.distributions.spline import FIRST_SLOPES, FIRST_WIDTHS, PIECES, Spline

__all__ = ["GraphDistribution", "GraphStart", "graph_distribution"]


class GraphStart(NamedTuple):
    """As `gatestack.tasks.forecast.distributions.Start`: base (N, F), spread (F,), level and scale (N, 1)."""

    base: Term
    spread: npt.NDArray[np.float32]
    level: Term
    scale: Term

    def location(self, raw: Term) -> Term:
        """Move the autoregression's forecast by `raw` (N, F) of its errors."""
        return self.level + self.scale * (self.base + raw * self.spread)


class GraphDistribution(ABC):
    """A distribution as operators of a graph.

    Args:
        distribution: whose formulas these are.
    """

    kind: ClassVar[type[Distribution]]

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution

    @abstractmethod
    def parameters(self, raw: Term, start: GraphStart) -> Term:
        """Turn raw numbers (N, F, outputs) into parameters (N, F, P) in the user's unit."""

    @abstractmethod
    def value(self, parameters: Term, *prepared: Term) -> Term:
        """Give values at levels that the distribution has prepared: (…, P) and (…) -> (…)."""

    def quantiles(self, parameters: Term) -> Term:
        """Give the quantiles (N, F, Q) of parameters (N, F, P)."""
        prepared = self.distribution.prepared(np.array(self.distribution.levels))
        levels = (constant(parameters, part.astype(np.float32)) for part in prepared)
        return self.value(parameters.axes(2), *levels)


class _Quantiles(GraphDistribution):
    kind = Quantiles

    def parameters(self, raw: Term, start: GraphStart) -> Term:
        spread = start.spread[:, None]
        median = start.base.axes(2) + raw.cut(2, 0, 1) * spread
        half = len(self.distribution.levels) // 2
        if half:
            gaps = _softplus_from(raw.cut(2, 1), FIRST_GAP) * spread
            above = gaps.cut(2, 0, half).sums(-1)
            below = gaps.cut(2, half).sums(-1).pick(2, np.arange(half)[::-1])
            median = concat(2, median - below, median, median + above)
        return start.level.axes(2) + start.scale.axes(2) * median

    def value(self, parameters: Term, *prepared: Term) -> Term:
        place, share = prepared
        low, high = parameters.at(place.axes(1)), parameters.at((place + 1).axes(1))
        return low + (high - low) * share

    def quantiles(self, parameters: Term) -> Term:
        return parameters


class _Normal(GraphDistribution):
    kind = Normal

    def parameters(self, raw: Term, start: GraphStart) -> Term:
        widths = _softplus_from(raw.pick(2, 1), 1.0 - FLOOR) + FLOOR
        deviation = start.scale * (widths * (math.sqrt(math.pi / 2) * start.spread))
        return concat(2, start.location(raw.pick(2, 0)).axes(2), deviation.axes(2))

    def value(self, parameters: Term, *prepared: Term) -> Term:
        return parameters.pick(-1, 0) + parameters.pick(-1, 1) * prepared[0]


class _Spline(GraphDistribution):
    kind = Spline

    def parameters(self, raw: Term, start: GraphStart) -> Term:
        first = (math.sqrt(math.pi / 2) * start.spread[:, None] * FIRST_SLOPES).astype(np.float32)
        slope = start.scale.axes(2) * (_softplus_from(raw.cut(2, 1, 1 + PIECES), 1.0) * first)
        width = (raw.cut(2, 1 + PIECES) + np.log(FIRST_WIDTHS).astype(np.float32)).op("Softmax", axis=2)
        along = _along(constant(width, 0.5), width)
        rise = (slope * along).total(2)
        return concat(2, start.location(raw.pick(2, 0)).axes(2) - rise, slope, width)

    def value(self, parameters: Term, *prepared: Term) -> Term:
        slope, width = parameters.cut(-1, 1, 1 + PIECES), parameters.cut(-1, 1 + PIECES)
        risen = slope * _along(prepared[0].axes(-1), width)
        return (parameters.cut(-1, 0, 1) + risen.total(-1)).without(-1)


_KINDS: dict[type[Distribution], type[GraphDistribution]] = {
    face.kind: face for face in (_Quantiles, _Normal, _Spline)
}


def graph_distribution(distribution: Distribution) -> GraphDistribution:
    """Give the operators of a distribution.

    Raises:
        ArgumentError: its quantiles cannot be said in ONNX's operators.
    """
    face = _KINDS.get(type(distribution))
    if face is None:
        known = ", ".join(repr(kind.name) for kind in _KINDS)
        raise ArgumentError(
            f"distribution={distribution.name!r} has no quantile function in ONNX's operators",
            where="export",
            expected=f"a forecaster with one of the distributions {known}",
            hint="fit again with the distribution 'spline' (--distribution, Architecture(distribution=…)), "
            "which takes most shapes, counts too",
        )
    return face(distribution)


def _along(level: Term, width: Term) -> Term:
    """Give how far each piece (…, K) is walked along up to a level (…, 1)."""
    return (level - (width.sums(-1) - width)).op("Max", 0.0).op("Min", width)


def _softplus_from(raw: Term, first: float) -> Term:
    return (raw + math.log(math.expm1(first))).op("Softplus")
