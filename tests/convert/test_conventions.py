"""Each row of docs/reference/conventions.md, asked of the libraries themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatestack.convert.layers import RecurrentLayer, RecurrentOptions, Signal
from gatestack.convert.onnx_import.recurrent import fill_direction
from gatestack.nn import GRU, LSTM

keras = pytest.importorskip("keras")
onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "conventions.md"
CLOSE = {"rtol": 1e-5, "atol": 1e-6}
N, T, C, H = 2, 4, 3, 2
X = np.random.default_rng(0).uniform(-1, 1, (N, T, C)).astype(np.float32)


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(-1, 1, shape).astype(np.float32)


def in_onnx(operator: str, arrays: dict[str, np.ndarray], **attributes: Any) -> list[np.ndarray]:
    """Run one node in ONNX Runtime on X."""
    helper = onnx.helper
    names = ["X", *(name if name in arrays else "" for name in ("W", "R", "B", "", "", "", "P"))]
    outputs = ["Y", "Y_h", "Y_c"][: 3 if operator == "LSTM" else 2]
    node = helper.make_node(
        operator, names[: 8 if operator == "LSTM" else 6], outputs, hidden_size=H, **attributes
    )
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("X", 1, [T, N, C])],
        [helper.make_value_info(name, helper.make_tensor_type_proto(1, None)) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": X.swapaxes(0, 1)})


def ours(cell: str, operator: str, arrays: dict[str, np.ndarray], **options: Any) -> list[np.ndarray]:
    """Run our layer on X with ONNX' weights."""
    layer = RecurrentLayer(
        RecurrentOptions(
            cell=cell, input_size=C, hidden_size=H, return_state=True, peepholes="P" in arrays, **options
        )
    )
    w, r, b, p = (arrays[name][0] if name in arrays else None for name in "WRBP")
    assert w is not None
    assert r is not None
    fill_direction(layer, operator, w, r, b, p)
    return [signal.value.detach().numpy() for signal in layer.run([Signal(torch.as_tensor(X))])]


def weights(gates: int) -> dict[str, np.ndarray]:
    return {"W": drawn(1, gates * H, C), "R": drawn(1, gates * H, H), "B": drawn(1, 2 * gates * H)}


def blocks(array: np.ndarray, order: str, wanted: str, axis: int) -> np.ndarray:
    """Put blocks, named by letters, into another order."""
    parts = dict(zip(order, np.split(array, len(order), axis=axis), strict=True))
    return np.concatenate([parts[name] for name in wanted], axis=axis)


def of_keras(layer: Any, order: str, wanted: str, module: torch.nn.RNNBase) -> None:
    """Give a module of torch the weights of a Keras layer."""
    kernel, recurrent, bias = layer.get_weights()
    two = np.zeros((2, bias.shape[-1]), np.float32)
    two[: bias.ndim] = bias
    arrays = {
        "weight_ih_l0": kernel.T,
        "weight_hh_l0": recurrent.T,
        "bias_ih_l0": two[0],
        "bias_hh_l0": two[1],
    }
    with torch.no_grad():
        for name, array in arrays.items():
            getattr(module, name).copy_(torch.as_tensor(blocks(array, order, wanted, 0)))


def keras_layer(kind: str, **options: Any) -> Any:
    layer = getattr(keras.layers, kind)(H, return_sequences=True, return_state=True, **options)
    layer.build(X.shape)
    layer.set_weights([drawn(*array.shape) for array in layer.get_weights()])
    return layer


def arrays_of(values: Any) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(value) for value in values]


