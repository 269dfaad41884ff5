"""What Gatestack exports comes back as the same layers with the same weights."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from layer_runs import session, shake
from test_onnx_parity import KINDS

from gatestack import nn
from gatestack.convert import Network, export_onnx, read_onnx
from gatestack.convert.onnx.described import KEY
from gatestack.convert.own.layer_data import layer_to_data
from gatestack.convert.proof import compare_answers, read_proof
from gatestack.errors import ArgumentError, ModelFileError


def drawn(seed: int) -> nn.SequenceLayer:
    draw = random.Random(seed)
    torch.manual_seed(seed)
    layer = KINDS[seed % len(KINDS)](draw).build(3)
    with torch.no_grad():
        layer(torch.zeros(1, 1, 3, *[6] * getattr(layer, "dimensions", 0)))
    if isinstance(layer, nn.Stateful):
        layer.reset()
    shake(layer, 0.4)
    return layer


def answered(network: Network, path: Path) -> float:
    """Replay the proof of a file in the network that was read -> the largest share of what is allowed."""
    vectors = read_proof(path).vectors
    names = [output.name for output in onnx.load(path).graph.output]
    answers = []
    for vector in vectors:
        found = network.predict(*[vector.inputs[port.name] for port in network.inputs])
        answers.append(dict(zip(names, found if isinstance(found, tuple) else (found,), strict=True)))
    calls, expected = [one.inputs for one in vectors], [one.outputs for one in vectors]
    return max(one.share for one in compare_answers(expected, answers, 1e-5, calls=calls).values())


@pytest.mark.parametrize(
    "seed", [*range(17), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(17, 136))]
)
def test_a_drawn_layer_comes_back(seed: int, tmp_path: Path) -> None:
    layer = drawn(seed)
    exported = export_onnx(layer, tmp_path / "layer.onnx")
    network = read_onnx(exported.path)
    bare = layer.layer if isinstance(layer, nn.Stateful) else layer
    (node,) = network.nodes
    assert layer_to_data(node.layer.inner) == layer_to_data(bare)
    assert answered(network, exported.path) < 1
    network.save(tmp_path / "folder")
    assert answered(Network.load(tmp_path / "folder"), exported.path) < 1
    again = export_onnx(network, tmp_path / "again.onnx")
    assert read_onnx(again.path).to_data()[0] == network.to_data()[0]


@pytest.mark.parametrize(
    "layer",
    [
        nn.LSTM(24, 20, form=nn.LSTMForm(projection_size=16), bidirectional=True),
        nn.ConvLSTM2D(8, 3, 8, form=nn.ConvLSTMForm(peepholes="positions")).build(8, (6, 5)),
        nn.Stack(nn.GRU(24, layer_norm=True), nn.LSTM(24), residual=True, input_size=24),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_weights_of_eight_bits_come_back_as_they_were_rounded(layer: Any, tmp_path: Path) -> None:
    exported = export_onnx(shake(layer, 0.4), tmp_path / "layer.onnx", int8=True)
    network = read_onnx(exported.path)
    assert [node.layer.kind for node in network.nodes] == ["own"]
    assert answered(network, exported.path) < 1  # the answers of the rounded graph


def test_many_weights_are_told_apart(tmp_path: Path) -> None:
    """More than the first digit of their numbers holds."""
    torch.manual_seed(0)
    layer = nn.LSTM(400, 300, form=nn.LSTMForm(layer_norm=True)).eval()
    assert sum(one.numel() for one in layer.parameters()) > 2**20
    exported = export_onnx(layer, tmp_path / "layer.onnx")
    weights = read_onnx(exported.path).nodes[0].layer.inner.state_dict()
    for name, tensor in layer.state_dict().items():
        assert torch.equal(weights[name], tensor), name


def changed_model(path: Path, change: Callable[[Any], None]) -> Path:
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def exported_projection(folder: Path) -> Path:
    layer = shake(nn.LSTM(6, 3, form=nn.LSTMForm(projection_size=4)), 0.4)
    return export_onnx(layer, folder / "layer.onnx").path


def test_the_weights_of_the_graph_count(tmp_path: Path) -> None:
    """A weight that another tool has changed comes back changed, as ONNX Runtime has it."""
    path = exported_projection(tmp_path)

    def change(model: Any) -> None:
        for tensor in model.graph.initializer:
            if tensor.name == "weight_hr":
                array = onnx.numpy_helper.to_array(tensor) * np.float32(2)
                tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))

    vectors = read_proof(path).vectors
    run = session(str(changed_model(path, change)))
    network = read_onnx(path)
    for vector in vectors:
        expected = run.run(None, dict(vector.inputs))
        found = network.predict(*[vector.inputs[port.name] for port in network.inputs])
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert answered(network, path) > 1


def another_function(model: Any) -> None:
    scan = next(node for node in model.graph.node if node.op_type == "Scan")
    body = scan.attribute[0].g if scan.attribute[0].HasField("g") else scan.attribute[1].g
    next(node for node in body.node if node.op_type == "Tanh").op_type = "Sigmoid"


def another_input(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].ClearField("value")
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7


def said(**values: Any) -> Callable[[Any], None]:
    """Make a change of the description."""
    import json

    def apply(model: Any) -> None:
        (entry,) = [one for one in model.metadata_props if one.key == KEY]
        text = json.loads(entry.value) | values
        entry.value = json.dumps(text) if "raw" not in values else values["raw"]

    return apply


def claimed(size: int) -> Callable[[Any], None]:
    def apply(model: Any) -> None:
        (entry,) = [one for one in model.metadata_props if one.key == KEY]
        entry.value = entry.value.replace('"hidden_size":6', f'"hidden_size":{size}')

    return apply


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (another_function, "other operators"),
        (another_input, "other operators"),
        (said(format=7), "of format 7"),
        (said(graph="network"), "other operators"),
        (said(network={}), "Field required"),
        (said(raw="{"), "not JSON"),
        (said(raw="[" * 100), "nested"),
        (claimed(7), "other operators"),
        (claimed(10**6), "claims"),
        (claimed(2**31), "claims"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_graph_that_is_not_what_it_says_is_not_believed(
    change: Callable[[Any], None], reason: str, tmp_path: Path
) -> None:
    path = changed_model(exported_projection(tmp_path), change)
    with pytest.raises(ModelFileError, match=r"node 'Scan.*' \(Scan\): .* is a graph") as error:
        read_onnx(path)
    assert error.value.hint is not None
    assert error.value.hint.startswith("Gatestack exported it, but not as it is: ")
    assert reason in error.value.hint


def test_a_loop_of_somebody_else_is_refused_with_what_to_do(tmp_path: Path) -> None:
    def bare(model: Any) -> None:
        del model.metadata_props[:]

    path = changed_model(exported_projection(tmp_path), bare)
    with pytest.raises(ModelFileError, match=r"\(Scan\)(.|\n)*hint: export the recurrent layers as LSTM"):
        read_onnx(path)


def test_a_layer_of_somebody_else_cannot_be_described() -> None:
    with pytest.raises(ArgumentError, match="a layer of the class Bilinear"):
        layer_to_data(nn.PerStep(torch.nn.Bilinear(2, 2, 2)))
