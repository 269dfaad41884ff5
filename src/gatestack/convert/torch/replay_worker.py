"""Runs an exported network in plain torch within a limit of memory; started by `gatestack.convert.child`.

    python -P replay_worker.py FOLDER FILE CALLS MEMORY

FILE has the weights, and in its metadata the source that Gatestack wrote for them. Inputs are called
`input.0`, `input.1`, …, outputs `output.0`, ….
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(folder: Path, file: str, calls: int, memory_bytes: int) -> None:
    """Make the network and compute each call."""
    import numpy as np
    import torch
    from safetensors import safe_open

    torch.set_num_threads(1)
    used = Path("/proc/self/statm")
    if memory_bytes and used.exists():
        import resource

        # Builds of torch differ by gigabytes of address space, so what is taken already does not count.
        limit = int(used.read_text().split()[0]) * resource.getpagesize() + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with safe_open(folder / file, framework="pt") as stored:
        meta = stored.metadata()
        state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (it is no dict)
    space: dict[str, Any] = {"__name__": "network", "__file__": "model.py"}
    exec(compile(meta["source"], "model.py", "exec"), space)
    dtype = getattr(torch, meta["dtype"])
    module = space[meta["class"]]().to(dtype)
    module.load_state_dict(state)
    module.eval()
    for number in range(calls):
        with np.load(folder / f"in{number}.npz", allow_pickle=False) as given:
            tensors = [torch.as_tensor(given[f"input.{place}"]) for place in range(len(given))]
        with torch.no_grad():
            found = module(*[one.to(dtype) if one.is_floating_point() else one for one in tensors])
        outputs = found if isinstance(found, tuple) else (found,)
        np.savez(folder / f"out{number}.npz", **{f"output.{n}": one.numpy() for n, one in enumerate(outputs)})
    print(f"torch {torch.__version__}")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
