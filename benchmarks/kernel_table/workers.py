"""The peers' processes: started when first wanted, asked one at a time, resting in between."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any

from protocol.environments import peer_python

__all__ = ["Worker", "WorkerError", "Workers", "busy_share"]

SCRIPTS = Path(__file__).resolve().parents[1] / "kernel_peers"
COMMANDS = {
    # worker: environment, script, words after the number of threads
    "gatestack": ("gatestack", "gatestack_worker.py", ()),
    "torch": ("torch", "torch_worker.py", ()),
    "keras-tensorflow": ("keras", "keras_worker.py", ()),
    "keras-jax": ("keras", "keras_worker.py", ()),
    "onnxruntime": ("onnx", "onnx_worker.py", ("onnxruntime",)),
    "openvino": ("onnx", "onnx_worker.py", ("openvino",)),
    "fma-peak": ("gatestack", "fma_peak_worker.py", ()),
}
LONGEST_REPLY_S = 900.0
REST_WINDOW_S = 0.005
REST_SHARE = 0.1
LONGEST_REST_S = 1.0


class WorkerError(RuntimeError):
    """A worker's process ended or did not answer; the message holds the end of what it said."""


class Worker:
    """One process that runs a library on a fixed number of threads.

    Args:
        name: one of `COMMANDS`.
        threads: how many the library may use; the process is held on as many cores.
        environments: folder of the peers' environments.
        log: file for what the process says.
    """

    def __init__(self, name: str, threads: int, environments: Path, log: Path) -> None:
        environment, script, words = COMMANDS[name]
        self.name, self.log = name, log
        backend = {"KERAS_BACKEND": name.removeprefix("keras-")} if environment == "keras" else {}
        cores = sorted(os.sched_getaffinity(0))[-threads:]
        with log.open("w", encoding="utf-8") as said:
            self.process = subprocess.Popen(
                [peer_python(environment, environments), SCRIPTS / script, str(threads), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env=_environment(threads) | backend,
            )
        # Before the library counts the cores it may use; JAX has no other way to be told.
        os.sched_setaffinity(self.process.pid, cores)
        self.longest_rest_s = 0.0
        try:
            self.hello = self.ask({"do": "hello"})
        except WorkerError:
            self.close()
            raise

    def ask(self, command: dict[str, Any], *, within_s: float = LONGEST_REPLY_S) -> dict[str, Any]:
        """Send a command and wait for its reply.

        Raises:
            WorkerError: the process ended, or did not answer in time.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if self.process.stdin.closed:
            raise WorkerError(f"{self.name} has been ended")
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._last_words()) from None
        # The reply is one write of one line, so that waiting for its first byte is enough.
        if not select.select([self.process.stdout], [], [], within_s)[0]:
            raise WorkerError(f"{self.name} gave no answer to {command['do']} within {within_s:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(self._last_words())
        reply: dict[str, Any] = json.loads(line)
        return reply

    def rest(self) -> None:
        """Wait until the process uses no processor: a thread that spins would slow down the next worker."""
        start = time.perf_counter()
        while time.perf_counter() - start < LONGEST_REST_S:
            used = _processor_s(self.process.pid)
            time.sleep(REST_WINDOW_S)
            little = _processor_s(self.process.pid) - used < REST_SHARE * REST_WINDOW_S
            # On a busy machine a thread may use little because it waits for its turn.
            if little and not _wants_processor(self.process.pid):
                break
        self.longest_rest_s = max(self.longest_rest_s, time.perf_counter() - start)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]

    def _last_words(self) -> str:
        """That it ended and the last line it said; below, more of what it said."""
        said = self.log.read_text(encoding="utf-8", errors="replace").strip()
        return f"{self.name} ended: {said.rpartition(chr(10))[2]}\n{said[-2000:]}"


def _environment(threads: int) -> dict[str, str]:
    """Threads for the libraries that read them from the environment, and quiet start-up messages."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **dict.fromkeys(names, str(threads)), **quiet}


def _processor_s(pid: int) -> float:
    """Processor time of a whole process, to the nanosecond: clock_getcpuclockid(3) in two operations."""
    return time.clock_gettime((~pid << 3) | 2)


def busy_share(seconds: float = 0.2) -> float:
    """The share of all processors that is used while our own workers rest: by others, on a machine in use."""

    def ticks() -> tuple[int, int]:
        line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
        # What guests use is counted among user and nice already; what the host took away is "steal".
        user, nice, system, idle, waiting, irq, soft_irq, steal, *_ = map(int, line.split()[1:])
        return user + nice + system + irq + soft_irq + steal, idle + waiting

    busy, idle = ticks()
    time.sleep(seconds)
    busy_then, idle_then = ticks()
    return round((busy_then - busy) / max(1, busy_then - busy + idle_then - idle), 2)


def _wants_processor(pid: int) -> bool:
    """Whether a thread of the process runs, or could."""
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # the thread has ended
            if path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] == "R":
                return True
    return False


class Workers:
    """All workers of a run, by name and threads."""

    def __init__(self, environments: Path, folder: Path) -> None:
        self.environments, self.folder = environments, folder
        self.running: dict[tuple[str, int], Worker] = {}

    def get(self, name: str, threads: int) -> Worker:
        """The worker, started when it is not running."""
        if (name, threads) not in self.running:
            self.running[name, threads] = self.start(name, threads)
        return self.running[name, threads]

    def start(self, name: str, threads: int) -> Worker:
        """A worker of one's own, to be closed by the caller."""
        return Worker(name, threads, self.environments, self.folder / f"{name}-{threads}.log")

    def drop(self, name: str, threads: int) -> None:
        """End a worker, so that the next `get` starts anew."""
        if worker := self.running.pop((name, threads), None):
            worker.close()

    def versions(self) -> dict[str, dict[str, str]]:
        """What each running worker said of its versions."""
        return {name: w.hello["versions"] for (name, _), w in self.running.items() if "versions" in w.hello}

    def longest_rests(self) -> dict[str, float]:
        """How long each running worker went on using a processor after a call, at most."""
        return {
            f"{name}, {threads} thread{'s' * (threads > 1)}": round(worker.longest_rest_s, 3)
            for (name, threads), worker in self.running.items()
        }

    def close(self) -> None:
        """End them all."""
        for name, threads in list(self.running):
            self.drop(name, threads)
