"""Graphs are built, checked, and refused where an axis is frozen."""

from __future__ import annotations

import numpy as np
import pytest
from layer_runs import TOLERANCE, LayerRun, session, shake

from gatestack import nn
from gatestack.convert.onnx.builder import GraphBuilder
from gatestack.errors import ArgumentError


def test_equal_constants_are_kept_once() -> None:
    b = GraphBuilder()
    assert b.constant([1, 2]) == b.constant(np.array([1, 2]))
    assert b.constant([1, 2]) != b.constant([1.0, 2.0])
    assert b.constant(np.zeros((2, 0))) != b.constant(np.zeros((0, 2)))


def test_a_scope_names_what_is_made_in_it() -> None:
    b = GraphBuilder()
    x = b.input("x", "float32", ("batch",))
    with b.scope("l0"):
        assert b.op("Tanh", x) == "l0/Tanh"
        assert b.weight("w", np.zeros(2)) == "l0/w"
        assert b.weight("w", np.ones(2)) == "l0/w_2"
    assert b.op("Tanh", x) == "Tanh"


def test_a_name_twice_and_an_unknown_kind_are_refused() -> None:
    b = GraphBuilder()
    b.input("x", "float32", ("batch",))
    with pytest.raises(ArgumentError, match="'x' is taken"):
        b.input("x", "float32", ("batch",))
    with pytest.raises(ArgumentError, match="complex64"):
        b.input("z", "complex64", ("batch",))


def test_a_frozen_axis_is_refused_with_its_name() -> None:
    b = GraphBuilder("small")
    x = b.input("x", "float32", ("batch", "time", 4))
    b.output(b.reshape(x, (3, -1, 4)), "y", ("batch", "time", 4))
    with pytest.raises(ArgumentError, match=r"axis 0 of output 'y' is frozen at 3 — expected any size"):
        b.model()


def test_a_graph_that_onnx_refuses_is_refused() -> None:
    b = GraphBuilder()
    x = b.input("x", "float32", ("batch", 4))
    b.output(b.op("MatMul", x, b.weight("w", np.zeros((3, 2)))), "y", ("batch", 2))
    with pytest.raises(ArgumentError, match="ONNX does not accept the graph"):
        b.model()


@pytest.mark.parametrize("opset", [16, 23, True])
def test_an_opset_outside_the_range_is_refused(opset: int) -> None:
    with pytest.raises(ArgumentError, match="opset"):
        GraphBuilder().model(opset)


@pytest.mark.parametrize("opset", [17, 18, 19, 20, 21, 22])
def test_every_opset_of_the_range_runs(opset: int) -> None:
    b = GraphBuilder()
    x = b.input("x", "float32", ("batch", "time", 3))
    b.output(b.op("Tanh", x), "y", ("batch", "time", 3))
    model = b.model(opset, metadata={"a": "b"})
    assert model.opset_import[0].version == opset
    (y,) = session(model).run(None, {"x": np.ones((2, 5, 3), np.float32)})
    np.testing.assert_allclose(y, np.tanh(np.ones((2, 5, 3))), rtol=1e-6)


@pytest.mark.parametrize(("rows", "time"), [(0, 3), (2, 0), (0, 0), (1, 1)])
@pytest.mark.parametrize("loop", [False, True], ids=["operator", "scan"])
def test_batches_of_nothing_run(rows: int, time: int, loop: bool) -> None:
    # ONNX Runtime ends the process for an LSTM of no rows, and fails for a Scan of no steps.
    import torch

    form = nn.LSTMForm(layer_norm=True) if loop else None
    run = LayerRun(shake(nn.LSTM(5, 3, form=form)), 3)
    assert run.difference(rows, time, torch.full((rows,), time)) < TOLERANCE
