"""Models of torch go through ONNX to Keras files, wherever Keras has a word for what they do."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gatestack.convert import Network, read_keras, read_onnx, write_keras
from gatestack.errors import ArgumentError

pytest.importorskip("onnx")
pytest.importorskip("h5py")

HEADS = ("every step", "mean", "last step", "last state")


class Model(nn.Module):
    """Two layers, and a product of what is read of them."""

    def __init__(self, cell: type[nn.RNNBase], two_ways: bool, head: str) -> None:
        super().__init__()
        self.layers = cell(4, 5, 2, batch_first=True, bidirectional=two_ways)
        self.out = nn.Linear(10 if two_ways else 5, 3)
        self.two_ways, self.head = two_ways, head

    def forward(self, x: Tensor) -> Tensor:
        y, final = self.layers(x)
        h = final[0] if isinstance(final, tuple) else final
        if self.head == "last state":
            return self.out(torch.cat([h[-2], h[-1]], 1) if self.two_ways else h[-1])
        if self.head == "mean":
            return self.out(y.mean(1))
        return self.out(y[:, -1] if self.head == "last step" else y)


def through_onnx(model: nn.Module, path: Path) -> Network:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, about batches and about itself
        torch.onnx.export(
            model.eval(),
            (torch.zeros(2, 6, 4),),
            path,
            dynamo=False,
            input_names=["x"],
            dynamic_axes={"x": {0: "batch", 1: "time"}},
        )
    return read_onnx(path)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("two_ways", [False, True])
@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
def test_a_model_of_torch_becomes_a_keras_file(
    cell: type[nn.RNNBase], two_ways: bool, head: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = Model(cell, two_ways, head)
    network = through_onnx(model, tmp_path / "m.onnx")
    kinds = [node.layer.kind for node in network.nodes]
    assert kinds.count("bidirectional" if two_ways else "recurrent") == 2
    if two_ways and head == "last step":
        # The backward layer's output of the last step is its first: Keras has no layer that takes it.
        with pytest.raises(ArgumentError, match="Keras has no layer for a 'take'"):
            write_keras(network, tmp_path / "m.keras")
        return
    write_keras(network, tmp_path / "m.keras")
    x = np.random.default_rng(0).standard_normal((3, 7, 4), np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(network.predict(x), expected, atol=1e-6)
    np.testing.assert_allclose(read_keras(tmp_path / "m.keras").predict(x), expected, atol=1e-6)


def test_what_somebody_else_reads_stays_as_it_is(tmp_path: Path) -> None:
    """Both directions apart, the steps and the last one, and states that are an output."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.two, self.one = (
                nn.LSTM(4, 5, bidirectional=True, batch_first=True),
                nn.GRU(10, 3, batch_first=True),
            )

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            y, (h, _) = self.two(x)
            z, end = self.one(y)
            return y, h, z, z[:, -1], end

    torch.manual_seed(0)
    model = Both()
    network = through_onnx(model, tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((3, 7, 4), np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(x))
    for ours, theirs in zip(network.predict(x), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)
