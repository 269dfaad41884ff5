"""Drawn models that torch exports come in, and give the same numbers on other batches and lengths."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_models import HEADS, STARTS, Drawn, Model, axes_of

from gatestack.convert import read_onnx

pytest.importorskip("onnx")

SEEDS = range(66)


def exported(seed: int, path: Path) -> Model:
    drawn = Drawn.of(seed)
    torch.manual_seed(seed)
    model = Model(drawn).eval()
    given = model.inputs(2, 6, seed)
    states = [given[name] for name in ("h", "c") if name in given]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, about batches and about itself
        torch.onnx.export(
            model,
            (given["x"], given.get("lengths"), *states),
            path,
            dynamo=False,
            input_names=list(given),
            dynamic_axes=axes_of(drawn, list(given)),
            opset_version=drawn.opset,
        )
    return model


def test_the_draws_have_every_start_and_head() -> None:
    every = [Drawn.of(seed) for seed in SEEDS]
    assert {one.start for one in every} == set(STARTS)
    assert {one.head for one in every} == set(HEADS)
    for name, choices in {"cell": 3, "layers": 3, "directions": 2, "open_axes": 4, "opset": 5}.items():
        assert len({getattr(one, name) for one in every}) == choices
    assert sum(one.packed for one in every) > 8
    assert sum(one.residual for one in every) > 8


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drawn_model_comes_in(seed: int, tmp_path: Path) -> None:
    model = exported(seed, tmp_path / "model.onnx")
    drawn = model.drawn
    network = read_onnx(tmp_path / "model.onnx")
    kinds = [node.layer.kind for node in network.nodes]
    # A head of final states does not read the last layer's output, from which the residual layer goes on.
    again = drawn.residual and drawn.head not in ("last state", "both last states", "unrolled states")
    layers = drawn.layers * (2 if drawn.start == "encoder" else 1)
    assert kinds.count("bidirectional") == (layers if drawn.directions == 2 else 0)
    assert kinds.count("recurrent") == (0 if drawn.directions == 2 else layers) + again
    rows = 3 if drawn.open_axes in ("both", "batch") else 2
    time = 9 if drawn.open_axes in ("both", "time") else 6
    given = model.inputs(rows, time, seed + 1)
    found = network.predict(*[given[port.name].numpy() for port in network.inputs])
    with torch.no_grad():
        expected = model.called(given)
    found = found if isinstance(found, tuple) else (found,)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=3e-5, atol=3e-6, err_msg=str(drawn))
