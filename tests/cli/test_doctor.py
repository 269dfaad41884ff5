"""`gatestack doctor` tells what is there, why something is not, and what to do; a program can read it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import Result

from gatestack.kernels import backend, library

from .conftest import start

Run = Callable[..., Result]

needs_kernels = pytest.mark.skipif(library.find() is None, reason="this installation has no compiled kernels")


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Let the package look as a build without kernels left it, with this log."""
    monkeypatch.delenv("GATESTACK_LIBRARY", raising=False)
    monkeypatch.setattr(sys.modules["gatestack.kernels"], "__path__", [str(tmp_path)])
    log = tmp_path / "_native" / "build.log"
    log.parent.mkdir()
    forget()
    yield lambda text: log.write_text(text) and None
    forget()


def forget() -> None:
    """Let the next use look for the library again."""
    library.find.cache_clear()
    backend._has_library.cache_clear()


def test_doctor_tells_versions_and_threads(gatestack: Run) -> None:
    done = gatestack("doctor")
    assert done.exit_code == 0, done.output
    assert not done.stderr
    found = json.loads(gatestack("doctor", "--json").stdout)
    assert found["machine"]["versions"]["torch"] == torch.__version__
    assert found["torch"]["threads"] == torch.get_num_threads()
    assert found["torch"]["cuda"] == torch.version.cuda
    for text in (
        torch.__version__,
        found["machine"]["processor"],
        f"threads         {torch.get_num_threads()}",
    ):
        assert text in done.stdout


@needs_kernels
def test_doctor_tells_what_the_kernels_are(gatestack: Run) -> None:
    kernels = library.load()
    found = json.loads(gatestack("doctor", "--json").stdout)["kernels"]
    assert found["state"] == "there"
    assert found["isa"] == kernels.isa
    assert tuple(found["isas"]) == kernels.isas
    assert found["bfloat16"] == kernels.has_bfloat16
    assert found["library"] == str(kernels.path)
    assert found["peak_gflops"]["float32"] > 0
    shown = gatestack("doctor").stdout
    assert f"instruction set {kernels.isa}" in shown
    assert "GFLOP/s per thread" in shown
    assert "what to do" not in shown


@needs_kernels
def test_doctor_follows_a_named_instruction_set(tmp_path: Path) -> None:
    environment = os.environ | {"GATESTACK_ISA": "baseline"}
    command = [sys.executable, "-c", "from gatestack.cli.main import run; run()", "doctor", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert json.loads(done.stdout)["kernels"]["isa"] == "baseline"


def test_doctor_says_that_there_was_no_compiler(gatestack: Run, build: Callable[[str], None]) -> None:
    build("no C++ compiler was found\nCMake Error: lines of noise\n")
    done = gatestack("doctor")
    assert done.exit_code == 0
    assert "not there (no C++ compiler was found); torch's operators compute" in done.stdout
    assert "backend         torch" in done.stdout
    assert "what to do: install a C++ compiler" in done.stdout
    assert "lines of noise" not in done.stdout
    assert json.loads(gatestack("doctor", "--json").stdout)["kernels"]["state"] == "absent"


def test_doctor_shows_the_end_of_a_failed_compilation(gatestack: Run, build: Callable[[str], None]) -> None:
    talk = [f"engine.cpp:{line}: error: expected ';'" for line in range(1000)]
    build("\n".join(["the compilation failed", *talk]))
    shown = gatestack("doctor").stdout
    assert "not there (the compilation failed)" in shown
    assert talk[-1] in shown
    assert talk[0] not in shown
    assert "build.log" in shown


def test_doctor_says_that_there_was_no_build(
    gatestack: Run, build: Callable[[str], None], tmp_path: Path
) -> None:
    build("")
    (tmp_path / "_native" / "build.log").unlink()
    assert "this installation was not built" in gatestack("doctor").stdout


def test_doctor_fails_where_kernels_are_named_and_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATESTACK_LIBRARY", "absent.so")
    told, _ = (doctor := start(["doctor"], tmp_path)).communicate()
    assert doctor.returncode == 1
    assert "they cannot be used" in told
    assert "what to do: absent.so: the compiled kernels cannot be loaded" in told


@pytest.mark.parametrize("named", ["native", "torch", "tourch"])
def test_doctor_tells_the_backend_and_where_it_is_refused(tmp_path: Path, named: str) -> None:
    environment = os.environ | {"GATESTACK_BACKEND": named}
    command = [sys.executable, "-c", "from gatestack.cli.main import run; run()", "doctor"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    if named == "tourch" or (named == "native" and library.find() is None):
        assert done.returncode == 1
        assert "backend         refused" in done.stdout
        assert "what to do: " in done.stdout
    else:
        assert done.returncode == 0
        assert f"backend         {named} " in done.stdout
