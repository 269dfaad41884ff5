"""Runs the cases of `conv_lstm.py`: `conv_lstm_worker.py THREADS WHO`, WHO one of `RUNNERS`.

Weights and inputs come in torch's layout, and the answers go back in it; each library keeps its images as it
likes them best.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

THREADS, WHO = int(sys.argv[1]), sys.argv[2]
if WHO.startswith("keras-"):
    os.environ["KERAS_BACKEND"] = WHO.removeprefix("keras-")
START = time.perf_counter()

import numpy as np  # noqa: E402 (the time of the imports is a result)
from worker_io import Arrays, UnsupportedError, serve  # noqa: E402

if WHO in ("gatestack", "torch loop", "keras-torch"):
    import torch
if WHO == "gatestack":
    from gatestack.nn import ConvLSTM2D
if WHO.startswith("keras-"):
    import keras
if WHO == "keras-tensorflow":
    import tensorflow as tf
if WHO == "keras-jax":
    import jax
    import jax.numpy as jnp

WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")  # the second bias is zero


def channels_last(images: np.ndarray) -> np.ndarray:
    """(N, T, C, Y, X) -> (N, T, Y, X, C)."""
    return np.ascontiguousarray(np.moveaxis(images, 2, -1))


class TorchRunner:
    """Any module over (N, T, C, Y, X) with parameters of torch's shapes."""

    def __init__(self, case: dict[str, Any], arrays: Arrays) -> None:
        self.train = case["mode"] == "train"
        self.x = torch.from_numpy(arrays["x"])
        self.lengths = torch.from_numpy(arrays["lengths"]) if case["ragged"] else None
        self.grad_y = torch.from_numpy(arrays["grad_y"])
        self.weights = self.build({name: torch.from_numpy(arrays[name]) for name in WEIGHTS})

    def build(self, weights: dict[str, Any]) -> list[Any]:
        """Make the layer -> its parameters, in the order of `WEIGHTS`."""
        raise NotImplementedError

    def forward(self) -> Any:
        raise NotImplementedError

    def call(self, steps: int | None = None) -> Any:  # noqa: ARG002 (alike for all workers)
        if self.train:
            y = self.forward()
            return (y, *torch.autograd.grad(y, self.weights, self.grad_y))
        with torch.inference_mode():
            return (self.forward(),)

    def answers(self) -> Arrays:
        y, *gradients = self.call()
        named = {"y": y} | {f"grad_{name}": g for name, g in zip(WEIGHTS, gradients, strict=False)}
        return {name: tensor.detach().numpy() for name, tensor in named.items()}


