"""Runs a graph in ONNX Runtime within a limit of memory; started by `gatestack.convert.child`.

python -P replay_worker.py FOLDER FILE CALLS MEMORY
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(folder: Path, file: str, calls: int, memory_bytes: int) -> None:
    """Load the graph and compute each call."""
    if memory_bytes and sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    import numpy as np

    onnxruntime: Any = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # it raises what it would also write
    session = onnxruntime.InferenceSession(str(folder / file), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for number in range(calls):
        with np.load(folder / f"in{number}.npz", allow_pickle=False) as stored:
            found = session.run(names, dict(stored))
        np.savez(folder / f"out{number}.npz", **dict(zip(names, found, strict=True)))
    print(f"ONNX Runtime {onnxruntime.__version__}")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
