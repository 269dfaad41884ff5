"""A forecaster as inspection sees it: its network, and what the stack reads before each origin."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gatestack.data.series_table import SeriesTable
from gatestack.errors import DataError
from gatestack.inspect.subject import Outcome, Subject, Truth, evenly
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.network import ForecastNetwork
from gatestack.tasks.forecast.panel import Chunk
from gatestack.tasks.forecast.sampler import ChunkSampler, typical_weights

__all__ = ["forecast_subject"]


def forecast_subject(fitted: FittedForecast, table: SeriesTable, sequences: int) -> Subject:
    """Offer the network with the windows before origins that are spread evenly over the series.

    The inputs are what the stack reads. What the head reads besides (the last values, for the linear
    autoregression; what is known of the future) stays as it is.

    Args:
        fitted: what fitting found.
        table: the series.
        sequences: number of origins, at most.

    Raises:
        DataError: no series has a window and a horizon.
    """
    panel, shape = fitted.panel(table), fitted.network.shape
    window, horizon = shape.window, shape.horizon
    first = panel.first_observed
    places = [
        (row, begin)
        for row, steps in enumerate(panel.lengths)
        for begin in range(int(first[row]), int(steps) - window - horizon + 1)
    ]
    if not places:
        raise DataError(
            "no series has a window and a horizon",
            where=table.source,
            expected=f"{window + horizon} steps or more",
        )
    rows, begin = np.array([places[place] for place in evenly(len(places), sequences)]).T
    weights = typical_weights(panel, panel.lengths)
    sampler = ChunkSampler(panel, panel.lengths, shape, weights=weights, batch_size=1, last_only=True, seed=0)
    batch = sampler.batch(rows, begin, np.full((len(rows), 1), window - 1))
    chunk = Chunk(*[_exact(part) for part in batch.chunk])
    truth, weight = batch.truth.double(), batch.weight.double()
    network = copy.deepcopy(fitted.network).double().eval()
    with torch.no_grad():
        read = network.inputs(chunk)

    def run(model: nn.Module, inputs: Tensor) -> Outcome:
        if not isinstance(model, ForecastNetwork):
            raise RuntimeError("another network than the one that was offered")
        hidden, _ = model.stack(inputs)
        said = model.forecast(chunk, hidden, batch.rows, batch.positions)
        known = weight > 0
        loss = model.distribution.loss(said, truth, torch.where(known, weight, 1.0))
        mean = torch.where(known, loss, 0.0).sum(dim=1) / known.sum(dim=1).clamp(min=1)
        return Outcome(model.distribution.centre(said).mean(dim=1), mean)

    keys = panel.keys
    moments = chunk.moments[:, -1]
    ahead = torch.where(weight > 0, truth, torch.nan)[:, 0]
    return Subject(
        title="forecaster",
        network=network,
        inputs=read,
        run=run,
        features=_feature_names(fitted, network, table),
        sequences=tuple(
            f"{keys[row]}, window to step {start + window - 1}"
            if len(keys) > 1
            else f"window to step {start + window - 1}"
            for row, start in zip(rows, begin, strict=True)
        ),
        # The next value, in the scale and around the level that the stack reads it in.
        truth=Truth(((ahead - moments[:, 0]) / moments[:, 1]).numpy(), "numbers", ordered=True),
        answer=f"mean of the forecast over the next {horizon} steps, in the unit of the target"
        if horizon > 1
        else "forecast of the next step, in the unit of the target",
        loss=f"{_loss_name(fitted)}, mean over the horizon",
    )


def _loss_name(fitted: FittedForecast) -> str:
    """Name the loss of a forecaster.

    Args:
        fitted: what fitting found.
    """
    name = fitted.network.distribution.name
    named = {"quantiles": "pinball loss", "spline": "continuous ranked probability score"}
    if name in named:
        return f"{named[name]}, in typical deviations of the series"
    return f"negative log-likelihood ({name})"


def _exact(part: Any) -> Any:
    return part.double() if isinstance(part, Tensor) and part.is_floating_point() else part


def _feature_names(fitted: FittedForecast, network: ForecastNetwork, table: SeriesTable) -> tuple[str, ...]:
    columns = table.columns
    target = columns.target
    names = [target, f"change of {target}", f"{target} in the long run"]
    circle = [f"{name}_{part}" for name in fitted.calendar for part in ("sin", "cos")]
    past, known = list(columns.past), [*columns.future, *circle]
    for part, of in ((network.past, past), (network.known, known), (network.static, columns.static)):
        for column, name in enumerate(of):
            vector = part.weights[str(column)].shape[1] if str(column) in part.weights else 1
            names += [name] * vector
    if network.shape.flags:
        names += [f"{target} is known", *(f"{name} is known" for name in (*past, *known))]
    return tuple(names)
