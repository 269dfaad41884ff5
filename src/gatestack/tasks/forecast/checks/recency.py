"""Does the first step ahead read the last observation? A check by perturbation, for any fitted forecaster.

A head that reads states many steps old gives forecasts that do not move when the newest values do; it is hard
to see in a plot and costs a quarter to a third of the accuracy on slowly moving series.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from gatestack.errors import ArgumentError

if TYPE_CHECKING:
    from gatestack.tasks.forecast.forecaster import Forecaster

__all__ = ["Recency", "recency"]


@dataclass(frozen=True)
class Recency:
    """How far forecasts move when one recent value moves by a tenth of the series' scale.

    Attributes:
        response: (lags, horizon), mean absolute change of the middle of step k (its median; of counts and of
            sampled paths their mean) when the value `lag` steps before the origin changes, per unit of
            change; row 0 is the last observation.
        reacts: True when step 1 moves with the last observation.

    Example:
        >>> Recency(np.array([[0.9, 0.4], [0.1, 0.2]]), reacts=True).response.shape
        (2, 2)
    """

    response: npt.NDArray[np.float64]
    reacts: bool


def recency(model: Forecaster, lags: int = 3) -> Recency:
    """Change each of the last `lags` values in turn and see which steps of the forecast move.

    Args:
        model: fitted. Future, calendar and static columns are held at zero in the check.
        lags: values to change, 1 or more; at most the steps that the model keeps of its data. Where one is
            missing, the last value before it stands for it.

    Returns:
        The responses.

    Raises:
        ArgumentError: `lags` is out of its range.

    Note:
        A series whose last season says everything, such as a noiseless cycle, needs no last value: there the
        answer may rightly be no.

    Example:
        >>> import polars as pl
        >>> from gatestack import Forecaster
        >>> walk = np.cumsum(np.random.default_rng(0).normal(size=80))
        >>> frame = pl.DataFrame({"ds": range(80), "y": walk})
        >>> model = Forecaster(horizon=2, hidden_size=4, max_steps=5).fit(frame)
        >>> recency(model).reacts
        True
    """
    model._check_fitted("recency")
    fitted = model.fitted_
    table = fitted.tail
    lengths = np.diff(table.sequences.offsets)
    if isinstance(lags, bool) or not isinstance(lags, int) or not 1 <= lags <= lengths.min():
        raise ArgumentError(
            f"lags is {lags!r}",
            where="recency",
            expected=f"a whole number from 1 to {lengths.min()}, the steps that the model keeps",
        )
    filled = table.sequences.values.copy()
    filled[:, 0] = fitted.panel(table).target.numpy()
    observed = table.sequences.observed
    if observed is not None:
        observed = observed.copy()
        observed[:, 0] = True
    future = torch.zeros(len(lengths), fitted.horizon, fitted.network.shape.known)
    static = torch.zeros(len(lengths), fitted.network.shape.static)
    size = 0.1 * fitted.state.moments[:, 1].numpy()

    def centre(lag: int | None) -> npt.NDArray[np.float64]:
        values = filled.copy()
        if lag is not None:
            values[table.sequences.offsets[1:] - 1 - lag, 0] += size
        changed = replace(table, sequences=replace(table.sequences, values=values, observed=observed))
        state = fitted.state_after(fitted.panel(changed))
        return fitted.centres_from(state, future, static)

    before = centre(None)
    response = np.stack([np.abs(centre(lag) - before).mean(axis=0) / size.mean() for lag in range(lags)])
    return Recency(response, bool(response[0, 0] > 1e-6))
