"""A stack cut into runs: neighbouring layers that one call of the kernels computes together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from gatestack.kernels.spec import StackSpec
from gatestack.nn.layer import SequenceLayer
from gatestack.nn.recurrent import Recurrent

__all__ = ["MOST_LAYERS", "Between", "Run", "cut_into_runs", "has_hooks"]

MOST_LAYERS = 64  # in one call of the compiled kernels, as native/gatestack.h has it


@dataclass(frozen=True)
class Between:
    """What lies between layers.

    Args:
        dropout: probability with which an element is dropped.
        per_step: draw it anew at each step.
        residual: add the input of a layer to its output.
    """

    dropout: float = 0.0
    per_step: bool = False
    residual: bool = False

    def dropped(self, y: Tensor) -> Tensor:
        """Drop elements of y (N, T, …), for a layer that is called by itself."""
        if not self.dropout:
            return y
        if self.per_step or y.shape[1] == 0:
            return nn.functional.dropout(y, self.dropout)
        return y * nn.functional.dropout(torch.ones_like(y[:, :1]), self.dropout)


@dataclass(frozen=True)
class Run:
    """Layers from `first` up to but not including `last`.

    Args:
        first: number of a layer.
        last: number of a layer.
        spec: for the kernels; None where the layer is to be called by itself.
        residual: the input of the run, which is one layer then, is added to its output after the call: the
            kernels add before the two directions are merged.
    """

    first: int
    last: int
    spec: StackSpec | None
    residual: bool


def cut_into_runs(layers: Sequence[SequenceLayer], between: Between, apart: Sequence[bool]) -> list[Run]:
    """Cut layers into runs, as few as possible.

    A run ends where the number of directions changes, where directions are merged other than side by side,
    where one call of the kernels has as many layers as it can take, and around a layer that is to be called
    by itself.

    Args:
        layers: of the stack.
        between: what lies between them.
        apart: which layers are to be called by themselves, because they are no `Recurrent` or not built yet,
            because hooks hang on them, or because they are in training mode and the stack is not, or the
            other way round.

    Example:
        >>> from gatestack.nn import LSTM
        >>> layers = [LSTM(4, 2), LSTM(4, 4), LSTM(4, 4, bidirectional=True)]
        >>> [(run.first, run.last) for run in cut_into_runs(layers, Between(), (False,) * 3)]
        [(0, 2), (2, 3)]
    """
    cuts = [0]
    for number in range(1, len(layers)):
        if (
            apart[number - 1]
            or apart[number]
            or number - cuts[-1] == MOST_LAYERS
            or not _side_by_side(layers[number - 1], layers[number], between)
        ):
            cuts.append(number)
    cuts.append(len(layers))
    return [_run(layers, first, last, between, apart[first]) for first, last in pairwise(cuts)]


def has_hooks(layer: nn.Module) -> bool:
    """Whether something listens to the calls of a layer, or acts on them."""
    return bool(
        layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    )


def _side_by_side(below: SequenceLayer, layer: SequenceLayer, between: Between) -> bool:
    """Whether one call can compute a layer and the one below it."""
    return (
        isinstance(below, Recurrent)
        and isinstance(layer, Recurrent)
        and below.bidirectional == layer.bidirectional
        and below.merge == "concat"
        and not (layer.merge != "concat" and between.residual)
    )


def _run(layers: Sequence[SequenceLayer], first: int, last: int, between: Between, apart: bool) -> Run:
    lowest = layers[first]
    if apart or not isinstance(lowest, Recurrent):
        return Run(first, last, None, between.residual and first > 0)
    outside = between.residual and first > 0 and lowest.merge != "concat"
    made = []
    for number in range(first, last):
        layer = layers[number]
        if not isinstance(layer, Recurrent):
            raise RuntimeError("a run of the kernels was cut around a layer that they do not know")
        spec = layer.spec
        if number > 0:
            spec = replace(
                spec,
                input_dropout=between.dropout,
                input_dropout_per_step=between.per_step,
                residual=between.residual and not outside,
            )
        made.append(spec)
    return Run(first, last, StackSpec(tuple(made), lowest.num_directions), outside)
