"""Wheels of this package and the environments they are installed in, for the tests of the build."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What the package is built from.
SOURCES = ("CMakeLists.txt", "LICENSE", "README.md", "constraints.txt", "native", "pyproject.toml", "src")

_NOWHERE = "/nonexistent/compiler"


def environment(*, compiler: bool, **more: str) -> dict[str, str]:
    """Give the variables for a process that sees no other Gatestack, and a compiler only when it may."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GATESTACK_", "PYTHON", "VIRTUAL_ENV"))
    }
    constraints = str(ROOT / "constraints.txt")
    pins = {"PIP_CONSTRAINT": constraints, "PIP_BUILD_CONSTRAINT": constraints}
    compilers = {} if compiler else {"CC": _NOWHERE, "CXX": _NOWHERE}
    return kept | pins | compilers | {"OMP_NUM_THREADS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"} | more


def build_wheel(source: Path, folder: Path, *options: str, compiler: bool = True) -> Path:
    """Build the wheel of a source tree."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        folder,
        *options,
        source,
    ]
    done = subprocess.run(
        command, env=environment(compiler=compiler), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("gatestack-*.whl")
    return wheel


class Installed:
    """A wheel in a virtual environment of its own; what it depends on is taken from this one.

    Args:
        wheel: to install.
        folder: of the environment, to be made.
    """

    def __init__(self, wheel: Path, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.python = folder / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--no-index", wheel], env=environment(compiler=False), check=True)
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        self.packages = folder / "lib" / version / "site-packages"
        (self.packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
        # Nothing is on the path, so that nothing can be compiled.
        self.path = folder / "empty"
        self.path.mkdir()

    def run(self, code: str, *words: str, **variables: str) -> str:
        """Run code in the environment, where no tool is on the path; give what it prints."""
        done = subprocess.run(
            [self.python, "-c", code, *words],
            cwd=self.path,
            env=environment(compiler=False, PATH=str(self.path), **variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
