"""Any number of threads, of Python's too, and processes after a fork: the same bits, never a standstill."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from stacks import Problem, gradients, make_problem, make_spec, results
from torch import Tensor

from gatestack.kernels import library
from gatestack.kernels.backend import use_backend

pytestmark = [
    pytest.mark.skipif(library.find() is None, reason="this installation has no compiled kernels"),
    pytest.mark.timeout(120),  # a standstill is a failure, too
]

LENGTHS = torch.tensor([40, 3, 0, 40, 17, 1, 39])


@pytest.fixture(params=[True, False], ids=["threads of torch", "own threads"], autouse=True)
def whose(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the kernels run on torch's OpenMP threads, or on their own."""
    kernels = library.load()
    if request.param:
        if not kernels.share_threads():
            pytest.skip("torch has no OpenMP library whose threads can be shared")
    else:
        kernels.raw.gatestack_use_openmp(None)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    kernels.share_threads()


def make(cell: str, directions: int) -> Problem:
    spec = make_spec(cell, layers=2, directions=directions, size=19)
    return make_problem(spec, len(LENGTHS), int(LENGTHS.max()), dtype=torch.float32, gradients=True)


def compute(problem: Problem) -> list[Tensor]:
    """Every result and every gradient."""
    with use_backend("native"):
        found = results(problem.run(lengths=LENGTHS))
        return [part.detach() for part in found] + gradients(problem, lambda: problem.run(lengths=LENGTHS))


def same(ones: list[Tensor], others: list[Tensor]) -> bool:
    """Bit for bit."""
    return all(torch.equal(one, other) for one, other in zip(ones, others, strict=True))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
@pytest.mark.parametrize("directions", [1, 2])
def test_the_number_of_threads_changes_no_bit(cell: str, directions: int) -> None:
    problem = make(cell, directions)
    torch.set_num_threads(1)
    alone = compute(problem)
    for threads in (2, 3, 8):
        torch.set_num_threads(threads)
        assert same(compute(problem), alone), f"{threads} threads"


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_of_python_compute_at_once_what_one_computes_alone(threads: int) -> None:
    problems = [make(cell, directions) for cell in ("lstm", "gru") for directions in (1, 2)]
    torch.set_num_threads(threads)
    alone = [compute(problem) for problem in problems]

    def repeat(number: int) -> bool:
        torch.set_num_threads(threads)  # the setting belongs to a thread
        return all(same(compute(problems[number]), alone[number]) for _ in range(10))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(repeat, range(4)))


def test_calls_release_the_lock_of_python() -> None:
    # ctypes has one class of libraries that hold it, and one of those that do not.
    assert not isinstance(library.load().raw, ctypes.PyDLL)


FORK = """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: a fork with threads
import torch
from stacks import make_problem, make_spec, results
from gatestack.kernels.library import load

if sys.argv[1] == "own":
    load().raw.gatestack_use_openmp(None)
problem = make_problem(make_spec("lstm", directions=2, size=19), 9, 60, dtype=torch.float32)

def same():
    return all(map(torch.equal, results(problem.run()), before))

def go_on():
    while not stop:
        problem.run()

for threads in (1, 2):
    torch.set_num_threads(threads)
    before = results(problem.run())
    stop = False
    thread = threading.Thread(target=go_on)  # so that forks come while a call is under way
    thread.start()
    for _ in range(8):
        child = os.fork()
        if child == 0:
            try:
                grandchild = os.fork()
                fine = all([same() for _ in range(3)])
                if grandchild == 0:
                    os._exit(not fine)
                os._exit(not fine or os.waitpid(grandchild, 0)[1] != 0)
            finally:
                os._exit(1)
        assert same()
        assert os.waitpid(child, 0)[1] == 0
    stop = True
    thread.join()
print("the same")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_computes_the_same(request: pytest.FixtureRequest) -> None:
    whose = "own" if "own threads" in request.node.callspec.id else "torch"
    done = subprocess.run(
        [sys.executable, "-c", FORK, whose],
        env=os.environ | {"GATESTACK_BACKEND": "native", "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.strip() == "the same", done.stderr
