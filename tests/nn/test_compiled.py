"""Layers of layers and cells under `torch.compile`: one graph, and the numbers of the plain call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gatestack.nn import (
    GRU,
    LSTM,
    Bidirectional,
    DeepOutput,
    DeepTransitionCell,
    GRUCell,
    Loop,
    LSTMCell,
    ShortcutStack,
    Stack,
    StackedCells,
    Stateful,
)

N, T, C = 3, 5, 2
LAYERS = {
    "cell": lambda: LSTMCell(4, C),
    "loop": lambda: Loop(LSTMCell(4, C)),
    "loop of stacked cells": lambda: Loop(StackedCells(LSTMCell(4), GRUCell(3))).build(C),
    "loop of a deep transition": lambda: Loop(DeepTransitionCell(4, 2, C)),
    "both ways": lambda: Bidirectional(GRU(4, C), merge="sum"),
    "shortcut stack": lambda: ShortcutStack(LSTM(4), GRU(3), input_size=C),
    "deep output": lambda: DeepOutput(LSTM(4, C), 3),
    "stateful": lambda: Stateful(Stack(LSTM(4), GRU(3), input_size=C)),
}


@pytest.fixture(autouse=True)
def _forget_graphs() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_one_graph(name: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]()
    x = torch.randn(N, C) if name == "cell" else torch.randn(N, T, C)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    found = compiled(x)[0]
    if isinstance(layer, Stateful):
        layer.reset()
    torch.testing.assert_close(found, layer(x)[0])
