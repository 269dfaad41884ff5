"""What is loaded before it is needed; the time of a start is that of its imports."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

OPTIONAL = ("h5py", "keras", "onnx", "onnxruntime")
TABLES = ("pandas", "polars", "pyarrow")
HEAVY = {"lightning_fabric", "matplotlib", "scipy", "sklearn", "torch", *TABLES, *OPTIONAL}


def loaded_after(code: str, *arguments: str) -> tuple[str, set[str]]:
    """Run code in a new interpreter; give its output and which of the heavy packages it loaded."""
    report = f"import sys; sys.stderr.write('\\nloaded:' + ' '.join(sys.modules.keys() & {HEAVY!r}))"
    program = f"import atexit\natexit.register(lambda: exec({report!r}))\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    talk, mark, names = done.stderr.rpartition("\nloaded:")
    assert mark, done.stderr
    assert done.returncode == 0, talk
    return done.stdout, set(names.split())


def test_the_check_sees_a_heavy_import() -> None:
    assert "pandas" in loaded_after("import pandas")[1]


@pytest.mark.parametrize("module", ["gatestack", "gatestack.errors"])
def test_import_is_light(module: str) -> None:
    assert not loaded_after(f"import {module}")[1]


def test_a_saved_model_is_read_without_torch() -> None:
    assert "torch" not in loaded_after("import gatestack.runtime")[1]


def test_what_is_optional_is_loaded_by_what_needs_it() -> None:
    loaded = loaded_after("import gatestack.convert, gatestack.compat.torch, gatestack.nn")[1]
    assert not loaded.intersection(OPTIONAL)


def test_the_reference_needs_numpy_alone() -> None:
    assert not loaded_after("import gatestack.reference")[1]


def test_the_version_is_that_of_the_installed_package() -> None:
    code = "import gatestack; print(gatestack.__version__)"
    assert loaded_after(code)[0].strip() == importlib.metadata.version("gatestack")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["fit", "--help"]])
def test_help_is_light(arguments: list[str]) -> None:
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="gatestack")
    module, _, function = entry.value.partition(":")
    output, loaded = loaded_after(f"from {module} import {function}; {function}()", *arguments)
    assert output.strip()
    assert not loaded
