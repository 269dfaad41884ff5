r"""How much of the gradient reaches back in time: the norm of ∂loss/∂h_{t−k} over the lag k.

The loss is that of what the network says after the last step t of a sequence (`Outcome.flows_back`), h is the
state of one layer, and the gradient is the whole one, along all paths from h_{t−k} to the loss. For each lag
the Euclidean norm is taken per sequence, and the mean over the sequences.

Three models, alike in everything but the weights of their recurrent layers:

    trained       as it is
    initialised   every recurrent layer drawn anew
    plain RNN     every recurrent layer replaced by a plain tanh layer of the same width, drawn anew; a
                  convolutional one by a plain one with kernels of the same size

What stands above the layers is the trained one in all three: a head that starts at zero would pass no
gradient at all. A plain layer multiplies the gradient at every step by the slope of tanh and the recurrent
weights, which is why it vanishes; the cell state of an LSTM multiplies it by the forget gate alone.

Source:
    Bengio, Simard & Frasconi 1994, "Learning Long-Term Dependencies with Gradient Descent is Difficult".
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import torch
from torch import Tensor, nn

from gatestack.inspect.opened import open_layer
from gatestack.inspect.recording import Place, replaced
from gatestack.inspect.subject import Outcome, Subject
from gatestack.inspect.unrolled import Unrolled

__all__ = ["MODELS", "gradient_norms", "gradient_table"]

MODELS = ("trained", "initialised", "plain RNN")
_LARGEST_LAG = 256


def gradient_table(
    subject: Subject, network: nn.Module, places: Sequence[Place], inputs: Tensor
) -> pl.DataFrame:
    """Measure the gradient of the three models.

    Args:
        subject: with the loss.
        network: in float64 and eval mode.
        places: its recurrent layers.
        inputs: (N, T, C).

    Returns:
        A row per model, layer, direction and lag: `norm`, the mean over the sequences; `relative`, the norm
        over that at lag 0, null where that is 0; `sequences`, how many reach so far back.
    """
    parts = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for model in MODELS:
            unrolled = {place.path: _stand_in(place, model) for place in places}
            with replaced(network, dict(unrolled)):
                outcome = subject.run(network, inputs)
            parts += [
                _rows(model, place, norms)
                for place, norms in zip(
                    places, gradient_norms([unrolled[place.path] for place in places], outcome), strict=True
                )
            ]
    return pl.concat([table for tables in parts for table in tables])


def gradient_norms(layers: Sequence[Unrolled], outcome: Outcome) -> list[list[tuple[Tensor, Tensor]]]:
    """Give the norms of the gradient of the states that layers went through.

    Args:
        layers: after a run.
        outcome: of that run.

    Returns:
        Per layer and direction: norms (N, T) by lag, from 0 at the last real step of each row back; and
        which of them are real, (N, T).
    """
    states = [h for layer in layers for direction in layer.hidden for h in direction]
    last = outcome.flows_back.sum()
    # A loss that depends on no state has no gradient, and torch would refuse.
    found = iter(
        torch.autograd.grad(last, states, allow_unused=True) if last.requires_grad else [None] * len(states)
    )
    every = []
    for layer in layers:
        directions = []
        for hidden, real in zip(layer.hidden, layer.real, strict=True):
            norms = torch.stack(
                [
                    h.new_zeros(len(h)) if gradient is None else gradient.flatten(1).norm(dim=1)
                    for h, gradient in ((h, next(found)) for h in hidden)
                ],
                dim=1,
            )  # -> (N, T)
            directions.append(_by_lag(norms.detach(), real))
        every.append(directions)
    return every


def _by_lag(norms: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Order the real steps of each row from the last to the first, and bring them to its front."""
    steps = real.shape[1]
    key = torch.where(real, torch.arange(steps), -1)
    order = key.argsort(dim=1, descending=True)
    return norms.gather(1, order), real.gather(1, order)


def _stand_in(place: Place, model: str) -> Unrolled:
    here = open_layer(place.layer)
    if model == "plain RNN":
        return Unrolled(here.plain(), like=here)
    made = here.copied()
    if model == "initialised":
        made.drawn_anew()
    return Unrolled(made)


def _rows(model: str, place: Place, directions: list[tuple[Tensor, Tensor]]) -> list[pl.DataFrame]:
    tables = []
    for number, (norms, real) in enumerate(directions):
        lags = min(int(real.sum(dim=1).max()), _LARGEST_LAG + 1)
        norms, real = norms[:, :lags], real[:, :lags]
        sequences = real.sum(dim=0)
        mean = (norms * real).sum(dim=0) / sequences.clamp(min=1)
        first = float(mean[0])
        tables.append(
            pl.DataFrame(
                {
                    "model": [model] * lags,
                    "layer": [place.number] * lags,
                    "direction": ["reverse" if (number == 1) != place.backwards else "forward"] * lags,
                    "lag": range(lags),
                    "norm": mean.numpy(),
                    "relative": (mean / first).numpy() if first > 0 else None,
                    "sequences": sequences.numpy(),
                },
                schema_overrides={"relative": pl.Float64},
            )
        )
    return tables
