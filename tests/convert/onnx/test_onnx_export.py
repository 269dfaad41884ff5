"""Exported files: replayed before they are written, never over another file, smaller with int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from layer_runs import session, shake

from gatestack import nn
from gatestack.convert.onnx import export as module
from gatestack.convert.onnx.builder import GraphBuilder
from gatestack.convert.onnx.export import export_onnx
from gatestack.convert.onnx.parts import OnnxParts
from gatestack.convert.proof import ProofVector, read_proof
from gatestack.errors import ArgumentError


def listing(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_an_export_names_inputs_states_and_outputs(tmp_path: Path) -> None:
    stack = shake(nn.Stack(nn.LSTM(5, bidirectional=True), nn.GRU(4, return_sequences=False), input_size=3))
    exported = export_onnx(stack, tmp_path / "new" / "stack.onnx")
    assert listing(tmp_path / "new") == ["stack.onnx", "stack.onnx.proof.safetensors"]
    assert exported.file_bytes == exported.path.stat().st_size
    model = onnx.load(exported.path)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "x": ["batch", "time", 3],
        "lengths": ["batch"],
        "h_in_l0": [2, "batch", 5],
        "c_in_l0": [2, "batch", 5],
        "h_in_l1": [1, "batch", 4],
        "y": ["batch", 4],
        "h_out_l0": [2, "batch", 5],
        "c_out_l0": [2, "batch", 5],
        "h_out_l1": [1, "batch", 4],
    }
    assert set(exported.differences) == {"y", "h_out_l0", "c_out_l0", "h_out_l1"}
    assert all(0 <= found.share < 1 for found in exported.differences.values())


def test_equal_layers_give_equal_files(tmp_path: Path) -> None:
    layer = shake(nn.GRU(4, 2))
    contents = [
        (one.path.read_bytes(), one.proof.read_bytes())
        for one in (export_onnx(layer, tmp_path / f"{name}.onnx") for name in "ab")
    ]
    assert contents[0] == contents[1]


def test_the_layer_is_left_as_it_was(tmp_path: Path) -> None:
    layer = nn.LSTM(4, 2, regularisation=nn.Regularisation(recurrent_dropout=0.5)).train()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    export_onnx(layer, tmp_path / "a.onnx")
    assert layer.training
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    layer, target = nn.GRU(4, 2), tmp_path / "a.onnx"
    target.write_bytes(b"mine")
    with pytest.raises(ArgumentError, match="exists already"):
        export_onnx(layer, target)
    assert listing(tmp_path) == ["a.onnx"]
    assert target.read_bytes() == b"mine"
    export_onnx(layer, target, overwrite=True)
    assert listing(tmp_path) == ["a.onnx", "a.onnx.proof.safetensors"]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.LSTM(4), "build it"),
        (nn.LSTM(4, 2).double(), "expected float32"),
        (torch.nn.Linear(2, 2), "expected a layer of gatestack.nn"),
    ],
)
def test_what_cannot_be_exported_is_refused(tmp_path: Path, layer: torch.nn.Module, expected: str) -> None:
    with pytest.raises(ArgumentError, match=expected):
        export_onnx(layer, tmp_path / "a.onnx")
    assert listing(tmp_path) == []


class Model:
    """An estimator with a graph of its own."""

    def __init__(self, vectors: list[ProofVector], *, frozen: bool = False, wrong: float = 0.0) -> None:
        self.vectors, self.frozen, self.wrong = vectors, frozen, wrong

    def _to_onnx(self, b: GraphBuilder) -> OnnxParts:
        x = b.input("x", "float32", ("batch", "time"))
        y = b.op("Add", x, b.number(1 + self.wrong))
        if self.frozen:
            # Shape inference cannot see this: the number comes out of an operator.
            y = b.op("Slice", y, b.ints(0), b.op("Add", b.ints(3), b.ints(2)), b.ints(1))
        b.output(y, "y", ("batch", "time"))
        return OnnxParts(self.vectors)


def vectors(*shapes: tuple[int, int]) -> list[ProofVector]:
    draw = np.random.default_rng(0)
    inputs = [draw.normal(size=shape).astype(np.float32) for shape in shapes]
    return [ProofVector({"x": x}, {"y": x + np.float32(1)}) for x in inputs]


def test_a_frozen_length_is_refused_by_its_replay(tmp_path: Path) -> None:
    export_onnx(Model(vectors((1, 1), (2, 7))), tmp_path / "open.onnx")
    with pytest.raises(ArgumentError, match=r"ONNX Runtime's 'y' differs"):
        export_onnx(Model(vectors((1, 1), (2, 7)), frozen=True), tmp_path / "frozen.onnx")
    assert listing(tmp_path) == ["open.onnx", "open.onnx.proof.safetensors"]


def test_a_wrong_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"'y' differs from the model's by 0\.001"):
        export_onnx(Model(vectors((1, 1), (2, 7)), wrong=1e-3), tmp_path / "a.onnx")
    assert listing(tmp_path) == []


@pytest.mark.parametrize("shapes", [((1, 1),), ((1, 1), (1, 5)), ((2, 1), (3, 5)), ((1, 3), (4, 5))])
def test_vectors_that_could_not_show_a_frozen_axis_are_refused(
    tmp_path: Path, shapes: tuple[tuple[int, int], ...]
) -> None:
    with pytest.raises(ArgumentError, match="a frozen axis would not show"):
        export_onnx(Model(vectors(*shapes)), tmp_path / "a.onnx")


def test_int8_shrinks_the_file_and_says_what_it_costs(tmp_path: Path) -> None:
    layer = shake(nn.Stack(nn.LSTM(48), nn.GRU(48), input_size=8), 0.1)
    plain = export_onnx(layer, tmp_path / "plain.onnx")
    small = export_onnx(layer, tmp_path / "small.onnx", int8=True)
    assert small.plain_bytes == plain.file_bytes
    assert small.file_bytes < 0.35 * plain.file_bytes
    for name, lost in small.differences.items():
        assert plain.differences[name].largest < lost.largest < 0.05
        assert 0 < lost.mean < lost.largest
    proof = read_proof(small.path)
    assert all(one.exact.keys() == one.outputs.keys() for one in proof.vectors)


def test_int8_weights_are_within_half_a_step_of_their_row(tmp_path: Path) -> None:
    layer = shake(nn.LSTM(32, 16), 0.3)
    with torch.no_grad():
        layer.weight_hh_l0[5] *= 100  # a scale for the whole matrix would round the other rows to nothing
    path = export_onnx(layer, tmp_path / "a.onnx", int8=True).path
    model = onnx.load(path)
    kept = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    rows = np.concatenate(
        [layer.weight_hh_l0.detach().numpy()[32 * gate : 32 * gate + 32] for gate in (0, 3, 1, 2)]
    )
    assert kept["R"].dtype == np.int8
    assert kept["B"].dtype == np.float32
    gaps = np.abs(kept["R"] * kept["R_scale"][:, None] - rows)
    assert (gaps <= np.abs(rows).max(axis=1, keepdims=True) / 254 * 1.001).all()


def test_int8_without_a_large_weight_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="too small to gain"):
        export_onnx(nn.GRU(3, 2), tmp_path / "a.onnx", int8=True)
    assert listing(tmp_path) == []


def test_scores_are_taken_with_and_without_int8(tmp_path: Path) -> None:
    class Scored(Model):
        def _to_onnx(self, b: GraphBuilder) -> OnnxParts:
            x = b.input("x", "float32", ("batch", 64))
            b.output(b.op("MatMul", x, b.matrix("w", np.eye(64) + np.linspace(0, 1, 64))), "y", ("batch", 64))
            parts = [np.ones((rows, 64), np.float32) for rows in (1, 3)]
            w = (np.eye(64) + np.linspace(0, 1, 64)).astype(np.float32).T
            return OnnxParts(
                [ProofVector({"x": part}, {"y": part @ w}) for part in parts],
                score=lambda run: {"mae": float(np.abs(run({"x": parts[0]})["y"] - parts[0] @ w).mean())},
            )

    small = export_onnx(Scored([]), tmp_path / "a.onnx", int8=True)
    assert small.plain_scores["mae"] < 1e-4 < small.scores["mae"]


def test_trained_initial_states_are_for_fresh_rows(tmp_path: Path) -> None:
    layer = shake(nn.LSTM(4, 3, initial_state="trained", bidirectional=True))
    run = session(str(export_onnx(layer, tmp_path / "a.onnx").path))
    x = torch.randn(2, 5, 3)
    zeros = np.zeros((2, 2, 4), np.float32)
    feed = {"x": x.numpy(), "lengths": np.array([5, 3]), "h_in": zeros, "c_in": zeros}
    with torch.no_grad():
        started = layer(x, lengths=[5, 3])[0].numpy()
        from_zero = layer(x, (torch.zeros(2, 2, 4), torch.zeros(2, 2, 4)), lengths=[5, 3])[0].numpy()
    (y, *_) = run.run(None, feed | {"fresh": np.array([True, False])})
    np.testing.assert_allclose(y[0], started[0], atol=1e-5)
    np.testing.assert_allclose(y[1], from_zero[1], atol=1e-5)
    assert np.abs(started - from_zero).max() > 1e-2


def test_a_model_larger_than_protobuf_can_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_MODEL_BYTES", 1000)
    with pytest.raises(ArgumentError, match="expected less than 1000"):
        export_onnx(nn.GRU(8, 8), tmp_path / "a.onnx")
