"""One of each way to put layers together, for the checks that all of them must pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gatestack.nn import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    ConvLSTM2D,
    DeepOutput,
    DeepTransitionCell,
    GRUCell,
    Loop,
    LSTMCell,
    PerStep,
    RNNCell,
    SequenceLayer,
    ShortcutStack,
    Stack,
    StackedCells,
)
from gatestack.nn.states import leaves, mapped

N, T, C = 4, 6, 3
SPACE = (4, 3)


@dataclass(frozen=True)
class Composed:
    """A layer to be made, and the shape of what it reads at one step."""

    make: Callable[[], SequenceLayer]
    step: tuple[int, ...] = (C,)

    def built(self, seed: int = 0) -> SequenceLayer:
        """The layer in float64 with random weights and biases, built by a call, in eval mode."""
        torch.manual_seed(seed)
        layer = self.make().double()
        layer(self.draw(2, 2))
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
        return layer.eval()

    def draw(self, batch: int = N, time: int = T) -> Tensor:
        """A random input."""
        return torch.randn(batch, time, *self.step, dtype=torch.float64)


def frames() -> torch.nn.Module:
    return PerStep(torch.nn.Flatten())


COMPOSED = {
    "lstm": Composed(lambda: LSTM(5)),
    "gru, trained start": Composed(lambda: GRU(5, initial_state="trained")),
    "rnn": Composed(lambda: RNN(5)),
    "stack": Composed(lambda: Stack(LSTM(5), GRU(5), RNN(5), residual=True)),
    "stack in a stack": Composed(lambda: Stack(LSTM(5), Stack(GRU(4), RNN(5)), LSTM(5), residual=True)),
    "per step": Composed(lambda: PerStep(torch.nn.Linear(C, 4))),
    "stack with per step": Composed(lambda: Stack(LSTM(5), PerStep(torch.nn.Linear(5, 4)), GRU(3))),
    "loop": Composed(lambda: Loop(LSTMCell(5))),
    "loop, other functions": Composed(
        lambda: Loop(LSTMCell(5, activation="softsign", gate_activation="hard_sigmoid"))
    ),
    "loop of stacked cells": Composed(lambda: Loop(StackedCells(LSTMCell(5), GRUCell(4, reset="before")))),
    "loop of mixed cells": Composed(
        lambda: Loop(StackedCells(GRUCell(5), RNNCell(4, activation="elu"), LSTMCell(3)))
    ),
    "deep transition": Composed(lambda: Loop(DeepTransitionCell(5, 3, shortcut=True))),
    "deep output": Composed(lambda: DeepOutput(LSTM(5), 7, 4, activation="tanh")),
    "shortcut stack": Composed(lambda: ShortcutStack(LSTM(5), Loop(DeepTransitionCell(4, 2)), RNN(3))),
    "conv lstm": Composed(lambda: ConvLSTM2D(2, 3), (C, *SPACE)),
    "conv lstm below lstm": Composed(lambda: Stack(ConvLSTM2D(2, 3), frames(), LSTM(4)), (C, *SPACE)),
    "conv lstms, residual": Composed(
        lambda: Stack(ConvLSTM2D(2, 3), ConvLSTM2D(2, 3), residual=True), (C, *SPACE)
    ),
    "both ways": Composed(lambda: Bidirectional(LSTM(5))),
    "both ways, stacks": Composed(lambda: Bidirectional(Stack(LSTM(5), GRU(4)), merge="mul")),
    "both ways, conv": Composed(lambda: Bidirectional(ConvLSTM2D(2, 3), merge="average"), (C, *SPACE)),
    "both ways, last": Composed(lambda: Bidirectional(GRU(5, return_sequences=False), merge="sum")),
    "both ways, loops, last": Composed(
        lambda: Bidirectional(Loop(DeepTransitionCell(5, 2), return_sequences=False))
    ),
    "stack of both ways": Composed(lambda: Stack(Bidirectional(LSTM(3)), GRU(4, return_sequences=False))),
    "residual stack, last": Composed(lambda: Stack(LSTM(5), GRU(5, return_sequences=False), residual=True)),
    "loop, last": Composed(lambda: Loop(GRUCell(5, activation="relu6"), return_sequences=False)),
    "shortcut stack, last": Composed(lambda: ShortcutStack(GRU(5), LSTM(4), return_sequences=False)),
}

FORWARD = {name: one for name, one in COMPOSED.items() if not one.make().looks_ahead}


def random_state(layer: SequenceLayer, x: Tensor):
    """A state of the right form whose entries are random."""
    return mapped(torch.rand_like, layer.start(x))


def close(found, expected) -> None:
    """Require two states, or two outputs, to agree but for rounding."""
    pairs = list(zip(leaves(found), leaves(expected), strict=True))
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
