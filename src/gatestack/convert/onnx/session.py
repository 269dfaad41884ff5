"""Running a graph in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gatestack.convert.onnx.assemble import need_onnx
from gatestack.convert.onnx.builder import Array
from gatestack.convert.onnx.parts import RunGraph
from gatestack.errors import ModelFileError

__all__ = ["open_graph"]

# Versions of ONNX Runtime differ in which of them they have.
_FAILURES = (
    "EPFail",
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "ModelRequiresCompilation",
    "NoModel",
    "NoSuchFile",
    "NotImplemented",
    "RuntimeException",
)


def open_graph(content: bytes, *, where: str) -> RunGraph:
    """Open a checked model on one thread of the CPU.

    Args:
        content: the model, whole, without external data.
        where: its path, for the message of an error.

    Returns:
        A function from inputs by name to outputs by name.

    Raises:
        ArgumentError: onnxruntime is not installed.
        ModelFileError: ONNX Runtime does not accept the model; at a call, the inputs.

    Example:
        >>> from gatestack.convert.onnx.builder import GraphBuilder
        >>> b = GraphBuilder()
        >>> b.output(b.op("Neg", b.input("x", "float32", ("batch",))), "y", ("batch",))
        >>> open_graph(b.model().SerializeToString(), where="m")({"x": np.ones(2, np.float32)})
        {'y': array([-1., -1.], dtype=float32)}
    """
    onnxruntime = need_onnx("onnxruntime")
    state = need_onnx("onnxruntime.capi.onnxruntime_pybind11_state")

    failures = tuple(getattr(state, name) for name in _FAILURES if hasattr(state, name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # it raises what it would also write to the terminal
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except failures as error:
        raise ModelFileError(f"ONNX Runtime does not accept it: {_brief(error)}", where=where) from error
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            found = session.run(names, {name: np.asarray(value) for name, value in inputs.items()})
        except (*failures, ValueError, RuntimeError) as error:
            raise ModelFileError(f"ONNX Runtime fails: {_brief(error)}", where=where) from error
        return dict(zip(names, found, strict=True))

    return run


def _brief(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) < 300 else text[:299] + "…"
