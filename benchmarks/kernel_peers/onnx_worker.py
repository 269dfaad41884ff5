"""Runs the inference cases of the kernel table: `onnx_worker.py THREADS onnxruntime|openvino`.

Both read the same ONNX model, time-major as the operators are defined. A ragged batch goes in through the
input `sequence_lens`.
"""

from __future__ import annotations

import sys
import time
from typing import Any

START = time.perf_counter()

import numpy as np  # noqa: E402 (the time of the imports is a result)
import onnx  # noqa: E402
from gate_orders import onnx_weights  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from worker_io import Arrays, UnsupportedError, load_weights, serve  # noqa: E402

ENGINE = sys.argv[2]
if ENGINE == "onnxruntime":
    import onnxruntime
else:
    import openvino

IMPORT_S = time.perf_counter() - START


def build(case: dict[str, Any], weights: Arrays) -> onnx.ModelProto:
    """The stack as ONNX: x (T, N, C), lengths (N,), and for one step the states -> y (T, N, D·H)."""
    cell, hidden, directions = case["cell"], case["hidden_size"], case["directions"]
    nodes, stored, below = [], [numpy_helper.from_array(np.array([0, 0, -1]), "side_by_side")], "x"
    step = case["mode"] == "step"
    batch = case["batch"]
    time_axis = None if case["random_steps"] else case["steps"]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [time_axis, batch, case["input_size"]])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [time_axis, batch, directions * hidden])]
    if case["ragged"]:
        inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, [batch]))
    for layer in range(case["layers"]):
        parts = onnx_weights(weights, cell, layer, directions)
        stored += [numpy_helper.from_array(array, f"{name}{layer}") for name, array in parts.items()]
        states = [f"{name}{layer}" for name in ("h", "c")] if step else []
        for name in states:
            shape = [directions, batch, hidden]
            inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
            outputs.append(helper.make_tensor_value_info(f"{name}_new", TensorProto.FLOAT, shape))
        given = [below, f"W{layer}", f"R{layer}", f"B{layer}", "lengths" if case["ragged"] else "", *states]
        attributes: dict[str, Any] = {"hidden_size": hidden}
        attributes["direction"] = "bidirectional" if directions == 2 else "forward"
        if cell == "gru":
            attributes["linear_before_reset"] = 1
        names = [f"raw{layer}", *(f"{name}_new" for name in states)]
        nodes.append(helper.make_node(cell.upper(), given, names, **attributes))
        # raw is (T, D, N, H); the layer above and the user read (T, N, D·H).
        nodes.append(helper.make_node("Transpose", [f"raw{layer}"], [f"turned{layer}"], perm=[0, 2, 1, 3]))
        below = "y" if layer == case["layers"] - 1 else f"y{layer}"
        nodes.append(helper.make_node("Reshape", [f"turned{layer}", "side_by_side"], [below]))
    graph = helper.make_graph(nodes, "stack", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


class _OnnxRunner:
    """The inputs, in the form both engines take."""

    def __init__(self, case: dict[str, Any], arrays: Arrays) -> None:
        self.feed = {"x": np.ascontiguousarray(arrays["x"].transpose(1, 0, 2))}
        if case["ragged"]:
            self.feed["lengths"] = arrays["lengths"].astype(np.int32)
        if case["mode"] == "step":
            for layer in range(case["layers"]):
                self.feed |= {f"{name}{layer}": arrays[f"{name}0"][layer : layer + 1] for name in ("h", "c")}

    def _fed(self, steps: int | None) -> Arrays:
        return self.feed if steps is None else self.feed | {"x": self.feed["x"][:steps]}

    def call(self, steps: int | None = None) -> Any:
        raise NotImplementedError

    def answers(self) -> Arrays:
        return {"y": np.array(self.call()).transpose(1, 0, 2)}


class RuntimeRunner(_OnnxRunner):
    """An inference session of ONNX Runtime."""

    def __init__(self, case: dict[str, Any], arrays: Arrays, threads: int) -> None:
        super().__init__(case, arrays)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning within a call is left on, as is best for it; between calls nothing may spin.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        model = build(case, load_weights(arrays)).SerializeToString()
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def call(self, steps: int | None = None) -> Any:
        return self.session.run(None, self._fed(steps))[0]


class OpenVinoRunner(_OnnxRunner):
    """A compiled model of OpenVINO and one request."""

    def __init__(self, case: dict[str, Any], arrays: Arrays, threads: int) -> None:
        super().__init__(case, arrays)
        core = openvino.Core()
        model = core.read_model(build(case, load_weights(arrays)).SerializeToString())
        precision = {"float32": "f32", "bfloat16": "bf16"}[case["dtype"]]
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Without it OpenVINO takes bfloat16 where the processor has it, also for a model in float32.
            "INFERENCE_PRECISION_HINT": precision,
        }
        self.request = core.compile_model(model, "CPU", settings).create_infer_request()

    def call(self, steps: int | None = None) -> Any:
        return self.request.infer(self._fed(steps), share_inputs=True, share_outputs=True)["y"]


def make(case: dict[str, Any], options: dict[str, Any], arrays: Arrays) -> _OnnxRunner:  # noqa: ARG001 (alike for all)
    """A runner for one case."""
    if case["mode"] not in ("infer", "step"):
        raise UnsupportedError("inference only")
    if ENGINE == "onnxruntime":
        if case["dtype"] != "float32":
            raise UnsupportedError("no bfloat16 LSTM on the CPU")
        return RuntimeRunner(case, arrays, int(sys.argv[1]))
    return OpenVinoRunner(case, arrays, int(sys.argv[1]))


if __name__ == "__main__":
    serve(make, ["onnx", ENGINE], IMPORT_S)
