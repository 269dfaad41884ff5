"""A layer in a graph of its own, run by ONNX Runtime and by torch on the same numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from gatestack.convert.onnx.builder import GraphBuilder
from gatestack.convert.onnx.dispatch import Leaf, mapped, state_leaves
from gatestack.convert.onnx.emit import emit_sequence_layer

TOLERANCE = 3e-5  # float32, weights of about 0.5, up to 12 steps and 3 layers


def session(model: Any) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    content = model if isinstance(model, bytes | str) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def leaves(tree: Any) -> Iterator[Any]:
    """Give what a nested tuple holds, from left to right."""
    if isinstance(tree, tuple):
        for part in tree:
            yield from leaves(part)
    else:
        yield tree


def nested(tree: Any, values: Iterator[Any]) -> Any:
    """Nest values as a tree is nested."""
    return tuple(nested(part, values) for part in tree) if isinstance(tree, tuple) else next(values)


def shake(layer: nn.Module, scale: float = 0.5) -> nn.Module:
    """Give every parameter random numbers: biases, gains and peepholes start at zero or one."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape) * scale)
    return layer.eval()


@dataclass
class LayerRun:
    """A layer, and the session of its graph."""

    layer: nn.Module
    size: int
    steps: str = "lengths"
    int8: bool = False

    def __post_init__(self) -> None:
        b = GraphBuilder(int8=self.int8)
        x = b.input("x", "float32", ("batch", "time", self.size))
        kind, shape = ("bool", ("batch", "time")) if self.steps == "mask" else ("int64", ("batch",))
        real = b.input(self.steps, kind, shape)
        self.tree = state_leaves(self.layer)
        given = mapped(self.tree, None, lambda leaf, _: b.input(leaf.name, "float32", leaf.shape))
        output, state = emit_sequence_layer(b, self.layer, x, state=given, **{self.steps: real})
        features = (self.layer.output_size,)
        b.output(
            output, "y", ("batch", "time", *features) if self.layer.return_sequences else ("batch", *features)
        )
        for leaf, value in zip(leaves(self.tree), leaves(state), strict=True):
            b.output(value, leaf.name + "_out", leaf.shape)
        self.session = session(b.model())

    def draw(self, rows: int, time: int) -> tuple[Tensor, list[Tensor]]:
        """Draw an input and a state."""

        def drawn(leaf: Leaf) -> Tensor:
            return torch.randn([rows if size == "batch" else size for size in leaf.shape])

        return torch.randn(rows, time, self.size), [drawn(leaf) for leaf in leaves(self.tree)]

    def by_torch(self, x: Tensor, states: Sequence[Tensor], real: Any) -> list[np.ndarray]:
        with torch.no_grad():
            y, final = self.layer(x, nested(self.tree, iter(states)), **{self.steps: real})
        return [part.numpy() for part in (y, *leaves(final))]

    def by_onnx(self, x: Tensor, states: Sequence[Tensor], real: Any) -> list[np.ndarray]:
        feed = {"x": x.numpy(), self.steps: real.numpy()}
        feed |= {leaf.name: part.numpy() for leaf, part in zip(leaves(self.tree), states, strict=True)}
        return self.session.run(None, feed)

    def difference(self, rows: int, time: int, real: Tensor) -> float:
        """Give the largest difference over all outputs, after their shapes were compared."""
        x, states = self.draw(rows, time)
        largest = 0.0
        for wanted, found in zip(self.by_torch(x, states, real), self.by_onnx(x, states, real), strict=True):
            assert wanted.shape == found.shape
            assert np.isfinite(wanted).all()
            largest = max(largest, float(np.abs(wanted - found).max(initial=0.0)))
        return largest