def gate_order_lstm() -> None:
    layer, module = keras_layer("LSTM"), torch.nn.LSTM(C, H, batch_first=True)
    of_keras(layer, "ifco", "ifco", module)
    y = module(torch.as_tensor(X))[0]
    np.testing.assert_allclose(y.detach(), arrays_of(layer(X))[0], **CLOSE)
    gatestack = LSTM(H, C)
    gatestack.load_state_dict(module.state_dict())
    np.testing.assert_allclose(gatestack(torch.as_tensor(X))[0].detach(), y.detach(), **CLOSE)
    theirs = in_onnx("LSTM", weights(4))[0][:, 0].swapaxes(0, 1)
    np.testing.assert_allclose(ours("lstm", "LSTM", weights(4))[0], theirs, **CLOSE)
    moved = {name: blocks(array[0], "iofc", "ifco", 0) for name, array in weights(4).items() if name != "B"}
    with torch.no_grad():
        module.weight_ih_l0.copy_(torch.as_tensor(moved["W"]))
        module.weight_hh_l0.copy_(torch.as_tensor(moved["R"]))
        for name, half in zip(("bias_ih_l0", "bias_hh_l0"), np.split(weights(4)["B"][0], 2), strict=True):
            getattr(module, name).copy_(torch.as_tensor(blocks(half, "iofc", "ifco", 0)))
    np.testing.assert_allclose(module(torch.as_tensor(X))[0].detach(), theirs, **CLOSE)


def gate_order_gru() -> None:
    layer, module = keras_layer("GRU"), torch.nn.GRU(C, H, batch_first=True)
    kernel, recurrent, bias = layer.get_weights()
    arrays = {
        "weight_ih_l0": kernel.T,
        "weight_hh_l0": recurrent.T,
        "bias_ih_l0": bias[0],
        "bias_hh_l0": bias[1],
    }
    with torch.no_grad():
        for name, array in arrays.items():
            getattr(module, name).copy_(torch.as_tensor(blocks(array, "zrh", "rzh", 0)))
    y = module(torch.as_tensor(X))[0]
    np.testing.assert_allclose(y.detach(), arrays_of(layer(X))[0], **CLOSE)
    gatestack = GRU(H, C)
    gatestack.load_state_dict(module.state_dict())
    np.testing.assert_allclose(gatestack(torch.as_tensor(X))[0].detach(), y.detach(), **CLOSE)
    theirs = in_onnx("GRU", weights(3), linear_before_reset=1)[0][:, 0].swapaxes(0, 1)
    np.testing.assert_allclose(ours("gru", "GRU", weights(3))[0], theirs, **CLOSE)


def bias() -> None:
    assert keras_layer("LSTM").get_weights()[2].shape == (4 * H,)
    assert keras_layer("GRU").get_weights()[2].shape == (2, 3 * H)
    assert keras_layer("GRU", reset_after=False).get_weights()[2].shape == (3 * H,)
    assert torch.nn.LSTM(C, H).bias_hh_l0.shape == LSTM(H, C).bias_hh_l0.shape == (4 * H,)
    for halves in (weights(3), weights(3) | {"B": np.roll(weights(3)["B"], 3 * H, axis=1)}):
        theirs = in_onnx("GRU", halves, linear_before_reset=1)[0][:, 0].swapaxes(0, 1)
        np.testing.assert_allclose(ours("gru", "GRU", halves)[0], theirs, **CLOSE)


def weight_shape() -> None:
    assert torch.nn.LSTM(C, H).weight_ih_l0.shape == LSTM(H, C).weight_ih_l0.shape == (4 * H, C)
    assert keras_layer("LSTM").get_weights()[0].shape == (C, 4 * H)
    assert weights(4)["W"].shape == (1, 4 * H, C)
    in_onnx("LSTM", weights(4))


def state_order() -> None:
    y, h, c = arrays_of(keras_layer("LSTM")(X))
    assert h.shape == c.shape == (N, H)
    np.testing.assert_array_equal(y[:, -1], h)
    for module in (torch.nn.LSTM(C, H, batch_first=True), LSTM(H, C)):
        out, (last, cell) = module(torch.as_tensor(X))
        assert last.shape == cell.shape == (1, N, H)
        assert torch.equal(out[:, -1], last[0])
    y, h, c = in_onnx("LSTM", weights(4))
    assert h.shape == c.shape == (1, N, H)
    np.testing.assert_array_equal(y[-1], h)
    np.testing.assert_allclose(ours("lstm", "LSTM", weights(4))[2], c[0], **CLOSE)


