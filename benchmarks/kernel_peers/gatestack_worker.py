"""Runs the cases of the kernel table on Gatestack's layers.

Batch-first tensors, as the layers take them; for one step and for streams the step handle.
"""

from __future__ import annotations

import sys
import time
from typing import Any

START = time.perf_counter()

import numpy as np  # noqa: E402 (the time of the imports is a result)
import torch  # noqa: E402
from worker_io import Arrays, load_weights, serve  # noqa: E402

from gatestack.nn import GRU, LSTM, Stack  # noqa: E402

IMPORT_S = time.perf_counter() - START
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def build(case: dict[str, Any], weights: Arrays) -> Stack:
    """The stack, with torch's weights."""
    kind = {"lstm": LSTM, "gru": GRU}[case["cell"]]
    layers = [kind(case["hidden_size"], bidirectional=case["directions"] == 2) for _ in range(case["layers"])]
    stack = Stack(*layers, input_size=case["input_size"])
    stack.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return stack


class GatestackRunner:
    """A `Stack` and its inputs."""

    def __init__(self, case: dict[str, Any], options: dict[str, Any], arrays: Arrays) -> None:  # noqa: ARG002
        self.mode = case["mode"]
        dtype = DTYPES[case["dtype"]]
        self.stack = build(case, load_weights(arrays)).to(dtype)
        self.x = torch.from_numpy(arrays["x"]).to(dtype)
        self.lengths = torch.from_numpy(arrays["lengths"]) if case["ragged"] else None
        self.state: Any = None
        if self.mode == "train":
            self.grad = torch.from_numpy(arrays["grad_y"]).to(dtype)
            self.x.requires_grad_(True)
            self.wanted = [self.x, *self.stack.parameters()]
        else:
            self.stack.eval()
        if self.mode == "step":
            h0, c0 = (torch.from_numpy(arrays[name]).to(dtype) for name in ("h0", "c0"))
            self.state = [(h0[n : n + 1], c0[n : n + 1]) for n in range(case["layers"])]

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.stack(x, self.state, lengths=self.lengths)[0]

    def _results(self, steps: int | None) -> tuple[torch.Tensor, ...]:
        x = self.x if steps is None else self.x[:, :steps]
        if self.mode == "train":
            y = self._forward(x)
            grad = self.grad if steps is None else self.grad[:, :steps]
            return (y, *torch.autograd.grad(y, self.wanted, grad))
        if self.mode == "eval_grad":
            return (self._forward(x),)
        with torch.inference_mode():
            return (self._forward(x),)

    def call(self, steps: int | None = None) -> object:
        return self._results(steps)

    def answers(self) -> Arrays:
        y, *gradients = self._results(None)
        found = {"y": y}
        if gradients:
            found["grad_x"] = gradients[0]
            for (name, _), gradient in zip(self.stack.named_parameters(), gradients[1:], strict=True):
                _, layer, own = name.split(".")
                found["grad_" + own.replace("_l0", f"_l{layer}")] = gradient
        return {name: np.asarray(tensor.detach().float()) for name, tensor in found.items()}


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    serve(GatestackRunner, ["gatestack", "torch"], IMPORT_S, lambda: {"threads": torch.get_num_threads()})
