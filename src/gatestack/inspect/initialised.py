"""The time-scales that the layers of a model have before anything is learned.

A higher layer reads the world through those below, which go on speaking of a change while they forget it: by
a change of the input it is slower as soon as it is drawn. What training has done shows beside that only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl
import torch
from torch import Tensor, nn

from gatestack.inspect.opened import open_layer
from gatestack.inspect.opening import open_gates
from gatestack.inspect.recording import Place, calls_of, replaced
from gatestack.inspect.subject import Subject
from gatestack.inspect.time_scales import changed_inputs, scales_of

__all__ = ["initialised_scales"]


@torch.no_grad()
def initialised_scales(
    subject: Subject, network: nn.Module, places: Sequence[Place], inputs: Tensor
) -> pl.DataFrame:
    """Measure the time-scales of all units with the recurrent layers drawn anew.

    Args:
        subject: what is inspected.
        network: in float64 and eval mode.
        places: its recurrent layers.
        inputs: (N, T, C), or (N, T) whole numbers.

    Returns:
        As `time_scales.time_scale_table`, of all layers.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = []
        for place in places:
            made = open_layer(place.layer).copied()
            made.drawn_anew()
            drawn.append(replace(place, layer=made.layer))
    with replaced(network, {place.path: place.layer for place in drawn}):
        calls = calls_of(subject.run, network, drawn, inputs)
        moved, at = None, None
        if subject.continuous:
            other, at = changed_inputs(subject, inputs)
            moved = calls_of(subject.run, network, drawn, other)
    tables = []
    for place in drawn:
        again = None if moved is None else open_gates(place, moved[place.path])
        tables += scales_of(subject, open_gates(place, calls[place.path]), again, at)
    return pl.concat(tables, how="vertical_relaxed")
