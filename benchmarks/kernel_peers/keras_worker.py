"""Runs the cases of the kernel table on Keras 3, on the backend `KERAS_BACKEND` names: tensorflow or jax.

One compiled function per case (`tf.function`, `jax.jit`), the arrays already on the device: that is faster
than `predict_on_batch`, which copies. A ragged batch is a mask.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

START = time.perf_counter()

import keras  # noqa: E402 (the time of the imports is a result)
import numpy as np  # noqa: E402
from gate_orders import from_keras_matrix, keras_weights  # noqa: E402
from worker_io import Arrays, UnsupportedError, load_weights, serve  # noqa: E402

BACKEND = os.environ["KERAS_BACKEND"]
if BACKEND == "tensorflow":
    import tensorflow as tf
else:
    import jax
    import jax.numpy as jnp

IMPORT_S = time.perf_counter() - START


def build(case: dict[str, Any], weights: Arrays) -> list[Any]:
    """The Keras layers, lowest first, with torch's weights."""
    layers, width = [], case["input_size"]
    for number in range(case["layers"]):
        if case["cell"] == "lstm":
            layer = keras.layers.LSTM(
                case["hidden_size"], return_sequences=True, return_state=case["mode"] == "step"
            )
        else:
            layer = keras.layers.GRU(case["hidden_size"], return_sequences=True, reset_after=True)
        if case["directions"] == 2:
            layer = keras.layers.Bidirectional(layer)
        layer.build((case["batch"], case["steps"], width))
        layer.set_weights(keras_weights(weights, case["cell"], number, case["directions"]))
        layers.append(layer)
        width = case["hidden_size"] * case["directions"]
    return layers


class _KerasRunner:
    """What both backends share: the layers and the arrays."""

    def __init__(self, case: dict[str, Any], arrays: Arrays) -> None:
        self.case = case
        self.layers = build(case, load_weights(arrays))
        self.arrays = arrays
        self.mask = None
        if case["ragged"]:
            self.mask = np.arange(case["steps"]) < arrays["lengths"][:, None]  # -> (N, T)

    def outputs(self, y: Any, mask: Any) -> Any:
        """The output of the last layer, zero where the mask is False."""
        for number, layer in enumerate(self.layers):
            if self.case["mode"] == "step":
                state = [self.arrays[name][number] for name in ("h0", "c0")]
                y, *_ = layer(y, initial_state=state)
            else:
                y = layer(y, mask=mask) if mask is not None else layer(y)
        # Keras repeats the last output after a row's end; torch and we give zero there.
        return y if mask is None else y * keras.ops.cast(mask[:, :, None], y.dtype)

    def answers(self) -> Arrays:
        """In torch's layout: the output, and the gradients of x and of the lowest recurrent matrix."""
        results = self.call()
        if self.case["mode"] != "train":
            return {"y": np.asarray(results)}
        y, grad_x, gradients = results
        return {
            "y": np.asarray(y),
            "grad_x": np.asarray(grad_x),
            "grad_weight_hh_l0": from_keras_matrix(np.asarray(gradients[1]), self.case["cell"]),
        }

    def call(self, steps: int | None = None) -> Any:
        raise NotImplementedError


class TensorFlowRunner(_KerasRunner):
    """One `tf.function`, traced once per shape, as TensorFlow does for a user."""

    def __init__(self, case: dict[str, Any], arrays: Arrays) -> None:
        super().__init__(case, arrays)
        self.x = tf.constant(arrays["x"])
        self.grad = tf.constant(arrays["grad_y"]) if case["mode"] == "train" else None
        self.tf_mask = None if self.mask is None else tf.constant(self.mask)
        train = case["mode"] == "train"
        # XLA halves the time of inference and adds to that of training; for a new T it compiles again.
        xla = not train and not case["random_steps"]
        self.function = tf.function(self._train if train else self._infer, jit_compile=xla)

    def _infer(self, x: Any) -> Any:
        return self.outputs(x, self.tf_mask)

    def _train(self, x: Any, grad: Any) -> Any:
        variables = [v.value for layer in self.layers for v in layer.trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = self.outputs(x, self.tf_mask)
        grad_x, *gradients = tape.gradient(y, [x, *variables], output_gradients=grad)
        return y, grad_x, gradients

    def call(self, steps: int | None = None) -> Any:
        x = self.x if steps is None else self.x[:, :steps]
        if self.case["mode"] != "train":
            return self.function(x)
        return self.function(x, self.grad if steps is None else self.grad[:, :steps])


class JaxRunner(_KerasRunner):
    """One `jax.jit`, compiled once per shape."""

    def __init__(self, case: dict[str, Any], arrays: Arrays) -> None:
        super().__init__(case, arrays)
        self.x = jnp.asarray(arrays["x"])
        self.grad = jnp.asarray(arrays["grad_y"]) if case["mode"] == "train" else None
        self.jax_mask = None if self.mask is None else jnp.asarray(self.mask)
        self.values = [[v.value for v in layer.trainable_variables] for layer in self.layers]
        self.function = jax.jit(self._train if case["mode"] == "train" else self._infer)

    def _infer(self, x: Any, values: Any) -> Any:
        with keras.StatelessScope(
            [
                (variable, value)
                for layer, own in zip(self.layers, values, strict=True)
                for variable, value in zip(layer.trainable_variables, own, strict=True)
            ]
        ):
            return self.outputs(x, self.jax_mask)

    def _train(self, x: Any, values: Any, grad: Any) -> Any:
        y, backward = jax.vjp(self._infer, x, values)
        grad_x, gradients = backward(grad)
        return y, grad_x, [g for layer in gradients for g in layer]

    def call(self, steps: int | None = None) -> Any:
        x = self.x if steps is None else self.x[:, :steps]
        if self.case["mode"] != "train":
            return self.function(x, self.values).block_until_ready()
        grad = self.grad if steps is None else self.grad[:, :steps]
        return jax.block_until_ready(self.function(x, self.values, grad))


def make(case: dict[str, Any], options: dict[str, Any], arrays: Arrays) -> _KerasRunner:  # noqa: ARG001 (alike for all)
    """A runner for one case."""
    if case["dtype"] != "float32":
        raise UnsupportedError("not tried in bfloat16")
    if case["mode"] == "eval_grad":
        raise UnsupportedError("has no grad mode")
    return (TensorFlowRunner if BACKEND == "tensorflow" else JaxRunner)(case, arrays)


if __name__ == "__main__":
    if BACKEND == "tensorflow":
        tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
        tf.config.threading.set_inter_op_parallelism_threads(1)
    # JAX takes its threads from the processors that the process may use; the table sees to that.
    serve(make, ["keras", "tensorflow-cpu" if BACKEND == "tensorflow" else "jax"], IMPORT_S)
