"""`gatestack import`: what it writes loads again and gives the numbers of the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

import gatestack as gs
from gatestack.cli.main import app
from gatestack.convert import Network, export_onnx, read_onnx


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx(gs.nn.GRU(4, input_size=3).eval(), tmp_path_factory.mktemp("m") / "gru.onnx").path


def test_an_onnx_file_becomes_a_model_folder(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "gru"
    found = CliRunner().invoke(app, ["import", str(file), "--out", str(out)])
    assert found.exit_code == 0, found.output
    assert "parameters  108" in found.stdout
    assert "x (batch, any, 3) float32" in found.stdout
    network = gs.load(out)
    assert isinstance(network, Network)
    inputs = [np.ones((2, 5, 3)), np.array([5, 2]), np.zeros((1, 2, 4))]
    for ours, theirs in zip(network.predict(*inputs), read_onnx(file).predict(*inputs), strict=True):
        assert np.array_equal(ours, theirs)
    again = CliRunner().invoke(app, ["import", str(file), "--out", str(out)])
    assert again.exit_code == 2
    assert "exists already" in again.output
    told = CliRunner().invoke(app, ["import", str(file), "--out", str(out), "--overwrite", "--json"])
    assert json.loads(told.stdout)["proof_difference"] == 0


def test_what_cannot_be_read_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    (tmp_path / "bad.pkl").write_bytes(b"no model")
    for name, said in (("bad.onnx", "not an ONNX model"), ("bad.pkl", "the ending is '.pkl'")):
        found = CliRunner().invoke(app, ["import", str(tmp_path / name), "--out", str(tmp_path / "out")])
        assert found.exit_code == 2
        assert said in found.output
        assert not (tmp_path / "out").exists()


def test_what_takes_no_drawn_inputs_is_named_by_its_file(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "free"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])
    weights = numpy_helper.from_array(np.ones((3, 2), np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "graph", [x], [y], [weights])
    path = tmp_path / "odd.onnx"
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())
    found = CliRunner().invoke(app, ["import", str(path), "--out", str(tmp_path / "out")])
    assert found.exit_code == 2, found.output
    assert "odd.onnx: it cannot be computed with drawn inputs" in found.output
    assert "example=" in found.output
    assert not (tmp_path / "out").exists()
