"""The tests of the kernels hold under every instruction set of this machine, not under the best alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gatestack.kernels import library

ROOT = Path(__file__).resolve().parents[2]
# The one in use is what the rest of this run tests.
OTHERS = () if library.find() is None else [isa for isa in library.load().isas if isa != library.load().isa]


def run_tests(isa: str, *words: str) -> None:
    """Run tests in a process that uses this instruction set."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *words],
        cwd=ROOT,
        env=os.environ | {"GATESTACK_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


@pytest.mark.parametrize("isa", OTHERS)
def test_every_cell_under(isa: str) -> None:
    chosen = "abi-2 and (plain or everything)"
    run_tests(isa, "-k", chosen, "tests/kernels/test_against_reference.py")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("isa", OTHERS)
def test_everything_under(isa: str) -> None:
    folders = ("kernels", "nn", "training", "tasks")
    run_tests(isa, "--ignore=tests/kernels/test_instruction_sets.py", *(f"tests/{name}" for name in folders))
