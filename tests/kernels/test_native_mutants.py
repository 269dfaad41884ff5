"""The quick tests of the kernels catch every fault that is planted in their C++; they pass without one.

Each mutant is a compilation and a run of tests in a process of its own, which a fault may well bring down.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from native_mutants import MUTANTS, Mutant

HERE = Path(__file__).resolve().parent
NATIVE = HERE.parents[1] / "native"
COMPILER = shutil.which(os.environ.get("CXX", "c++"))
FLAGS = [
    *("-O1", "-std=c++17", "-fPIC", "-shared", "-fno-exceptions", "-fno-rtti"),
    *("-fno-threadsafe-statics", "-fno-math-errno", "-ffp-contract=off", "-DGATESTACK_ENGINE=baseline"),
]
QUICK_TESTS = (
    "test_against_reference.py",
    "test_masks.py",
    "test_abi_contract.py",
    "test_exact_promises.py",
    "test_activations.py",
    "test_conv_lstm_kernels.py",
)
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler on this machine")


def compiled(folder: Path, mutant: Mutant | None) -> Path:
    """The library for the baseline instruction set alone, with one fault or none."""
    sources = folder / "native"
    shutil.copytree(NATIVE, sources)
    if mutant is not None:
        mutant.plant(sources)
    library = folder / "libgatestack.so"
    files = [str(sources / name) for name in ("engine.cpp", "api.cpp", "threads.cpp")]
    command = [
        str(COMPILER),
        *FLAGS,
        "-DGATESTACK_ENGINE=baseline",
        "-o",
        str(library),
        *files,
        "-lpthread",
        "-lm",
    ]
    subprocess.run(command, check=True)
    return library


def run_quick_tests(library: Path) -> subprocess.CompletedProcess[str]:
    """The tests of the kernels against a library, up to the first that fails."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-k", "not torch"]
    command += [str(HERE / name) for name in QUICK_TESTS]
    variables = {**os.environ, "GATESTACK_LIBRARY": str(library), "GATESTACK_ISA": "", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=HERE.parents[1], env=variables, capture_output=True, text=True, check=False
    )


@needs_compiler
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_quick_tests_pass_without_a_fault(tmp_path: Path) -> None:
    result = run_quick_tests(compiled(tmp_path, None))
    assert result.returncode == 0, result.stdout[-3000:]


@needs_compiler
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_fault_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    result = run_quick_tests(compiled(tmp_path, mutant))
    # 1 where a test failed, negative where the process was brought down; 2 and more are errors of this test.
    assert result.returncode == 1 or result.returncode < 0, result.stdout[-3000:] + result.stderr[-3000:]


def test_every_fault_has_its_place(tmp_path: Path) -> None:
    for number, mutant in enumerate(MUTANTS):
        mutant.plant(shutil.copytree(NATIVE, tmp_path / str(number)))


def test_names_are_unique() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
