"""Operators around recurrent nodes, beside ONNX Runtime; nodes that do not fit are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatestack.convert import read_onnx
from gatestack.convert.layers.operator import computed
from gatestack.convert.layers.operator_table import OPERATORS
from gatestack.convert.onnx_import.layers import LAYERS
from gatestack.convert.onnx_import.moves import MOVES
from gatestack.errors import ArgumentError, ModelFileError

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

N, T, C = 3, 5, 4


def file_of(path: Path, operator: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Path:
    """Write a graph of one node: the input x, or an array, for each place; None for a place left out."""
    helper = onnx.helper
    arrays = {f"c{place}": one for place, one in enumerate(inputs) if isinstance(one, np.ndarray)}
    names = [
        "x" if isinstance(one, str) else "" if one is None else f"c{place}"
        for place, one in enumerate(inputs)
    ]
    given = [f"y{number}" for number in range(outputs)]
    node = helper.make_node(operator, names, given, "node", **attributes)
    shown = given or ["x"]
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", 1, ["batch", "time", C])],
        [helper.make_value_info(name, onnx.TypeProto()) for name in shown],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    for output in graph.output:
        output.type.tensor_type.elem_type = 7 if operator == "TopK" and output.name == "y1" else 1
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def ints(*values: Any) -> np.ndarray:
    return np.array(values, np.int64)


PLACES = [
    ("TopK", ("x", ints(2)), {"outputs": 2, "axis": 1}),
    ("TopK", ("x", ints(5)), {"outputs": 2, "axis": -2, "largest": 0}),
    ("GatherND", ("x", ints([0, 1], [2, -1])), {}),
    ("GatherND", ("x", ints([1], [-2], [0])), {"batch_dims": 1}),
    ("GatherElements", ("x", ints([[0, 1, -1, 2]])), {"axis": 1}),
    ("ScatterElements", ("x", ints([[0, 1, -1, 2]]), np.full((1, 1, 4), 9, np.float32)), {"axis": 1}),
    ("ReverseSequence", ("x", ints(5, 0, 3)), {"batch_axis": 0, "time_axis": 1}),
    ("ReverseSequence", ("x", ints(3, 1, 2, 0, 3)), {"batch_axis": 1, "time_axis": 0}),
    ("ReduceProd", ("x",), {"axes": [0, 2], "keepdims": 0}),
    ("ReduceProd", ("x",), {}),
]


@pytest.mark.parametrize(("operator", "inputs", "options"), PLACES, ids=lambda one: str(one)[:24])
def test_an_operator_gives_what_onnx_runtime_gives(
    operator: str, inputs: tuple[Any, ...], options: dict[str, Any], tmp_path: Path
) -> None:
    path = file_of(tmp_path / "one.onnx", operator, *inputs, **options)
    x = np.random.default_rng(0).integers(-3, 4, (N, T, C)).astype(np.float32)  # with ties
    expected = runtime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    found = read_onnx(path).predict(x)
    for ours, theirs in zip(found if isinstance(found, tuple) else (found,), expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


EVERY = sorted({*OPERATORS, *LAYERS, *MOVES, "LSTM", "GRU", "RNN", "Constant", "Dropout", "Identity"})
ODD = [
    np.zeros(0, np.float32),
    np.array(np.inf, np.float32),
    ints(5, -1),
    np.array([[1, np.nan]], np.float32),
]


@pytest.mark.parametrize("operator", EVERY)
def test_a_node_that_does_not_fit_is_refused_by_its_name(operator: str, tmp_path: Path) -> None:
    """Too few inputs, no outputs, odd numbers: understood, or an error of ours that names the file."""
    path = tmp_path / "odd.onnx"
    said = refusal(file_of(path, operator)) + refusal(file_of(path, operator, "x", outputs=0))
    assert len(said) == 2 or operator == "Constant"
    for odd in ODD:
        for inputs, outputs in ((1, 1), (2, 1), (4, 2)):
            for first in ("x", odd):
                said += refusal(file_of(path, operator, *[first, *[odd] * 3][:inputs], outputs=outputs))
    assert said
    assert all("odd.onnx" in one for one in said)


def refusal(path: Path) -> list[str]:
    try:
        read_onnx(path)
    except ModelFileError as error:
        return [str(error)]
    return []


def test_a_product_of_constants_that_would_fill_the_memory_is_not_computed(tmp_path: Path) -> None:
    """48 kB twice would become 576 MB."""
    resource = pytest.importorskip("resource")

    def peak() -> int:
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024

    column = np.ones((12_000, 1), np.float32)
    path = file_of(tmp_path / "one.onnx", "MatMul", column, column.T)
    before = peak()
    assert [node.layer.kind for node in read_onnx(path).nodes] == ["constant", "constant", "operator"]
    assert peak() - before < 64 * 2**20


def test_numbers_that_python_cannot_compute_with_are_refused_by_the_operator() -> None:
    with pytest.raises(ArgumentError, match="Split"):
        computed("Split", [torch.zeros(4)], {"num_outputs": 0})
