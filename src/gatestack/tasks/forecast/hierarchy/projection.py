"""Making forecasts add up: a projection of the forecasts of all nodes, and what it does to intervals.

With ŷ the forecasts of all nodes and S the sums, coherent forecasts are

    ỹ = S P ŷ

The package hierarchicalforecast gives P. An interval of a node keeps its shape around the new median and is
stretched by σ̃ / σ, where σ is the spread of the forecasts before, R the correlation of their errors, and

    σ̃² = diag(S P D R D Pᵀ Sᵀ),    D = diag(σ)

as if the errors were normal. Bounds of a total are no sums of bounds: a sum is surer than its parts together.

Source: Wickramasuriya, Athanasopoulos, Hyndman 2019, "Optimal forecast reconciliation for hierarchical and
grouped time series through trace minimization" (`mint-shrink`); Panagiotelis et al. 2023, "Probabilistic
forecast reconciliation: properties, evaluation and score optimisation" (normal case).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from gatestack.errors import ArgumentError, DataError

__all__ = ["METHODS", "Method", "Projection", "fit_projection"]

FloatArray = npt.NDArray[np.float64]

Method = Literal["mint-shrink", "wls", "bottom-up", "top-down"]
METHODS: tuple[Method, ...] = get_args(Method)
"""`mint-shrink`: by the shrunk covariance of the errors; `wls`: by their variances; `bottom-up`: sums of the
forecasts of the series; `top-down`: the total's forecast, divided by the shares in the history."""

_FEWEST_ERRORS = 10


@dataclass(frozen=True)
class Projection:
    """What makes forecasts of all nodes add up.

    Attributes:
        matrix: P, (series, nodes).
        correlation: R of the errors of the forecasts before, (nodes, nodes).
    """

    matrix: FloatArray
    correlation: FloatArray

    def coherent(self, summing: FloatArray, quantiles: FloatArray) -> FloatArray:
        """Make forecasts add up.

        Args:
            summing: S, (nodes, series).
            quantiles: (origins, nodes, horizon, quantiles), the middle one the point forecast.

        Returns:
            The same shape; the middle quantiles of each total are the sums of those of its series.
        """
        middle = quantiles.shape[-1] // 2
        point = quantiles[..., middle]  # (origins, nodes, horizon)
        series = np.einsum("sn,onh->osh", self.matrix, point)
        nodes: FloatArray = np.einsum("ns,osh->onh", summing, series)
        if quantiles.shape[-1] == 1:
            return nodes[..., None]
        spread = (quantiles[..., -1] - quantiles[..., 0]) / 2
        through = summing @ self.matrix  # (nodes, nodes)
        scaled = through[None, :, :, None] * spread[:, None]  # (origins, nodes, nodes, horizon)
        variance = np.einsum("oanh,nm,oamh->oah", scaled, self.correlation, scaled)
        stretch = np.sqrt(np.maximum(variance, 0)) / np.where(spread > 0, spread, 1)
        result: FloatArray = nodes[..., None] + stretch[..., None] * (quantiles - point[..., None])
        return result


def fit_projection(
    method: Method, summing: FloatArray, truth: FloatArray, forecast: FloatArray
) -> Projection:
    """Find the projection from forecasts of the past.

    Args:
        method: one of `METHODS`.
        summing: S, (nodes, series).
        truth: (nodes, steps) values of all nodes, NaN where missing.
        forecast: (nodes, steps), what was forecast for them one step before.

    Raises:
        ArgumentError: hierarchicalforecast is not installed.
        DataError: too few steps where truth and forecast of all nodes are known, or no errors at all.
    """
    methods = _library()
    known = np.isfinite(truth).all(axis=0) & np.isfinite(forecast).all(axis=0)
    if known.sum() < _FEWEST_ERRORS:
        raise DataError(
            f"the errors of all series together are known at {int(known.sum())} steps",
            where="sums",
            expected=f"{_FEWEST_ERRORS} or more, to see how they go together",
            hint="give a longer history, or a smaller window",
        )
    truth, forecast = truth[:, known], forecast[:, known]
    # The library adds small constants to variances, and takes small errors for none: here they are near 1.
    scale = float(np.sqrt(((truth - forecast) ** 2).mean()))
    if scale == 0:
        raise DataError(
            "every forecast of the past came true to the last digit, so that there are no errors to weigh",
            where="sums",
            expected="series with some noise",
            hint="sum the forecasts of a Forecaster",
        )
    truth, forecast = truth / scale, forecast / scale
    ahead = forecast[:, -1:]
    mint = methods.MinTrace(method="mint_shrink").fit(
        S=summing, y_hat=ahead, y_insample=truth, y_hat_insample=forecast
    )
    deviation = np.sqrt(np.diag(mint.W))
    correlation = mint.W / np.outer(deviation, deviation)
    if method == "mint-shrink":
        matrix = mint.P
    elif method == "wls":
        wls = methods.MinTrace(method="wls_var")
        matrix = wls.fit(S=summing, y_hat=ahead, y_insample=truth, y_hat_insample=forecast).P
    elif method == "bottom-up":
        matrix = methods.BottomUp().fit(S=summing, y_hat=ahead).P
    else:
        shares = methods.TopDown(method="proportion_averages")
        matrix = shares.fit(S=summing, y_hat=ahead, y_insample=truth).P
    return Projection(np.ascontiguousarray(matrix), np.ascontiguousarray(correlation))


def _library() -> Any:
    try:
        from hierarchicalforecast import methods
    except ImportError as error:
        raise ArgumentError(
            "hierarchicalforecast is not installed", where="sums", hint="pip install 'gatestack[hierarchy]'"
        ) from error
    return methods