class GatestackRunner(TorchRunner):
    """`gatestack.nn.ConvLSTM2D`."""

    def build(self, weights: dict[str, Any]) -> list[Any]:
        F, C, k, _ = weights["weight_ih_l0"].shape
        self.layer = ConvLSTM2D(F // 4, k, C)
        with torch.no_grad():
            for name, weight in weights.items():
                getattr(self.layer, name).copy_(weight)
        return [getattr(self.layer, name) for name in WEIGHTS]

    def forward(self) -> Any:
        return self.layer(self.x, lengths=self.lengths)[0]


class LoopRunner(TorchRunner):
    """What is written by hand: one convolution of [x, h] in each step."""

    def build(self, weights: dict[str, Any]) -> list[Any]:
        self.weight_ih, self.weight_hh, self.bias = (weight.requires_grad_() for weight in weights.values())
        return [self.weight_ih, self.weight_hh, self.bias]

    def forward(self) -> Any:
        N, T, _, Y, X = self.x.shape
        weight = torch.cat((self.weight_ih, self.weight_hh), 1)
        h = c = self.x.new_zeros(N, weight.shape[0] // 4, Y, X)
        outputs = []
        for t in range(T):
            sums = torch.conv2d(torch.cat((self.x[:, t], h), 1), weight, self.bias, 1, weight.shape[-1] // 2)
            i, f, g, o = sums.chunk(4, 1)
            c_new = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h_new = torch.sigmoid(o) * torch.tanh(c_new)
            if self.lengths is None:
                h, c = h_new, c_new
                outputs.append(h)
            else:
                real = (self.lengths > t)[:, None, None, None]
                h, c = torch.where(real, h_new, h), torch.where(real, c_new, c)
                outputs.append(h_new * real)
        return torch.stack(outputs, 1)


class KerasRunner:
    """`keras.layers.ConvLSTM2D`; a ragged batch is a mask."""

    def __init__(self, case: dict[str, Any], arrays: Arrays) -> None:
        self.train, k = case["mode"] == "train", arrays["weight_ih_l0"].shape[-1]
        channels = len(arrays["bias_ih_l0"]) // 4
        self.layer = keras.layers.ConvLSTM2D(channels, k, padding="same", return_sequences=True)
        x = channels_last(arrays["x"])
        self.layer.build(x.shape)
        kernels = [arrays[name].transpose(2, 3, 1, 0) for name in WEIGHTS[:2]]
        self.layer.set_weights([*kernels, arrays["bias_ih_l0"]])
        self.x = keras.ops.convert_to_tensor(x)
        self.grad_y = keras.ops.convert_to_tensor(channels_last(arrays["grad_y"]))
        self.mask = None
        if case["ragged"]:
            real = np.arange(x.shape[1]) < arrays["lengths"][:, None]
            self.mask = keras.ops.convert_to_tensor(real)
        self.prepare()

    def prepare(self) -> None:
        """Compile what is called."""

    def forward(self) -> Any:
        if self.mask is None:
            return self.layer(self.x)
        y = self.layer(self.x, mask=self.mask)
        # Keras repeats the last output after a row's end; the others give zero there.
        return y * keras.ops.cast(self.mask[:, :, None, None, None], y.dtype)

    def call(self, steps: int | None = None) -> Any:
        raise NotImplementedError

    def answers(self) -> Arrays:
        y, *gradients = self.call()
        found = {"y": np.moveaxis(np.asarray(y), -1, 2)}
        for name, gradient in zip(WEIGHTS, gradients, strict=False):
            array = np.asarray(gradient)
            found[f"grad_{name}"] = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
        return found


class KerasTorchRunner(KerasRunner):
    """Step after step, as Keras does it there."""

    def call(self, steps: int | None = None) -> Any:  # noqa: ARG002
        if not self.train:
            with torch.inference_mode():
                return (self.forward(),)
        y = self.forward()
        gradients = torch.autograd.grad(y, [v.value for v in self.layer.trainable_variables], self.grad_y)
        return (y.detach(), *gradients)


class TensorFlowRunner(KerasRunner):
    """One `tf.function`."""

    def prepare(self) -> None:
        self.function = tf.function(self._train if self.train else lambda: (self.forward(),))

    def _train(self) -> Any:
        with tf.GradientTape() as tape:
            y = self.forward()
        variables = [v.value for v in self.layer.trainable_variables]
        return (y, *tape.gradient(y, variables, output_gradients=self.grad_y))

    def call(self, steps: int | None = None) -> Any:  # noqa: ARG002
        return self.function()


class JaxRunner(KerasRunner):
    """One `jax.jit`."""

    def prepare(self) -> None:
        if self.mask is not None:
            raise UnsupportedError("Keras 3.15 cannot broadcast a mask (N, T) over images there")
        self.values = [v.value for v in self.layer.trainable_variables]
        self.function = jax.jit(self._train if self.train else lambda values: (self._infer(values),))

    def _infer(self, values: Any) -> Any:
        with keras.StatelessScope(list(zip(self.layer.trainable_variables, values, strict=True))):
            return self.forward()

    def _train(self, values: Any) -> Any:
        y, backward = jax.vjp(self._infer, values)
        return (y, *backward(jnp.asarray(self.grad_y))[0])

    def call(self, steps: int | None = None) -> Any:  # noqa: ARG002
        return jax.block_until_ready(self.function(self.values))


RUNNERS: dict[str, tuple[type, list[str]]] = {
    "gatestack": (GatestackRunner, ["gatestack", "torch"]),
    "torch loop": (LoopRunner, ["torch"]),
    "keras-torch": (KerasTorchRunner, ["keras", "torch"]),
    "keras-tensorflow": (TensorFlowRunner, ["keras", "tensorflow-cpu"]),
    "keras-jax": (JaxRunner, ["keras", "jax"]),
}

if __name__ == "__main__":
    IMPORT_S = time.perf_counter() - START
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(THREADS)
    if WHO == "keras-tensorflow":
        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    runner, packages = RUNNERS[WHO]
    serve(lambda case, _, arrays: runner(case, arrays), packages, IMPORT_S)
