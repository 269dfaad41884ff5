"""The tests of the kernels hold under every instruction set of this machine, and from another compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from call_server import build_library

from gatestack.kernels import library

ROOT = Path(__file__).resolve().parents[2]
# The one in use is what the rest of this run tests.
OTHERS = () if library.find() is None else [isa for isa in library.load().isas if isa != library.load().isa]


def run_tests(*words: str, **variables: str) -> None:
    """Run tests in a process with these environment variables."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *words],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


# Every cell in both directions, plain and with all its options, called without the seam.
EVERY_CELL = ("-k", "abi-2 and (plain or everything)", "tests/kernels/test_against_reference.py")


@pytest.mark.parametrize("isa", OTHERS)
def test_every_cell_under(isa: str) -> None:
    run_tests(*EVERY_CELL, GATESTACK_ISA=isa)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("isa", OTHERS)
def test_everything_under(isa: str) -> None:
    folders = ("kernels", "nn", "training", "tasks")
    this = "--ignore=tests/kernels/test_instruction_sets.py"
    run_tests(this, *(f"tests/{name}" for name in folders), GATESTACK_ISA=isa)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    shutil.which("clang++") is None or shutil.which("cmake") is None, reason="no clang++ or cmake"
)
def test_every_cell_compiled_by_clang(tmp_path: Path) -> None:
    kernels = build_library(tmp_path, "-DCMAKE_C_COMPILER=clang", "-DCMAKE_CXX_COMPILER=clang++")
    for isa in library.load().isas:
        run_tests(*EVERY_CELL, GATESTACK_ISA=isa, GATESTACK_LIBRARY=str(kernels))
