"""The same sources on ARM: cross-compiled, run under emulation, compared with the reference."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import torch
from abi_driver import BareCall, Memory
from call_server import CallServer, build_library, build_server
from test_against_reference import (
    LONG_SETTINGS,
    SETTINGS,
    TOLERANCE_EPSILONS,
    as_dtype,
    expected_of,
    largest_error,
    spec_of,
)

from gatestack.kernels import library

TOOLS = ("cmake", "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++", "qemu-aarch64-static")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
ARM_ROOT = "/usr/aarch64-linux-gnu"  # where Debian puts the C library for ARM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        bool(MISSING), reason=f"apt-get install g++-aarch64-linux-gnu qemu-user-static: no {MISSING}"
    ),
]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """How to start the program that runs calls on ARM."""
    path = build_library(
        tmp_path_factory.mktemp("arm"),
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        "-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc",
        "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
    )
    program = build_server(path, "aarch64-linux-gnu-gcc")
    return [
        "qemu-aarch64-static",
        "-L",
        ARM_ROOT,
        "-U",
        "GATESTACK_ISA",
        str(program),
    ]


@pytest.fixture
def memory(command: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    """Memory whose calls go to the other processor."""
    memory = Memory()
    server = CallServer(command, memory)
    monkeypatch.setattr(library, "load", lambda: server)
    yield memory
    server.close()


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("option", ["plain", "everything"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_reset_before", "rnn_tanh", "rnn_relu"])
def test_arm_computes_like_the_reference(memory: Memory, cell: str, option: str, directions: int) -> None:
    for name, setting in SETTINGS.items():
        spec = spec_of(cell, option, directions, setting)
        problem, case, upstream, expected = expected_of(spec, name, spec.draws, False)
        for dtype in (torch.float64, torch.float32):
            memory.blocks.clear()
            call = BareCall(as_dtype(problem, dtype), case, threads=2, memory=memory)
            found = [*call.forward(), *call.backward(upstream)]
            error = max(
                largest_error(one, other, dtype)
                for one, other in zip(found, [*expected.results, *expected.gradients], strict=True)
            )
            bound = TOLERANCE_EPSILONS[spec.layers[0].layer_norm] * (4 if name in LONG_SETTINGS else 1)
            assert error < bound, f"{name}, {dtype}: {error:.0f} epsilons"
