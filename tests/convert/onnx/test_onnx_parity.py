"""ONNX Runtime against torch on drawn layers of all kinds, on batches and lengths that no export saw."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from layer_runs import session, shake

from gatestack import nn
from gatestack.convert.onnx.dispatch import state_leaves
from gatestack.convert.onnx.export import export_onnx
from gatestack.convert.onnx.layer_vectors import flat, state_name

CONFIGURATIONS = 136
TOLERANCE = 5e-5  # float32, weights of about 0.4, up to 12 steps and 4 layers, against the largest number
SHAPES = ((2, 4), (5, 3), (1, 7), (0, 3), (2, 0), (4, 1))  # batch, time; the export saw none of them but one

Draw = random.Random


def recurrent(draw: Draw, *, sequences: bool | None = None, directions: bool = True) -> nn.SequenceLayer:
    """Draw a layer of one cell, with options."""
    common: dict[str, Any] = {
        "return_sequences": draw.random() < 0.7 if sequences is None else sequences,
        "initial_state": draw.choice(("zeros", "zeros", "trained")) if directions else "zeros",
    }
    if directions and draw.random() < 0.4:
        common |= {"bidirectional": True, "merge": draw.choice(("concat", "sum", "mul", "average"))}
    size, kind = draw.choice((1, 4, 7)), draw.choice(("lstm", "gru", "rnn"))
    zoneout = draw.choice((0.0, 0.0, 0.25))
    if kind == "lstm":
        form = nn.LSTMForm(
            peepholes=draw.random() < 0.4,
            projection_size=draw.choice((None, None, 2)),
            layer_norm=draw.random() < 0.3,
        )
        drop = nn.Regularisation(
            zoneout_hidden=zoneout, zoneout_cell=draw.choice((0.0, 0.5)), recurrent_dropout=0.5
        )
        return nn.LSTM(size, form=form, regularisation=drop, **common)
    drop = nn.Regularisation(zoneout_hidden=zoneout)
    norm = draw.random() < 0.3
    if kind == "gru":
        reset = "after" if norm else draw.choice(("after", "before"))
        return nn.GRU(size, reset=reset, layer_norm=norm, regularisation=drop, **common)
    activation = draw.choice(("tanh", "relu"))
    return nn.RNN(size, activation=activation, layer_norm=norm, regularisation=drop, **common)


def cell(draw: Draw, depth: int = 2) -> nn.Cell:
    activation, gate = (
        draw.choice(list(nn.ACTIVATIONS)),
        draw.choice(("sigmoid", "hard_sigmoid", "hard_sigmoid_2")),
    )
    # Without a bound, a state of many steps leaves the numbers that float32 has.
    activation = "tanh" if activation in ("exponential", "linear") else activation
    kind = draw.choice(("lstm", "gru", "rnn", "deep", "stacked" if depth else "lstm"))
    if kind == "stacked":
        return nn.StackedCells(*(cell(draw, depth - 1) for _ in range(draw.choice((1, 2)))))
    if kind == "lstm":
        return nn.LSTMCell(4, activation=activation, gate_activation=gate)
    if kind == "gru":
        reset = draw.choice(("after", "before"))
        return nn.GRUCell(4, activation=activation, gate_activation=gate, reset=reset)
    if kind == "deep":
        return nn.DeepTransitionCell(4, draw.choice((2, 3)), activation="tanh", shortcut=draw.random() < 0.5)
    return nn.RNNCell(4, activation=activation)


def loop(draw: Draw) -> nn.SequenceLayer:
    return nn.Loop(cell(draw), return_sequences=draw.random() < 0.7)


def stack(draw: Draw) -> nn.SequenceLayer:
    lower = [recurrent(draw, sequences=True) for _ in range(draw.choice((1, 2, 3)))]
    return nn.Stack(*lower, recurrent(draw))


def residual(draw: Draw) -> nn.SequenceLayer:
    return nn.Stack(nn.LSTM(4), nn.GRU(2, bidirectional=True), nn.RNN(4), residual=draw.random() < 0.9)


def mixed(draw: Draw) -> nn.SequenceLayer:
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.LayerNorm(3), torch.nn.GELU(), torch.nn.Dropout(0.5)
    )
    return nn.Stack(nn.LSTM(4), nn.PerStep(module), nn.Loop(nn.GRUCell(4)), recurrent(draw))


def bidirectional(draw: Draw) -> nn.SequenceLayer:
    merge = draw.choice(("concat", "sum", "mul", "average", None))
    inside = draw.choice(("same", "stack", "other"))
    if inside == "stack":
        return nn.Bidirectional(nn.Stack(nn.LSTM(4), nn.GRU(3)), merge=merge)
    layer = recurrent(draw, directions=False)
    if inside == "other" and layer.output_size == 4:
        return nn.Bidirectional(layer, nn.GRU(4, return_sequences=layer.return_sequences), merge=merge)
    return nn.Bidirectional(layer, merge=merge)


def deep_output(draw: Draw) -> nn.SequenceLayer:
    return nn.DeepOutput(recurrent(draw), 5, 2, activation=draw.choice(("relu", "tanh", "silu")))


def shortcut(draw: Draw) -> nn.SequenceLayer:
    layers = [recurrent(draw, sequences=True, directions=False) for _ in range(2)]
    return nn.ShortcutStack(*layers, return_sequences=draw.random() < 0.5)


def stateful(draw: Draw) -> nn.SequenceLayer:
    return nn.Stateful(recurrent(draw, directions=False))


def images(draw: Draw) -> nn.SequenceLayer:
    dimensions = draw.choice((1, 1, 2, 2, 3))
    made = (nn.ConvLSTM1D, nn.ConvLSTM2D, nn.ConvLSTM3D)[dimensions - 1]
    stride = draw.choice((1, 1, 2))
    # Bounded ones: with relu, numbers grow until float32 has no digits left after the point.
    activation = draw.choice(("tanh", "softsign", "hard_tanh"))
    form = nn.ConvLSTMForm(peepholes=draw.choice((None, "channels")), activation=activation)
    return made(
        2,
        draw.choice((1, 2, 3)),
        stride=stride,
        padding=draw.choice(("same", "valid")),
        dilation=1 if stride > 1 else draw.choice((1, 2)),
        return_sequences=draw.random() < 0.6,
        form=form,
    )


KINDS: tuple[Callable[[Draw], nn.SequenceLayer], ...] = (
    recurrent, recurrent, recurrent, loop, loop, stack, residual, mixed, bidirectional, bidirectional,
    deep_output, shortcut, stateful, images, images, images, images,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_onnx_runtime_gives_what_torch_gives(tmp_path: Path, seed: int) -> None:
    draw = Draw(seed)
    torch.manual_seed(seed)
    layer = KINDS[seed % len(KINDS)](draw).build(3)
    with torch.no_grad():
        layer(torch.zeros(1, 1, 3, *[6] * getattr(layer, "dimensions", 0)))
    getattr(layer, "reset", lambda: None)()
    shake(layer, 0.4)
    run = session(str(export_onnx(layer, tmp_path / "layer.onnx").path))
    inner = getattr(layer, "layer", layer) if isinstance(layer, nn.Stateful) else layer
    tree = state_leaves(inner)
    for rows, time in SHAPES:
        space = [draw.choice((7, 8, 9)) for _ in range(getattr(layer, "dimensions", 0))]
        x = torch.randn(rows, time, 3, *space)
        lengths = torch.tensor([draw.randint(0, time) for _ in range(rows)], dtype=torch.int64)
        states = [torch.randn(part.shape) for part in flat(inner.start(x))]
        parts = iter(states)
        feed = {"x": x.numpy(), "lengths": lengths.numpy()}
        feed |= {
            state_name(leaf.name, "in"): part.numpy() for leaf, part in zip(flat(tree), states, strict=True)
        }
        if any(one.name == "fresh" for one in run.get_inputs()):
            feed["fresh"] = np.zeros(rows, bool)
        with torch.no_grad():
            y, final = inner(x, nested(tree, parts), lengths=lengths)
        found = run.run(None, feed)
        for wanted, got in zip((*flat(y), *flat(final)), found, strict=True):
            assert wanted.shape == got.shape, (layer, rows, time)
            largest = max(1.0, float(wanted.abs().max())) if wanted.numel() else 1.0
            assert np.abs(wanted.numpy() - got).max(initial=0.0) <= TOLERANCE * largest, (layer, rows, time)


def nested(tree: Any, values: Any) -> Any:
    return tuple(nested(part, values) for part in tree) if isinstance(tree, tuple) else next(values)
