"""A graph that asks for enormous memory only when it runs ends alone, and is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gatestack import nn
from gatestack.convert.onnx.builder import GraphBuilder
from gatestack.convert.onnx.export import export_onnx
from gatestack.convert.onnx.replay import answers_of_onnx_runtime
from gatestack.convert.proof import read_proof
from gatestack.errors import ModelFileError

pytest.importorskip("onnxruntime")


def grows(times: int) -> bytes:
    """Make a graph that repeats x so many times along both axes; no shape in the file says so."""
    b = GraphBuilder()
    x = b.input("x", "float32", ("batch", "time"))
    many = b.op("Mul", b.op("Add", b.op("Mul", b.size(x, 0), b.ints(0)), b.ints(1)), b.ints(times))
    b.output(b.op("Tile", x, b.op("Concat", many, many, axis=0)), "y", ("batch_y", "time_y"))
    return bytes(b.model().SerializeToString())


def test_an_honest_graph_gives_what_it_gave_when_it_was_exported(tmp_path: Path) -> None:
    exported = export_onnx(nn.LSTM(8, 3), tmp_path / "lstm.onnx")
    vectors = read_proof(exported.path).vectors
    runner, answers = answers_of_onnx_runtime(
        exported.path.read_bytes(), [one.inputs for one in vectors], where="lstm.onnx"
    )
    assert runner.startswith("ONNX Runtime 1.")
    for vector, answer in zip(vectors, answers, strict=True):
        for name, expected in vector.outputs.items():
            np.testing.assert_allclose(answer[name], expected, atol=2e-5)


def test_memory_that_a_graph_takes_when_it_runs_is_bounded() -> None:
    call = {"x": np.ones((2, 2), np.float32)}
    small = answers_of_onnx_runtime(grows(3), [call], where="m.onnx")[1]
    assert small[0]["y"].shape == (6, 6)
    with pytest.raises(ModelFileError, match=r"m\.onnx: it cannot be computed with 0\.5 GiB of memory: .+"):
        answers_of_onnx_runtime(grows(10_000), [call], where="m.onnx", memory_bytes=2**29)  # 1.6 GB


def test_what_onnx_runtime_says_is_told() -> None:
    with pytest.raises(ModelFileError, match=r"m\.onnx: it cannot be computed .*INVALID_ARGUMENT"):
        answers_of_onnx_runtime(grows(3), [{"x": np.ones(2, np.float32)}], where="m.onnx")
    with pytest.raises(ModelFileError, match=r"m\.onnx: it cannot be computed .*[Pp]rotobuf"):
        answers_of_onnx_runtime(b"nothing", [], where="m.onnx")
