"""The package installs everywhere: with its kernels where a compiler was, without them where none was."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from wheels import ROOT, SOURCES, Installed, build_wheel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler on this machine")

# As `make wheel` has it.
REQUIRED = ["--config-settings", "cmake.define.GATESTACK_REQUIRE_KERNELS=ON"]
DOCTOR = "from gatestack.cli.main import run; run()"
# A layer trained for a step, on the backend that GATESTACK_BACKEND names.
STEP = """
import torch, gatestack as gs
torch.manual_seed(0)
layer = gs.nn.LSTM(16, input_size=3, bidirectional=True)
x = torch.randn(4, 9, 3, requires_grad=True)
output, _ = layer(x, lengths=torch.tensor([9, 0, 4, 1]))
output.square().sum().backward()
print(gs.__file__, output.square().sum().item(), x.grad.abs().sum().item(), sep="\\n")
"""


@needs_compiler
def test_a_wheel_holds_the_kernels_and_needs_no_compiler(tmp_path: Path) -> None:
    wheel = build_wheel(ROOT, tmp_path / "dist", *REQUIRED)
    assert "-py3-none-" in wheel.name
    assert "-any" not in wheel.name
    content = zipfile.ZipFile(wheel)
    (library,) = [name for name in content.namelist() if "libgatestack" in name]
    assert b"libstdc++" not in content.read(library), "the library is to load beside any C++ runtime"

    installed = Installed(wheel, tmp_path / "venv")
    doctor = json.loads(installed.run(DOCTOR, "doctor", "--json"))["kernels"]
    assert doctor["state"] == "there"
    assert doctor["library"] == str(installed.packages / library)
    place, *native = installed.run(STEP, GATESTACK_BACKEND="native").split()
    assert place == str(installed.packages / "gatestack" / "__init__.py")
    _, *torchs = installed.run(STEP, GATESTACK_BACKEND="torch").split()
    # Sums of about 300 numbers of float32, each off by some units in the last place.
    assert list(map(float, native)) == pytest.approx(list(map(float, torchs)), rel=1e-5)


def test_without_a_compiler_the_package_runs_on_torch_and_says_so(tmp_path: Path) -> None:
    installed = Installed(build_wheel(ROOT, tmp_path / "dist", compiler=False), tmp_path / "venv")
    told = installed.run(DOCTOR, "doctor")
    assert "not there (no C++ compiler was found); torch's operators compute" in told
    assert "what to do: install a C++ compiler" in told
    place, *_ = installed.run(STEP).split()
    assert place == str(installed.packages / "gatestack" / "__init__.py")
    shown = installed.run("import gatestack as gs; print(gs.nn.LSTM(4, input_size=2))")
    assert "backend='torch'" in shown
    with pytest.raises(AssertionError, match=r"KernelError.*no C\+\+ compiler was found"):
        installed.run(STEP, GATESTACK_BACKEND="native")


@needs_compiler
def test_a_failed_compilation_stops_nothing_and_is_shown(tmp_path: Path) -> None:
    source = copied(tmp_path / "source")
    with (source / "native" / "engine.cpp").open("a") as engine:
        engine.write("\n#error this processor is too old\n")
    installed = Installed(build_wheel(source, tmp_path / "dist"), tmp_path / "venv")
    told = installed.run(DOCTOR, "doctor")
    assert "not there (the compilation failed)" in told
    assert "error: #error this processor is too old" in told
    assert installed.run(STEP).strip()


def test_a_wheel_for_others_is_not_made_without_kernels(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="not compiled: no C"):
        build_wheel(ROOT, tmp_path, *REQUIRED, compiler=False)


@pytest.mark.parametrize("changed", ["native/gatestack.h", "CMakeLists.txt"])
def test_a_change_of_the_sources_installs_and_compiles_again(changed: str) -> None:
    command = ["make", "--dry-run", f"--what-if={changed}", ".venv/.installed-test"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--editable" in told


def copied(folder: Path) -> Path:
    """Copy what the package is built from."""
    folder.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder
