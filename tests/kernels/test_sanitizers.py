"""The kernels under the compiler's sanitizers: no access outside an array, nothing undefined, no race.

GCC looks at no masked load and no masked store. So where a row ends within a vector the sanitizer sees
nothing in the engines for AVX-512 and AVX2, which mask there; it does in the baseline, which has no masks and
otherwise the same sources. Writes are watched in all of them by the guards of `abi_driver.py`.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from abi_driver import BareCall, Memory
from call_server import CallServer, build_library, build_server
from test_against_reference import SETTINGS, as_dtype, expected_of, largest_error, spec_of

from gatestack.kernels import library

HERE = Path(__file__).resolve().parent
ISAS = () if library.find() is None else library.load().isas


def runtime(name: str) -> str | None:
    """Where GCC has the runtime of a sanitizer."""
    if shutil.which("g++") is None or shutil.which("cmake") is None:
        return None
    told = subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    path = told.stdout.strip()
    return path if Path(path).is_file() else None


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        runtime("libasan.so") is None or runtime("libtsan.so") is None,
        reason="needs g++, its sanitizers and cmake",
    ),
]
# The sanitizer of threads lays out the address space itself, and refuses one that is randomised too widely.
UNRANDOMISED = ("setarch", platform.machine(), "-R")
WITH_GCC = ("-DCMAKE_C_COMPILER=gcc", "-DCMAKE_CXX_COMPILER=g++")


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernels, every access and every operation looked at."""
    folder = tmp_path_factory.mktemp("addresses")
    return build_library(folder, "-DGATESTACK_SANITIZE=address,undefined", *WITH_GCC)


def run_checked(kernels: Path, isa: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the runtime of the sanitizers before everything else."""
    variables = {
        "GATESTACK_ISA": isa,
        "GATESTACK_LIBRARY": str(kernels),
        "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libubsan.so')}",
        # Python and torch keep memory to the end of the process.
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, *command], env=os.environ | variables, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("isa", ISAS)
def test_no_access_is_outside_and_nothing_is_undefined(addresses: Path, isa: str) -> None:
    # Of what is compared with the reference, the calls without the seam: the others run the same C++.
    chosen = "abi or promises or threads"
    files = [str(HERE / f"test_{name}.py") for name in ("against_reference", "exact_promises", "threads")]
    done = run_checked(
        addresses, isa, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", chosen, *files
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert " passed" in done.stdout


@pytest.mark.parametrize("isa", ISAS)
def test_the_sanitizer_sees_an_access_outside(addresses: Path, isa: str) -> None:
    reads_too_far = (
        "import ctypes; from gatestack.kernels.library import load; "
        "x = (ctypes.c_float * 100)(); libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p; "
        "load().raw.gatestack_activation(0, 0, libc.malloc(ctypes.c_size_t(40)), x, 100)"
    )
    done = run_checked(addresses, isa, "-c", reads_too_far)
    assert "ERROR: AddressSanitizer" in done.stderr


@pytest.fixture(scope="module")
def races(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    """How to start a program that calls the kernels from several threads and looks for data races."""
    folder = tmp_path_factory.mktemp("races")
    path = build_library(folder, "-DGATESTACK_SANITIZE=thread", *WITH_GCC)
    return [*UNRANDOMISED, build_server(path, "gcc", "-fsanitize=thread")]


@pytest.fixture
def memory(races: list[str | Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    memory = Memory()
    server = CallServer(races, memory, callers=3)
    monkeypatch.setattr(library, "load", lambda: server)
    yield memory
    said = server.close()
    assert "ThreadSanitizer" not in said, said


RACE = """
#include <pthread.h>
int shared;
static void *add(void *unused) { for (int i = 0; i < 100000; ++i) ++shared; return unused; }
int main(void) {
  pthread_t other;
  pthread_create(&other, 0, add, 0);
  add(0);
  pthread_join(other, 0);
  return 0;
}
"""


def test_the_sanitizer_sees_a_race(tmp_path: Path) -> None:
    (tmp_path / "race.c").write_text(RACE)
    program = str(tmp_path / "race")
    subprocess.run(["gcc", "-fsanitize=thread", "-o", program, program + ".c", "-pthread"], check=True)
    done = subprocess.run([*UNRANDOMISED, program], capture_output=True, text=True, check=False)
    assert "ThreadSanitizer: data race" in done.stderr


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_reset_before", "rnn_tanh"])
@pytest.mark.parametrize("directions", [1, 2])
def test_no_data_race(memory: Memory, cell: str, directions: int) -> None:
    for name in ("one more than a vector", "between vectors", "many rows, many steps"):
        for option in ("plain", "everything"):
            spec = spec_of(cell, option, directions, SETTINGS[name])
            problem, case, upstream, expected = expected_of(spec, name, spec.draws, False)
            memory.blocks.clear()
            call = BareCall(as_dtype(problem, torch.float64), case, threads=3, memory=memory)
            found = [*call.forward(), *call.backward(upstream)]
            for one, other in zip(found, [*expected.results, *expected.gradients], strict=True):
                assert largest_error(one, other, torch.float64) < 1e5
