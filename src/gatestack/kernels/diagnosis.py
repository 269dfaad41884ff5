"""What computes recurrent layers on this machine, and why: for `gatestack doctor` and for bug reports."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gatestack.errors import GatestackError
from gatestack.kernels.abi import DTYPES
from gatestack.kernels.library import BuildRecord, Library, build_record, find

__all__ = ["Kernels", "Machine", "Torch", "diagnose_kernels", "diagnose_machine", "diagnose_torch"]

_PACKAGES = ("gatestack", "torch", "numpy")
_PEAK_SECONDS = 0.1
_LOG_LINES = 25


@dataclass(frozen=True)
class Machine:
    """Where this runs.

    Args:
        versions: package → version; of Python as well.
        platform: system and architecture.
        processor: its name.
        cores: that this process may use.
    """

    versions: dict[str, str]
    platform: str
    processor: str
    cores: int


@dataclass(frozen=True)
class Kernels:
    """The compiled kernels.

    Args:
        state: "there", "absent" (the package is sound, and computes with torch's operators) or "unusable".
        build: what the build of the package said, one line; None where nothing tells, as for a library that
            GATESTACK_LIBRARY names.
        library: path of the library.
        isa: the instruction set in use.
        isas: those that this machine and this build have.
        bfloat16: whether products in bfloat16 have instructions of their own.
        peak_gflops: dtype → GFLOP/s of fused multiply-adds on registers alone, one thread, just now.
        advice: what to do, where the state is not "there".
        log: the end of what the compiler said, where it failed.
    """

    state: str
    build: str | None
    library: str | None = None
    isa: str | None = None
    isas: tuple[str, ...] = ()
    bfloat16: bool = False
    peak_gflops: dict[str, float] | None = None
    advice: str | None = None
    log: str | None = None


@dataclass(frozen=True)
class Torch:
    """What torch has here, and which backend computes recurrent layers.

    Args:
        backend: that computes layers of float32 on the CPU, "native" or "torch"; None where the one that is
            asked for is refused.
        refusal: why it is refused.
        threads: that torch, and the kernels with it, use.
        onednn: whether torch's own operators have oneDNN.
        cuda: version of CUDA that torch was built for; None for none.
        cudnn: version of cuDNN; None for none.
        devices: names of the GPUs.
    """

    backend: str | None
    refusal: str | None
    threads: int
    onednn: bool
    cuda: str | None
    cudnn: str | None
    devices: tuple[str, ...]


def diagnose_machine() -> Machine:
    """Look at the machine and the versions.

    Example:
        >>> diagnose_machine().cores > 0
        True
    """
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(versions, system, _processor(), cores)


def diagnose_kernels() -> Kernels:
    """Look at the compiled kernels; takes about 0.2 s, to measure the peak.

    Example:
        >>> diagnose_kernels().state
        '...'
    """
    record = build_record()
    build = record.outcome if record else None
    try:
        library = find()
    except GatestackError as error:
        return Kernels("unusable", build, advice=str(error))
    if library is None:
        return Kernels("absent", build, advice=_advice(record), log=_end_of(record))
    return Kernels(
        "there",
        build if record and record.path.parent == library.path.parent else None,
        library=str(library.path),
        isa=library.isa,
        isas=library.isas,
        bfloat16=library.has_bfloat16,
        peak_gflops=_measure_peak(library),
    )


def diagnose_torch() -> Torch:
    """Look at what torch has here.

    Example:
        >>> diagnose_torch().threads > 0
        True
    """
    import torch

    from gatestack.kernels.backend import choose_backend

    backend, refusal = None, None
    try:
        backend = choose_backend(torch.zeros(1))
    except GatestackError as error:
        refusal = str(error)
    cudnn = torch.backends.cudnn.version() if torch.cuda.is_available() else None  # type: ignore[no-untyped-call]
    return Torch(
        backend,
        refusal,
        threads=torch.get_num_threads(),
        onednn=torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
        cuda=torch.version.cuda,
        cudnn=None if cudnn is None else str(cudnn),
        devices=tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())),
    )


def _measure_peak(library: Library) -> dict[str, float]:
    return {dtype: round(library.peak_gflops(dtype, seconds=_PEAK_SECONDS), 1) for dtype in DTYPES}


def _advice(record: BuildRecord | None) -> str:
    if record is None:
        return "install the package with its build, as `make test` and `pip install .` do"
    if record.outcome.startswith("no "):
        return (
            "install a C++ compiler (Debian, Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++; "
            "macOS: xcode-select --install) and then the package again; or install a wheel that `make wheel` "
            "made on a machine like this one"
        )
    return (
        "install the package again with another compiler, as in: CC=clang CXX=clang++ pip install . — "
        f"the whole log is {record.path}"
    )


def _end_of(record: BuildRecord | None) -> str | None:
    # Where there is no compiler the log says no more than the outcome.
    if record is None or record.outcome.startswith("no "):
        return None
    return "\n".join(record.log.splitlines()[-_LOG_LINES:])


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    if table.is_file():
        for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, name = line.partition(":")
            if key.strip() == "model name":
                return name.strip()
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor() or platform.machine()
