"""What every worker of the kernel table shares: commands in, answers out. Needs NumPy only.

A worker is a script `<peer>_worker.py THREADS`, run by the interpreter of the environment its library needs.
It reads one JSON command per line and writes one JSON reply per line; it does nothing while nobody asks.
Arrays go through `.npz` files. What the library itself prints goes to stderr.

| command | takes | reply |
| --- | --- | --- |
| `hello` | | `versions` of packages and other facts by name; `import_s` |
| `prepare` | `key case options inputs answers` | `build_s`, `first_call_s`; or why not: `unsupported` |
| `time` | `key calls warm steps` | `seconds` per call, mean of the calls |
| `memory` | `case options inputs` | of a first training step: `kept_bytes` after forward, `peak_bytes` |
| `drop` | `key` | nothing |
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

__all__ = ["Runner", "UnsupportedError", "load_weights", "serve"]

Arrays = dict[str, np.ndarray]


class UnsupportedError(Exception):
    """The library has no such case; the message says what is missing."""


class Runner(Protocol):
    """A model with its inputs, ready to be called."""

    def call(self, steps: int | None = None) -> object:
        """Make the measured call; on the first `steps` steps of the input, where given."""

    def answers(self) -> Arrays:
        """Make the call once more and return what it gave, batch first, in torch's layout."""


MakeRunner = Callable[[dict[str, Any], dict[str, Any], Arrays], Runner]


def load_weights(arrays: Arrays) -> Arrays:
    """The weights among the inputs, by torch's names."""
    return {
        name.removeprefix("w."): np.ascontiguousarray(array)
        for name, array in arrays.items()
        if name.startswith("w.")
    }


def serve(
    make: MakeRunner, packages: list[str], import_s: float, facts: dict[str, str] | None = None
) -> None:
    """Answer commands until stdin ends."""
    # The library may print whatever it likes: the replies have a file of their own.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    runners: dict[str, Runner] = {}
    for line in sys.stdin:
        command = json.loads(line)
        reply = _answer(command, make, runners, packages, import_s, facts or {})
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _answer(
    command: dict[str, Any],
    make: MakeRunner,
    runners: dict[str, Runner],
    packages: list[str],
    import_s: float,
    facts: dict[str, str],
) -> dict[str, Any]:
    do = command["do"]
    if do == "hello":
        found = {"python": sys.version.split()[0]} | {name: version(name) for name in packages}
        return {"versions": found | facts, "import_s": import_s}
    if do == "prepare":
        return _prepare(command, make, runners)
    if do == "time":
        return {"seconds": _time(runners[command["key"]], **command["block"])}
    if do == "memory":
        return _memory_of_a_call(command, make)
    if do == "drop":
        runners.pop(command["key"], None)
        gc.collect()
        return {}
    raise ValueError(f"unknown command {do!r}")


def _prepare(command: dict[str, Any], make: MakeRunner, runners: dict[str, Runner]) -> dict[str, Any]:
    try:
        start = time.perf_counter()
        runner = make(command["case"], command["options"], _read(command["inputs"]))
        built = time.perf_counter()
        runner.call()
        called = time.perf_counter()
        answers = runner.answers()
    except UnsupportedError as error:
        return {"unsupported": str(error)}
    np.savez(command["answers"], **answers)
    runners[command["key"]] = runner
    return {"build_s": built - start, "first_call_s": called - built}


def _read(path: str) -> Arrays:
    with np.load(path) as stored:
        return dict(stored)


def _time(runner: Runner, *, calls: int, warm: bool, steps: list[int] | None) -> float:
    """Seconds per call, after one call (`warm`) for the caches that another worker has used since.

    With `steps` one call for each of these lengths is made instead of `calls`.
    """
    call = runner.call
    # A garbage collection in the middle would be charged to whoever is measured then.
    gc.collect()
    gc.disable()
    if warm:
        call()
    if steps is None:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        end = time.perf_counter()
    else:
        start = time.perf_counter()
        for count in steps:
            call(count)
        end = time.perf_counter()
        calls = len(steps)
    gc.enable()
    return (end - start) / calls


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def _memory_of_a_call(command: dict[str, Any], make: MakeRunner) -> dict[str, Any]:
    runner: Any = make(command["case"], command["options"], _read(command["inputs"]))
    gc.collect()
    # Writing 5 there lets the peak start again at what is held now.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status_bytes("VmRSS")
    y = runner.forward()
    kept = _status_bytes("VmRSS") - before - y.nbytes
    gradients = runner.gradients(y)
    results = y.nbytes + sum(gradient.nbytes for gradient in gradients)
    return {"kept_bytes": kept, "peak_bytes": _status_bytes("VmHWM") - before - results}
