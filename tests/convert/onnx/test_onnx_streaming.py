"""A stream in ONNX Runtime: chunks with the states handed on are the whole sequence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from layer_runs import leaves, session, shake

from gatestack import nn
from gatestack.convert.onnx.export import export_onnx

LAYERS = {
    "lstm": lambda: nn.LSTM(5, 3),
    "lstm with all": lambda: nn.LSTM(
        5, 3, form=nn.LSTMForm(peepholes=True, layer_norm=True, projection_size=2)
    ),
    "gru": lambda: nn.GRU(5, 3),
    "stack": lambda: nn.Stack(nn.LSTM(5), nn.GRU(4, reset="before"), nn.RNN(4), input_size=3),
    "zoneout": lambda: nn.GRU(5, 3, regularisation=nn.Regularisation(zoneout_hidden=0.2)),
    "cells": lambda: nn.Loop(nn.StackedCells(nn.LSTMCell(4), nn.DeepTransitionCell(4, 2))).build(3),
}


def zero_states(run: Any, rows: int) -> dict[str, np.ndarray]:
    return {
        one.name: np.zeros([rows if size == "batch" else size for size in one.shape], np.float32)
        for one in run.get_inputs()
        if "_in" in one.name
    }


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("chunks", [(1,) * 9, (4, 5), (2, 0, 7)], ids=str)
def test_chunks_with_their_states_are_the_whole(tmp_path: Path, name: str, chunks: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    layer = shake(LAYERS[name]())
    run = session(str(export_onnx(layer, tmp_path / "a.onnx").path))
    x = torch.randn(3, 9, 3)
    with torch.no_grad():
        whole, final = layer(x)
    inputs = {one.name: one.shape for one in run.get_inputs()}
    state = {
        n: np.zeros([3 if s == "batch" else s for s in shape], np.float32)
        for n, shape in inputs.items()
        if "_in" in n
    }
    outputs, begin = [], 0
    for size in chunks:
        feed = {"x": x[:, begin : begin + size].numpy(), "lengths": np.full(3, size)}
        y, *after = run.run(None, feed | state)
        state = dict(zip(state, after, strict=True))
        outputs.append(y)
        begin += size
    np.testing.assert_allclose(np.concatenate(outputs, axis=1), whole.numpy(), atol=2e-6)
    for part, wanted in zip(state.values(), leaves(final), strict=True):
        np.testing.assert_allclose(part, wanted.numpy(), atol=2e-6)


def test_states_come_out_in_the_order_in_which_they_go_in(tmp_path: Path) -> None:
    run = session(str(export_onnx(LAYERS["stack"](), tmp_path / "a.onnx").path))
    given = [one.name for one in run.get_inputs() if "_in" in one.name]
    taken = [one.name for one in run.get_outputs() if "_out" in one.name]
    assert (
        [name.replace("_in", "_out") for name in given]
        == taken
        == ["h_out_l0", "c_out_l0", "h_out_l1", "h_out_l2"]
    )


def test_a_row_that_pauses_keeps_its_state(tmp_path: Path) -> None:
    # A server steps a batch of streams, some of which have nothing new.
    layer = shake(nn.LSTM(5, 3))
    run = session(str(export_onnx(layer, tmp_path / "a.onnx").path))
    state = {
        name: np.random.default_rng(0).normal(size=(1, 2, 5)).astype(np.float32) for name in ("h_in", "c_in")
    }
    y, h, c = run.run(None, {"x": np.ones((2, 1, 3), np.float32), "lengths": np.array([1, 0])} | state)
    np.testing.assert_array_equal(h[:, 1], state["h_in"][:, 1])
    np.testing.assert_array_equal(c[:, 1], state["c_in"][:, 1])
    assert not y[1].any()
    assert np.abs(h[:, 0] - state["h_in"][:, 0]).max() > 1e-3


def test_what_stands_in_the_padding_is_never_looked_at(tmp_path: Path) -> None:
    layer = shake(
        nn.Stack(nn.LSTM(5, bidirectional=True), nn.LSTM(4, form=nn.LSTMForm(layer_norm=True)), input_size=3)
    )
    run = session(str(export_onnx(layer, tmp_path / "a.onnx").path))
    feed = zero_states(run, 2)
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    feed["lengths"] = np.array([4, 2])
    clean = run.run(None, feed | {"x": x})
    dirty = x.copy()
    dirty[1, 2:] = np.nan
    for one, other in zip(clean, run.run(None, feed | {"x": dirty}), strict=True):
        np.testing.assert_array_equal(one, other)
