"""The compiled library: its ABI is mirrored truly, it is there where it can be, what is asked for is kept."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gatestack.errors import ArgumentError, KernelError
from gatestack.kernels import abi, library

HEADER = Path(__file__).resolve().parents[2] / "native" / "gatestack.h"
COMPILER = shutil.which(os.environ.get("CC", "cc")) and shutil.which(os.environ.get("CXX", "c++"))
STRUCTURES = {
    "gatestack_weights": abi.Weights,
    "gatestack_layer": abi.Layer,
    "gatestack_call": abi.Call,
    "gatestack_bytes": abi.Bytes,
    "gatestack_conv_lstm": abi.ConvLSTMStep,
}
CONSTANTS = {
    "GATESTACK_VERSION": abi.VERSION,
    "GATESTACK_LSTM": abi.CELLS["lstm"],
    "GATESTACK_GRU": abi.CELLS["gru"],
    "GATESTACK_GRU_RESET_BEFORE": abi.CELLS["gru_reset_before"],
    "GATESTACK_RNN_TANH": abi.CELLS["rnn_tanh"],
    "GATESTACK_RNN_RELU": abi.CELLS["rnn_relu"],
    "GATESTACK_FLOAT32": abi.DTYPES["float32"],
    "GATESTACK_FLOAT64": abi.DTYPES["float64"],
    **{f"GATESTACK_{flag.name}": flag.value for flag in abi.Flag},
    **{f"GATESTACK_{status.name}": status.value for status in abi.Status},
}

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C and C++ compiler on this machine")
needs_kernels = pytest.mark.skipif(library.find() is None, reason="this installation has no compiled kernels")


def compiled(source: str, folder: Path, *flags: str) -> Path:
    """Compile a C program or library against the header."""
    (folder / "source.c").write_text(source)
    command = [
        os.environ.get("CC", "cc"),
        f"-I{HEADER.parent}",
        *flags,
        "-o",
        str(folder / "made"),
        str(folder / "source.c"),
    ]
    subprocess.run(command, check=True)
    return folder / "made"


def in_a_new_process(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code where nothing is loaded yet."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | variables, check=False
    )


@needs_compiler
def test_structures_and_constants_are_those_of_the_header(tmp_path: Path) -> None:
    asked = {f"sizeof({name})": ctypes.sizeof(mirror) for name, mirror in STRUCTURES.items()}
    asked |= {
        f"offsetof({name}, {field[0]})": getattr(mirror, field[0]).offset
        for name, mirror in STRUCTURES.items()
        for field in mirror._fields_
    }
    asked |= CONSTANTS
    lines = "".join(f'  printf("%lld\\n", (long long)({expression}));\n' for expression in asked)
    head = '#include <stddef.h>\n#include <stdio.h>\n#include "gatestack.h"\n'
    program = compiled(f"{head}int main(void) {{\n{lines}  return 0;\n}}\n", tmp_path)
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    assert dict(zip(asked, map(int, said), strict=True)) == asked


def test_every_name_of_the_header_is_mirrored() -> None:
    text = re.sub(r"//[^\n]*", "", HEADER.read_text(encoding="utf-8"))
    assert set(re.findall(r"\b(gatestack_\w+)\(", text)) == abi.FUNCTIONS.keys()
    assert set(re.findall(r"}\s*(gatestack_\w+);", text)) == STRUCTURES.keys()
    assert set(re.findall(r"\b(GATESTACK_\w+)\s*=", text)) | {"GATESTACK_VERSION"} == CONSTANTS.keys()


@needs_compiler
def test_kernels_are_there_where_a_compiler_is() -> None:
    record = library.build_record()
    assert library.find() is not None, record and f"{record.outcome}\n{record.log[-3000:]}"


@needs_kernels
def test_the_best_instruction_set_is_taken() -> None:
    code = "from gatestack.kernels.library import load; print(load().isa)"
    kernels = library.load()
    assert kernels.isas[-1] == "baseline"
    environment = {name: value for name, value in os.environ.items() if name != "GATESTACK_ISA"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == kernels.isas[0]


@needs_kernels
@pytest.mark.parametrize("isa", ["avx512", "avx2", "baseline"])
def test_an_instruction_set_can_be_named(isa: str) -> None:
    done = in_a_new_process(
        "from gatestack.kernels.library import load; print(load().isa)", GATESTACK_ISA=isa
    )
    if isa in library.load().isas:
        assert done.stdout.strip() == isa
    else:
        assert "ArgumentError" in done.stderr


@needs_kernels
def test_an_unknown_instruction_set_is_refused_with_the_known_ones() -> None:
    done = in_a_new_process("from gatestack.kernels.library import find; find()", GATESTACK_ISA="avx1024")
    assert "ArgumentError: the environment variable GATESTACK_ISA: 'avx1024'" in done.stderr
    assert f"there are: {', '.join(library.load().isas)}" in done.stderr


def test_a_library_that_is_named_and_absent_is_refused(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.so")
    done = in_a_new_process("from gatestack.kernels.library import find; find()", GATESTACK_LIBRARY=absent)
    assert f"KernelError: {absent}: the compiled kernels cannot be loaded" in done.stderr


def test_where_there_are_no_kernels_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["gatestack.kernels"], "__path__", [str(tmp_path)])
    monkeypatch.delenv("GATESTACK_LIBRARY", raising=False)
    library.find.cache_clear()
    try:
        assert library.find() is None
        assert library.build_record() is None
        with pytest.raises(KernelError, match=r"has no compiled kernels\n"):
            library.load()
        log = tmp_path / "_native" / "build.log"
        log.parent.mkdir()
        log.write_text("no C++ compiler was found\nCMake said so\n")
        record = library.BuildRecord("no C++ compiler was found", "CMake said so\n", log)
        assert library.build_record() == record
        with pytest.raises(KernelError, match=r"no C\+\+ compiler was found\n\nhint: .*gatestack doctor"):
            library.load()
    finally:
        library.find.cache_clear()


@needs_compiler
@pytest.mark.parametrize("fault", ["another version", "not ours"])
def test_a_library_that_does_not_fit_is_refused(tmp_path: Path, fault: str) -> None:
    body = dict.fromkeys(abi.FUNCTIONS, "return 0")
    body["gatestack_isa"] = 'return (long)"baseline"'
    body["gatestack_sizes"] = "return 1"
    if fault == "not ours":
        del body["gatestack_backward"]
    source = "".join(f"long {name}(void) {{ {line}; }}\n" for name, line in body.items())
    path = compiled(source, tmp_path, "-shared", "-fPIC")
    words = {"another version": "another version of native/gatestack.h", "not ours": "gatestack_backward"}
    with pytest.raises(KernelError, match=f"{words[fault]}(.|\n)*hint: install the package again"):
        library.Library(path)


@needs_kernels
def test_statuses_become_errors() -> None:
    kernels = library.load()
    with pytest.raises(ArgumentError, match="gatestack_sizes refused"):
        kernels.sizes(abi.empty_call())
    with pytest.raises(KernelError, match="another version"):
        kernels.sizes(abi.Call())
    with pytest.raises(KernelError, match="the status 77"):
        kernels.check(77, "gatestack_forward")


@needs_kernels
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_peak_is_a_rate(dtype: str) -> None:
    assert library.load().peak_gflops(dtype, seconds=0.01) > 0.1


def test_the_peak_of_an_unknown_dtype_is_refused() -> None:
    if library.find() is not None:
        with pytest.raises(ArgumentError, match="'float64'"):
            library.load().peak_gflops("float46")


def test_the_library_needs_no_torch() -> None:
    done = in_a_new_process(
        "import sys; from gatestack.kernels.library import find; find(); assert 'torch' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr
