"""Runs the cases of the kernel table on Gatestack's layers.

Batch-first tensors, as the layers take them. Options of a contender: `layer_norm`, `recurrent_dropout`,
`zoneout` (of h and of c), `recompute` for `run_stack` with recomputed gates, and `handle` for `StackStepper`.
"""

from __future__ import annotations

import copy
import sys
import time
from typing import Any

START = time.perf_counter()

import numpy as np  # noqa: E402 (the time of the imports is a result)
import torch  # noqa: E402
from worker_io import Arrays, UnsupportedError, load_weights, serve  # noqa: E402

from gatestack.kernels import library  # noqa: E402
from gatestack.kernels.backend import choose_backend, use_backend  # noqa: E402
from gatestack.kernels.recurrent import run_stack  # noqa: E402
from gatestack.kernels.spec import DirectionWeights, LayerSpec, StackSpec  # noqa: E402
from gatestack.nn import GRU, LSTM, LSTMForm, Regularisation, Stack  # noqa: E402

IMPORT_S = time.perf_counter() - START
WEIGHT_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def build(case: dict[str, Any], options: dict[str, Any], weights: Arrays) -> Stack:
    """The stack, with torch's weights; what layer norm has beyond them keeps its start."""
    settings: dict[str, Any] = {"bidirectional": case["directions"] == 2}
    if options.get("layer_norm"):
        settings["form"] = LSTMForm(layer_norm=True)
    if "recurrent_dropout" in options or "zoneout" in options:
        zoneout = options.get("zoneout", 0.0)
        settings["regularisation"] = Regularisation(
            recurrent_dropout=options.get("recurrent_dropout", 0.0),
            zoneout_hidden=zoneout,
            zoneout_cell=zoneout,
        )
    kind = {"lstm": LSTM, "gru": GRU}[case["cell"]]
    layers = [kind(case["hidden_size"], **settings) for _ in range(case["layers"])]
    stack = Stack(*layers, input_size=case["input_size"])
    tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    stack.load_state_dict(tensors, strict="form" not in settings)
    return stack


class GatestackRunner:
    """A `Stack` and its inputs."""

    def __init__(self, case: dict[str, Any], options: dict[str, Any], arrays: Arrays) -> None:
        self.mode = case["mode"]
        dtype = DTYPES[case["dtype"]]
        self.stack = build(case, options, load_weights(arrays)).to(dtype)
        self.x = torch.from_numpy(arrays["x"]).to(dtype)
        self.lengths = torch.from_numpy(arrays["lengths"]) if case["ragged"] else None
        self.recompute = bool(options.get("recompute"))
        # The table's truth is that of plain layers: what has other options brings its own.
        self.brings_truth = bool(options) and not self.recompute
        self.state: Any = None
        if self.mode == "train":
            self.grad = torch.from_numpy(arrays["grad_y"]).to(dtype)
            self.x.requires_grad_(True)
        else:
            self.stack.eval()
        self.wanted = [self.x, *self.stack.parameters()]
        if self.mode == "step":
            h0, c0 = (torch.from_numpy(arrays[name]).to(dtype) for name in ("h0", "c0"))
            self.state = [(h0[n : n + 1], c0[n : n + 1]) for n in range(case["layers"])]

    def forward(self, steps: int | None = None) -> torch.Tensor:
        x = self.x if steps is None else self.x[:, :steps]
        if self.recompute:
            return self._recomputed(x)
        return self.stack(x, self.state, lengths=self.lengths)[0]

    def _recomputed(self, x: torch.Tensor) -> torch.Tensor:
        """The same through the kernels' seam, which alone has this choice."""
        specs, weights = [], []
        for layer in self.stack.layers:
            specs.append(LayerSpec("lstm", layer.input_size, layer.hidden_size))
            weights.append([DirectionWeights(*(getattr(layer, f"{name}_l0") for name in WEIGHT_NAMES))])
        states = [None] * len(specs)
        return run_stack(StackSpec(tuple(specs)), x, states, weights, training=True, recompute=True).output

    def gradients(self, y: torch.Tensor, steps: int | None = None) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(y, self.wanted, self.grad if steps is None else self.grad[:, :steps])

    def call(self, steps: int | None = None) -> tuple[torch.Tensor, ...]:
        if self.mode == "train":
            y = self.forward(steps)
            return (y, *self.gradients(y, steps))
        if self.mode == "eval_grad":
            return (self.forward(steps),)
        with torch.inference_mode():
            return (self.forward(steps),)

    def answers(self) -> Arrays:
        torch.manual_seed(1)  # of the masks of dropout and zoneout
        found = self._named(self.call())
        if self.brings_truth:
            exact = self._exact()
            torch.manual_seed(1)
            with use_backend("torch"):
                truth = exact._named(exact.call())
            found |= {f"true_{name}": array for name, array in truth.items()}
        return found

    def _exact(self) -> GatestackRunner:
        """The same in float64."""
        other = copy.copy(self)
        other.stack = copy.deepcopy(self.stack).double()
        other.x = self.x.detach().double().requires_grad_(self.x.requires_grad)
        other.grad = self.grad.double()
        other.wanted = [other.x, *other.stack.parameters()]
        return other

    def _named(self, results: tuple[torch.Tensor, ...]) -> Arrays:
        """Results by the names that the table gives them: torch's, the number of the layer at the end."""
        y, *gradients = results
        found = {"y": y}
        if gradients:
            found["grad_x"] = gradients[0]
            for (name, _), gradient in zip(self.stack.named_parameters(), gradients[1:], strict=True):
                _, layer, own = name.split(".")
                found["grad_" + own.replace("_l0", f"_l{layer}")] = gradient
        return {name: np.asarray(tensor.detach().double()) for name, tensor in found.items()}


class StepperRunner:
    """A `StackStepper` fed NumPy arrays, torch left out. Its states go on from call to call: a stream."""

    def __init__(self, case: dict[str, Any], arrays: Arrays) -> None:
        self.stepper = build(case, {}, load_weights(arrays)).stepper(case["batch"])
        self.x = np.ascontiguousarray(arrays["x"][:, 0])
        self.start = (arrays["h0"], arrays["c0"])

    def call(self, steps: int | None = None) -> np.ndarray:  # noqa: ARG002 (alike for all runners)
        return self.stepper.step(self.x)

    def answers(self) -> Arrays:
        for layer, state in enumerate(self.stepper.state):
            for part, start in zip(state, self.start, strict=True):
                part[0] = start[layer]
        return {"y": self.call()[:, None].copy()}


def make(case: dict[str, Any], options: dict[str, Any], arrays: Arrays) -> GatestackRunner | StepperRunner:
    """A runner for one case."""
    if not options.get("handle"):
        return GatestackRunner(case, options, arrays)
    if library.find() is None:
        raise UnsupportedError("no compiled kernels")
    return StepperRunner(case, arrays)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    serve(make, ["gatestack", "torch"], IMPORT_S, {"backend": choose_backend(torch.zeros(1))})
