"""A detector as inspection sees it: its network, and windows of standardised values."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gatestack.data.series_table import SeriesTable
from gatestack.errors import DataError
from gatestack.inspect.subject import Outcome, Subject, evenly
from gatestack.tasks.detect.fitted import FittedDetector, values_of
from gatestack.tasks.detect.networks import DetectorNetwork, fill_forward

__all__ = ["detector_subject"]


def detector_subject(fitted: FittedDetector, table: SeriesTable, sequences: int) -> Subject:
    """Offer the network with windows of the length of the fit, spread evenly over the series.

    Args:
        fitted: what fitting found.
        table: the series.
        sequences: number of windows, at most.

    Raises:
        DataError: no series is as long as a window.
    """
    window = fitted.network.shape.window
    offsets, keys = table.sequences.offsets, table.sequences.keys or ()
    places = [
        (row, begin) for row, steps in enumerate(np.diff(offsets)) for begin in range(int(steps) - window + 1)
    ]
    if not places:
        raise DataError(
            f"no series has {window} steps, a window", where=table.source, expected=f"{window} steps or more"
        )
    chosen = [places[place] for place in evenly(len(places), sequences)]
    every, features = values_of(table), fitted.calendar_of(table.times)
    filled, observed, calendar, names = [], [], [], []
    for row, begin in chosen:
        scale = fitted.series.row(keys[row], table.source)
        part = slice(int(offsets[row]) + begin, int(offsets[row]) + begin + window)
        standard = (every[part] - fitted.series.mean[scale]) / fitted.series.deviation[scale]
        values = torch.from_numpy(standard)
        filled.append(fill_forward(values, torch.full((values.shape[1],), torch.nan, dtype=torch.float64)))
        observed.append((~values.isnan()).double())
        calendar.append(torch.from_numpy(features[part]).double())
        names.append(
            f"{keys[row]}, window from step {begin}" if len(keys) > 1 else f"window from step {begin}"
        )
    seen, known = torch.stack(observed), torch.stack(calendar)
    foretells = fitted.method == "forecast"

    def run(model: nn.Module, inputs: Tensor) -> Outcome:
        if not isinstance(model, DetectorNetwork):
            raise RuntimeError("another network than the one that was offered")
        every, weight = model.losses(inputs, seen, known)
        loss = (every * weight).sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp(min=1)
        if not foretells:
            return Outcome(loss, loss)
        late = (every[:, -1] * weight[:, -1]).sum(dim=1) / weight[:, -1].sum(dim=1).clamp(min=1)
        return Outcome(late, loss, late)

    return Subject(
        title="anomaly detector",
        network=fitted.exact,
        inputs=torch.stack(filled),
        run=run,
        features=fitted.channels,
        sequences=tuple(names),
        answer="how unexpected the last step of the window is (its loss)"
        if foretells
        else "how badly the window is repeated (its loss)",
        loss="negative log-likelihood per step, less constants" if foretells else "squared error per step",
    )