def reset_gate() -> None:
    before = in_onnx("GRU", weights(3))[0][:, 0].swapaxes(0, 1)
    after = in_onnx("GRU", weights(3), linear_before_reset=1)[0][:, 0].swapaxes(0, 1)
    assert not np.allclose(before, after)
    np.testing.assert_allclose(ours("gru", "GRU", weights(3), reset="before")[0], before, **CLOSE)
    np.testing.assert_allclose(ours("gru", "GRU", weights(3), reset="after")[0], after, **CLOSE)
    assert keras.layers.GRU(H).reset_after


def second_direction() -> None:
    names = set(torch.nn.LSTM(C, H, bidirectional=True).state_dict())
    assert names == set(LSTM(H, C, bidirectional=True).state_dict())
    assert "weight_ih_l0_reverse" in names
    both = keras.layers.Bidirectional(keras.layers.LSTM(H))
    assert (both.forward_layer.go_backwards, both.backward_layer.go_backwards) == (False, True)
    forward, backward = weights(4), {name: -array for name, array in weights(4).items()}
    pair = {name: np.concatenate([forward[name], backward[name]]) for name in forward}
    y = in_onnx("LSTM", pair, direction="bidirectional")[0]
    np.testing.assert_allclose(y[:, 0], in_onnx("LSTM", forward)[0][:, 0], **CLOSE)
    np.testing.assert_allclose(y[:, 1], in_onnx("LSTM", backward, direction="reverse")[0][:, 0], **CLOSE)


def output_of_a_reversed_layer() -> None:
    y, h, _ = arrays_of(keras_layer("LSTM", go_backwards=True)(X))
    np.testing.assert_array_equal(y[:, -1], h)
    y, h, _ = in_onnx("LSTM", weights(4), direction="reverse")
    np.testing.assert_array_equal(y[0], h)
    found = ours("lstm", "LSTM", weights(4), reversed=True, reversed_output="time")
    np.testing.assert_allclose(found[0], y[:, 0].swapaxes(0, 1), **CLOSE)
    found = ours("lstm", "LSTM", weights(4), reversed=True)
    np.testing.assert_array_equal(found[0][:, -1], found[1])
    out, (last, _) = torch.nn.LSTM(C, H, bidirectional=True, batch_first=True)(torch.as_tensor(X))
    assert torch.equal(out[:, 0, H:], last[1])


def peephole_order() -> None:
    theirs = in_onnx("LSTM", weights(4) | {"P": drawn(1, 3 * H)})[0][:, 0].swapaxes(0, 1)
    np.testing.assert_allclose(ours("lstm", "LSTM", weights(4) | {"P": drawn(1, 3 * H)})[0], theirs, **CLOSE)
    wrong = blocks(drawn(1, 3 * H), "iof", "ifo", 1)
    assert not np.allclose(ours("lstm", "LSTM", weights(4) | {"P": wrong})[0], theirs)


CHECKS: dict[str, Callable[[], None]] = {
    "gate order, LSTM": gate_order_lstm,
    "gate order, GRU": gate_order_gru,
    "bias": bias,
    "weight shape": weight_shape,
    "state order": state_order,
    "reset gate": reset_gate,
    "second direction": second_direction,
    "output of a reversed layer": output_of_a_reversed_layer,
    "peephole order": peephole_order,
}


def test_every_row_has_its_test() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    rows = [line.split("|")[1].strip() for line in lines[1:]]
    assert rows == list(CHECKS)


@pytest.mark.parametrize("row", CHECKS)
def test_a_row(row: str) -> None:
    CHECKS[row]()
