"""What ONNX Runtime computes of a foreign graph, in a process of its own with limits of memory and time."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from gatestack.convert.child import answers_of_child
from gatestack.convert.onnx.records import Array
from gatestack.errors import ArgumentError

__all__ = ["REPLAY_BYTES", "answers_of_onnx_runtime"]

REPLAY_BYTES = 2**31
"""What a graph may take in memory beside its own weights and its inputs: 2 GiB, ONNX Runtime included."""

_WORKER = Path(__file__).with_name("replay_worker.py")
_COPIES = 4  # of the weights: the bytes, what is parsed of them, what is packed for the processor, room


def answers_of_onnx_runtime(
    content: bytes,
    calls: Sequence[Mapping[str, Array]],
    *,
    where: str,
    memory_bytes: int = REPLAY_BYTES,
) -> tuple[str, list[dict[str, Array]]]:
    """Run a graph in ONNX Runtime.

    Sizes that follow from numbers are known only when a graph runs, and a hostile one makes them enormous;
    so it runs in another process, which is refused more memory than this.

    Args:
        content: the model, whole, without external data.
        calls: for each call the inputs by name, of any shape.
        where: path of the file, for errors.
        memory_bytes: beside four times the size of model and inputs. Windows has no such limit.

    Returns:
        ONNX Runtime with its version, and for each call the outputs by name.

    Raises:
        ArgumentError: onnxruntime is not installed.
        ModelFileError: ONNX Runtime does not accept the graph or the inputs, or needs more memory or time.

    Example:
        >>> import numpy as np
        >>> from gatestack.convert.onnx.builder import GraphBuilder
        >>> b = GraphBuilder()
        >>> b.output(b.op("Neg", b.input("x", "float32", ("batch",))), "y", ("batch",))
        >>> content = b.model().SerializeToString()
        >>> answers_of_onnx_runtime(content, [{"x": np.ones(2, np.float32)}], where="m")[1]
        [{'y': array([-1., -1.], dtype=float32)}]
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise ArgumentError("onnxruntime is not installed", hint="pip install 'gatestack[onnx]'")
    given = len(content) + sum(array.nbytes for call in calls for array in call.values())
    return answers_of_child(
        _WORKER, "model.onnx", content, calls, where=where, memory_bytes=memory_bytes + _COPIES * given
    )
