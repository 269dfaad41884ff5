"""The compiled library: found, loaded, and what it says of itself. No torch here.

A package without compiled kernels is sound: `find` gives None there. Two environment variables are read at
the first use; what they name is used or refused:

| variable | meaning |
|---|---|
| `GATESTACK_ISA` | the instruction set to use, one of `load().isas` |
| `GATESTACK_LIBRARY` | path of another build of the library, such as one with sanitizers |
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from gatestack.errors import ArgumentError, KernelError, check_choice
from gatestack.kernels.abi import DTYPES, FUNCTIONS, Bytes, Call, Status, empty_call

__all__ = ["BuildRecord", "Library", "build_record", "find", "load"]


class Library:
    """The loaded library. Calls release Python's lock.

    Args:
        path: of the shared library.

    Attributes:
        raw: the C functions as ctypes has them, for callers who look at the status themselves.

    Raises:
        KernelError: it cannot be loaded, or belongs to another version of the package.
        ArgumentError: GATESTACK_ISA names an instruction set that is not there.

    Example:
        >>> library = find()
        >>> library is None or library.isa in library.isas
        True
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.raw = ctypes.CDLL(str(path.absolute()))
            for name, (result, arguments) in FUNCTIONS.items():
                function = getattr(self.raw, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError) as error:
            raise KernelError(
                f"the compiled kernels cannot be loaded: {error}",
                where=str(path),
                hint="install the package again, or set GATESTACK_BACKEND=torch to do without them",
            ) from error
        if not self.isa:
            raise ArgumentError(
                f"{os.environ.get('GATESTACK_ISA', '')!r}",
                where="the environment variable GATESTACK_ISA",
                expected="an instruction set that this machine and this build have",
                hint="there are: " + ", ".join(self.isas),
            )
        # An empty call: a library of this header looks at its size first, and refuses the rest.
        if self.raw.gatestack_sizes(empty_call(), Bytes()) == Status.BAD_SIZE:
            self.check(Status.BAD_SIZE, "gatestack_sizes")

    @cached_property
    def isa(self) -> str:
        """The instruction set in use: "avx512", "avx2" or "baseline"."""
        return str(self.raw.gatestack_isa().decode())

    @cached_property
    def isas(self) -> tuple[str, ...]:
        """The instruction sets that this machine and this build have, best first."""
        return tuple(self.raw.gatestack_isas().decode().split())

    @cached_property
    def has_bfloat16(self) -> bool:
        """Whether products in bfloat16 have instructions of their own here."""
        return bool(self.raw.gatestack_has_bfloat16())

    def peak_gflops(self, dtype: str = "float32", *, seconds: float = 0.1) -> float:
        """Measure how many GFLOP/s of fused multiply-adds one thread reaches on registers alone.

        Args:
            dtype: "float32" or "float64".
            seconds: about how long to measure.
        """
        check_choice("dtype", dtype, list(DTYPES), owner="peak_gflops")
        return float(self.raw.gatestack_peak_gflops(DTYPES[dtype], seconds))

    def share_threads(self) -> bool:
        """Run calls on the threads of the OpenMP library that torch has loaded, if it has.

        Two pools of threads would wait for work on the same cores.

        Returns:
            Whether there is one; the library has threads of its own otherwise.
        """
        try:
            # torch loads its OpenMP library for all to see; that of another package is not found here.
            parallel = ctypes.CDLL(None).GOMP_parallel
        except (OSError, AttributeError):
            return False
        self.raw.gatestack_use_openmp(ctypes.cast(parallel, ctypes.c_void_p))
        return True

    def sizes(self, call: Call) -> Bytes:
        """Say how many bytes a call needs.

        Raises:
            ArgumentError: a value outside its range, or options that exclude each other.
        """
        found = Bytes()
        self.check(self.raw.gatestack_sizes(call, found), "gatestack_sizes")
        return found

    def pack(self, call: Call) -> None:
        """Fill `call.packed` from the weights; raises as `sizes` does."""
        self.check(self.raw.gatestack_pack(call), "gatestack_pack")

    def forward(self, call: Call) -> None:
        """Compute outputs and final states; raises as `sizes` does."""
        self.check(self.raw.gatestack_forward(call), "gatestack_forward")

    def backward(self, call: Call) -> None:
        """Compute gradients; raises as `sizes` does."""
        self.check(self.raw.gatestack_backward(call), "gatestack_backward")

    def check(self, status: int, function: str) -> None:
        """Turn the status of a C function into an error.

        Raises:
            ArgumentError: the function refused a value.
            KernelError: the library was built from another version of the header.
            MemoryError: the function could not get what it needs.
        """
        if status == Status.OK:
            return
        if status == Status.BAD_ARGUMENT:
            raise ArgumentError(
                f"{function} refused the call",
                where=str(self.path),
                expected="values and options as native/gatestack.h has them",
            )
        other = "the library was built from another version of native/gatestack.h"
        raise KernelError(
            other if status == Status.BAD_SIZE else f"{function} gave the status {status}",
            where=str(self.path),
            hint="install the package again",
        )


@dataclass(frozen=True)
class BuildRecord:
    """What the build of this package left to tell of its compiled kernels.

    Args:
        outcome: one line, such as "built by GNU 12.2.0" or "no C++ compiler was found".
        log: what CMake and the compiler said, where they failed.
        path: of the file that says this.
    """

    outcome: str
    log: str
    path: Path


@cache
def find() -> Library | None:
    """Load the compiled kernels, once per process; None where this package was built without them.

    Raises:
        KernelError: they are there and cannot be used, or GATESTACK_LIBRARY names no library.
        ArgumentError: GATESTACK_ISA names an instruction set that is not there.
    """
    named = os.environ.get("GATESTACK_LIBRARY")
    path = Path(named) if named else _installed("libgatestack.so", "libgatestack.dylib")
    if path is None:
        return None
    library = Library(path)
    library.share_threads()
    return library


def load() -> Library:
    """Load the compiled kernels, which must be there.

    Raises:
        KernelError: this package was built without them; or as `find`.
        ArgumentError: as `find`.
    """
    library = find()
    if library is None:
        record = build_record()
        raise KernelError(
            "this installation has no compiled kernels" + (f": {record.outcome}" if record else ""),
            where="gatestack.kernels",
            hint="`gatestack doctor` says why and what to do; GATESTACK_BACKEND=torch does without them",
        )
    return library


def build_record() -> BuildRecord | None:
    """Read what the build said of the compiled kernels; None where there was no build."""
    path = _installed("build.log")
    if path is None:
        return None
    outcome, _, log = path.read_text(encoding="utf-8", errors="replace").partition("\n")
    return BuildRecord(outcome, log, path)


def _installed(*names: str) -> Path | None:
    """Find a file that the build installed; in an editable installation it lies apart from the sources."""
    folders = sys.modules["gatestack.kernels"].__path__
    places = [Path(folder) / "_native" / name for folder in folders for name in names]
    return next((place for place in places if place.is_file()), None)
