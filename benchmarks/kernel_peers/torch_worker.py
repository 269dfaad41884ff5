"""Runs the cases of the kernel table on PyTorch's own layers, as they stand or through `torch.compile`.

Time-major tensors, which torch's operators take without a transposition; `inference_mode` for inference,
oneDNN as torch has it by default; a ragged batch as a PackedSequence, packing and unpacking included, as a
user has to.
"""

from __future__ import annotations

import sys
import time
from typing import Any

START = time.perf_counter()

import numpy as np  # noqa: E402 (the time of the imports is a result)
import torch  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: E402
from worker_io import Arrays, UnsupportedError, load_weights, serve  # noqa: E402

IMPORT_S = time.perf_counter() - START
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class TorchRunner:
    """A `torch.nn.LSTM` or `GRU` and its inputs."""

    def __init__(self, case: dict[str, Any], options: dict[str, Any], arrays: Arrays) -> None:
        self.mode = case["mode"]
        dtype = DTYPES[case["dtype"]]
        kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[case["cell"]]
        sizes = (case["input_size"], case["hidden_size"], case["layers"])
        self.model = kind(*sizes, bidirectional=case["directions"] == 2)
        self.model.load_state_dict({n: torch.from_numpy(a) for n, a in load_weights(arrays).items()})
        self.model.to(dtype)
        self.x = torch.from_numpy(arrays["x"]).to(dtype).transpose(0, 1).contiguous()  # -> (T, N, C)
        self.lengths = torch.from_numpy(arrays["lengths"]) if case["ragged"] else None
        self.state: Any = None
        if self.mode == "train":
            self.grad = torch.from_numpy(arrays["grad_y"]).to(dtype).transpose(0, 1).contiguous()
            self.x.requires_grad_(True)
            self.wanted = [self.x, *self.model.parameters()]
        else:
            self.model.eval()
        if self.mode == "step":
            self.state = tuple(torch.from_numpy(arrays[name]).to(dtype) for name in ("h0", "c0"))
        self.run = self._forward
        if options.get("compile"):
            # Otherwise dynamo leaves nn.LSTM to eager mode, and nothing would be compiled.
            torch._dynamo.config.allow_rnn = True
            self.run = torch.compile(self._forward)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.lengths is None:
            return self.model(x, self.state)[0]
        packed = pack_padded_sequence(x, self.lengths, enforce_sorted=False)
        return pad_packed_sequence(self.model(packed)[0], total_length=x.shape[0])[0]

    def forward(self, steps: int | None = None) -> torch.Tensor:
        return self.run(self.x if steps is None else self.x[:steps])

    def gradients(self, y: torch.Tensor, steps: int | None = None) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(y, self.wanted, self.grad if steps is None else self.grad[:steps])

    def call(self, steps: int | None = None) -> tuple[torch.Tensor, ...]:
        if self.mode == "train":
            y = self.forward(steps)
            return (y, *self.gradients(y, steps))
        if self.mode == "eval_grad":
            return (self.forward(steps),)
        with torch.inference_mode():
            return (self.forward(steps),)

    def answers(self) -> Arrays:
        y, *gradients = self.call()
        found = {"y": y.transpose(0, 1)}
        if gradients:
            found["grad_x"] = gradients[0].transpose(0, 1)
            names = [name for name, _ in self.model.named_parameters()]
            found |= {f"grad_{name}": g for name, g in zip(names, gradients[1:], strict=True)}
        return {name: np.asarray(tensor.detach().float()) for name, tensor in found.items()}


def make(case: dict[str, Any], options: dict[str, Any], arrays: Arrays) -> TorchRunner:
    """A runner for one case."""
    if case["cell"] not in ("lstm", "gru"):
        raise UnsupportedError(f"torch has no {case['cell']}")
    return TorchRunner(case, options, arrays)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    serve(make, ["torch"], IMPORT_S, {"oneDNN": "on" if torch.backends.mkldnn.enabled else "off"})
