"""The kernels in another process: for another processor under emulation, or with a thread sanitizer.

`CallServer` has the methods of `library.Library` that compute, and sends each call with all its memory to the
program of `call_server.c`.
"""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from abi_driver import Memory

from gatestack.kernels import abi

HERE = Path(__file__).resolve().parent
NATIVE = HERE.parents[1] / "native"
_FUNCTIONS = ("sizes", "pack", "forward", "backward")


def build_library(folder: Path, *options: str) -> Path:
    """Compile the kernels with options for CMake, and say where the library is."""
    for command in (["-S", NATIVE, "-B", folder, *options], ["--build", folder]):
        done = subprocess.run(["cmake", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder / "libgatestack.so"


def build_server(library: Path, *compiler: str) -> Path:
    """Compile the program that runs calls, beside the library that it uses."""
    program = library.with_name("call_server")
    source = [f"-I{NATIVE}", str(HERE / "call_server.c"), str(library), "-Wl,-rpath,$ORIGIN", "-pthread"]
    subprocess.run([*compiler, "-O1", "-Wall", "-Werror", "-o", str(program), *source], check=True)
    return program


class CallServer:
    """Kernels that run in another process.

    Args:
        command: that starts the program.
        memory: that holds all arrays of the calls, except lengths and mask.
        callers: threads over there that run each call at once; their results must be the same bits.
    """

    def __init__(self, command: Sequence[str | Path], memory: Memory, *, callers: int = 1) -> None:
        self.memory = memory
        self.callers = callers
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        self.process = subprocess.Popen(
            [*command, str(callers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def sizes(self, call: abi.Call) -> abi.Bytes:
        found = abi.Bytes()
        self._run("sizes", call, found)
        return found

    def pack(self, call: abi.Call) -> None:
        self._run("pack", call)

    def forward(self, call: abi.Call) -> None:
        self._run("forward", call)

    def backward(self, call: abi.Call) -> None:
        self._run("backward", call)

    def close(self) -> str:
        """End the program; give what it said on stderr."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        status = self.process.wait(60)
        said = self._said()
        self.errors.close()
        assert status == 0, said
        return said

    def _run(self, function: str, call: abi.Call, answer: abi.Bytes | None = None) -> None:
        structures = [_block(call), *([] if answer is None else [_block(answer)])]
        layers = (abi.Layer * call.layer_count).from_address(ctypes.addressof(call.layers.contents))
        structures.append(_block(layers))
        size = ctypes.sizeof(abi.Weights) * call.directions
        for layer in layers:
            for given in (layer.weights, layer.gradients):
                if given:
                    structures.append((ctypes.addressof(given.contents), size))
        for address, length in ((call.lengths, 8 * call.batch), (call.mask, call.batch * call.steps)):
            if address:
                structures.append((address, length))
        arrays = [(whole.ctypes.data, whole.nbytes) for whole in self.memory.blocks[::2]]
        blocks = structures + arrays

        parts = [struct.pack("=QQ", _FUNCTIONS.index(function), len(blocks))]
        for address, length in blocks:
            parts += [struct.pack("=QQ", address, length), ctypes.string_at(address, length)]
        assert self.process.stdin
        try:
            self.process.stdin.write(b"".join(parts))
            self.process.stdin.flush()
        except BrokenPipeError:
            self._ended()

        # Only what the library may write to comes back: the structures over there have other pointers.
        written = arrays if answer is None else [_block(answer), *arrays]
        first = None
        for _ in range(self.callers):
            (status,) = struct.unpack("=i", self._read(4))
            assert status == 0, f"{function} gave {status}"
            came = {block: self._read(block[1]) for block in blocks}
            results = [came[block] for block in written]
            first = first or results
            for block, mine, other in zip(written, results, first, strict=True):
                scratch = call.scratch and block[0] <= call.scratch < sum(block)  # may hold anything
                assert mine == other or scratch, f"{function}: threads that call at once differ"
        for (address, length), content in zip(written, first or [], strict=True):
            ctypes.memmove(address, content, length)

    def _read(self, count: int) -> bytes:
        assert self.process.stdout
        content = self.process.stdout.read(count)
        if len(content) < count:
            self._ended()
        return content

    def _ended(self) -> NoReturn:
        status = self.process.wait(60)
        raise AssertionError(f"the program ended with {status}: {self._said()}") from None

    def _said(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")[:8000]


def _block(structure: ctypes.Structure | ctypes.Array) -> tuple[int, int]:
    return ctypes.addressof(structure), ctypes.sizeof(structure)
