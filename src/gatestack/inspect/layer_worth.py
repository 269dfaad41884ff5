"""What each layer is worth: the loss when it is taken out of the way.

Three ways, each on the model as it is, nothing fitted again:

    bypassed    the output is the input; possible where they are equally wide, or where the stack adds the
                input to the output anyway, and then the output is zero
    held        the output is its own mean over all sequences and steps, so that it says nothing any more
    shuffled    each unit shows what it shows in another sequence, each unit in another one, so that together
                they say nothing about the sequence at hand; the mean of five shuffles

The change of the loss is paired: per sequence, with its standard error over the sequences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError
from gatestack.inspect.opened import open_layer
from gatestack.inspect.recording import LayerCall, Place
from gatestack.inspect.subject import Subject
from gatestack.nn import SequenceLayer
from gatestack.nn.steps import Steps

__all__ = ["WAYS", "worth_table"]

WAYS = ("bypassed", "held", "shuffled")
_SHUFFLES = 5

_Change = Callable[[Tensor], Tensor]


@torch.no_grad()
def worth_table(
    subject: Subject,
    network: nn.Module,
    places: Sequence[Place],
    calls: dict[str, LayerCall],
    inputs: Tensor,
) -> pl.DataFrame:
    """Take each layer out of the way and score the model.

    Args:
        subject: with a loss.
        network: in float64 and eval mode.
        places: its recurrent layers.
        calls: what each reads.
        inputs: (N, T, C).

    Returns:
        A row per layer and way: `loss`, `change` against the whole model and `standard_error` of the change,
        all null where the way is not possible; first a row `whole` with the loss of the whole model.
    """
    whole = _loss(subject, network, inputs)
    rows: list[dict[str, Any]] = [
        {"layer": None, "way": "whole", "loss": float(whole.mean()), "change": 0.0, "standard_error": 0.0}
    ]
    for number in dict.fromkeys(place.number for place in places):
        here = [place for place in places if place.number == number]
        for way in WAYS:
            row: dict[str, Any] = {"layer": number, "way": way}
            # Each of them is a change for every direction of the layer.
            rounds = list(zip(*[_changes(place, calls[place.path], way) for place in here], strict=False))
            if rounds:
                losses = []
                for changes in rounds:
                    with ExitStack() as changed:
                        for place, change in zip(here, changes, strict=True):
                            changed.enter_context(_changed(place.layer, change))
                        losses.append(_loss(subject, network, inputs))
                loss = torch.stack(losses).mean(dim=0)
                away = loss - whole
                row |= {
                    "loss": float(loss.mean()),
                    "change": float(away.mean()),
                    "standard_error": float(away.std() / math.sqrt(len(away))) if len(away) > 1 else None,
                }
            rows.append(row)
    schema = {"layer": pl.Int64, "way": pl.String} | dict.fromkeys(
        ("loss", "change", "standard_error"), pl.Float64
    )
    return pl.DataFrame(rows, schema=schema)


def _loss(subject: Subject, network: nn.Module, inputs: Tensor) -> Tensor:
    loss = subject.run(network, inputs).loss
    if loss is None:
        raise ArgumentError("there is no loss", where="inspect", expected="a truth to score against")
    return loss


@contextmanager
def _changed(layer: SequenceLayer, change: _Change) -> Iterator[None]:
    """Change the output of a layer, for as long as the block runs; its state stays.

    Images are changed as features, (N, T, F·S) or (N, F·S).
    """

    def after(module: SequenceLayer, given: tuple[Any, ...], result: tuple[Any, ...]) -> tuple[Any, ...]:  # noqa: ARG001
        y: Tensor = result[0]
        return (change(y.flatten(2 if module.return_sequences else 1)).view_as(y), *result[1:])

    handle = layer.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def _changes(place: Place, call: LayerCall, way: str) -> list[_Change]:
    steps = call.steps
    if way == "held":
        return [lambda y: _mean(y, steps)]
    opened = open_layer(place.layer)
    images = opened.start(call.x, call.state)[0][0].shape[2:]  # of its output; () where it has none
    if way == "shuffled":
        # A channel of an image stays whole: all of its positions come from the same sequence.
        width = place.layer.output_size or 0
        return [
            lambda y, shifts=shifts: _of_others(y, steps, shifts.repeat_interleave(images.numel()))  # type: ignore[misc]
            for shifts in _shifts(len(call.x), width)
        ]
    if place.residual:
        return [torch.zeros_like]
    if call.x.shape[2:] != (place.layer.output_size, *images):
        return []
    x = call.x.flatten(2)
    return [lambda y: steps.cleared(x) if y.dim() == 3 else steps.last(x)]


def _shifts(rows: int, units: int) -> list[Tensor]:
    """Draw by how many rows each unit is moved round, five times: never by none, so that all are wrong."""
    if rows < 2:
        return []
    drawn = torch.Generator().manual_seed(0)
    return [torch.randint(1, rows, (units,), generator=drawn) for _ in range(_SHUFFLES)]


def _mean(y: Tensor, steps: Steps) -> Tensor:
    real = steps.real(y) if y.dim() == 3 else None
    mean = y.flatten(0, -2).mean(dim=0) if real is None else y[real].mean(dim=0)
    held = mean.expand_as(y)
    return held if y.dim() == 2 else steps.cleared(held)


def _of_others(y: Tensor, steps: Steps, shifts: Tensor) -> Tensor:
    """Give each unit of a row that of another row; where that one is shorter, its last real step stands on.

    Args:
        y: (N, T, F), or (N, F) of the last step.
        steps: the real ones.
        shifts: (F,).
    """
    units = torch.arange(y.shape[-1])
    rows = (torch.arange(len(y))[:, None] - shifts) % len(y)  # whose, (N, F)
    if y.dim() == 2:
        return y[rows, units]
    real = steps.real(y)
    if real is None:
        real = torch.ones(y.shape[:2], dtype=torch.bool)
    last = (real * torch.arange(1, y.shape[1] + 1)).cummax(dim=1).values - 1  # -> (N, T)
    when = last.clamp(min=0)[rows].transpose(1, 2)  # -> (N, T, F)
    return steps.cleared(y[rows[:, None], when, units])
