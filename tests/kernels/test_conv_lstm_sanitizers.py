"""The step of the convolutional LSTM under every instruction set and under the compiler's sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from call_server import NATIVE, build_library
from native_mutants import Mutant
from test_instruction_sets import OTHERS, run_tests
from test_sanitizers import ISAS, UNRANDOMISED, WITH_GCC, run_checked, runtime

HERE = Path(__file__).resolve().parent
STEPS = ("-k", "alone or place or not_given or threads", "tests/kernels/test_conv_lstm_kernels.py")
needs_sanitizers = pytest.mark.skipif(
    runtime("libasan.so") is None or runtime("libtsan.so") is None,
    reason="needs g++, its sanitizers and cmake",
)
PER_IMAGE = Mutant(
    "each image adds to the gradients of the peepholes whenever it likes",
    "step.run(call.peephole != nullptr,",
    "step.run(false,",
)


@pytest.mark.parametrize("isa", OTHERS)
def test_the_step_under(isa: str) -> None:
    run_tests(*STEPS, GATESTACK_ISA=isa)


@needs_sanitizers
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_access_is_outside_and_nothing_is_undefined(tmp_path: Path) -> None:
    kernels = build_library(tmp_path, "-DGATESTACK_SANITIZE=address,undefined", *WITH_GCC)
    for isa in ISAS:
        done = run_checked(kernels, isa, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *STEPS)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        assert " passed" in done.stdout


def run_on_threads(sources: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the steps of `conv_lstm_race.c` on the baseline engine, and look for races."""
    program = folder / "race"
    files = [HERE / "conv_lstm_race.c", *(sources / f"{name}.cpp" for name in ("engine", "api", "threads"))]
    flags = ["-fsanitize=thread", "-O1", "-g", "-DGATESTACK_ENGINE=baseline", f"-I{sources}", "-pthread"]
    objects = []
    for file in files:
        compiler = ["gcc"] if file.suffix == ".c" else ["g++", "-std=c++17"]
        objects.append(str(folder / f"{file.stem}.o"))
        subprocess.run([*compiler, *flags, "-c", str(file), "-o", objects[-1]], check=True)
    subprocess.run(["g++", "-fsanitize=thread", "-o", str(program), *objects, "-pthread"], check=True)
    return subprocess.run([*UNRANDOMISED, str(program)], capture_output=True, text=True, check=False)


@needs_sanitizers
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_data_race(tmp_path: Path) -> None:
    done = run_on_threads(NATIVE, tmp_path)
    assert "ThreadSanitizer" not in done.stderr, done.stderr
    assert done.returncode == 0
    assert done.stdout == "the same bits\n"


@needs_sanitizers
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_race_of_the_peepholes_gradients_is_seen(tmp_path: Path) -> None:
    sources = Path(shutil.copytree(NATIVE, tmp_path / "native"))
    PER_IMAGE.plant(sources)
    assert "ThreadSanitizer: data race" in run_on_threads(sources, tmp_path).stderr
