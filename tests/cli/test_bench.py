"""`gatestack bench` checks answers before it times them, and tells who was faster."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest
import torch
from typer.testing import Result

from gatestack.cli import bench_cases
from gatestack.cli.bench_cases import CASES, Case, fma_peak, measure
from gatestack.errors import KernelError
from gatestack.kernels import library
from gatestack.nn import Stack

Run = Callable[..., Result]

TINY = (3, 5, 2, 4, 2)


def _tiny(case: Case) -> Case:
    return dataclasses.replace(case, shape=(3, 1, 2, 4, 2) if case.stepper else TINY)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every case small and its time short."""
    monkeypatch.setattr(bench_cases, "CASES", tuple(_tiny(case) for case in CASES))
    monkeypatch.setattr(bench_cases, "BLOCK_S", 0.0)


@pytest.mark.usefixtures("tiny")
def test_bench_tells_both_times_of_every_case(gatestack: Run) -> None:
    before = torch.get_num_threads()
    done = gatestack("bench", "--threads", "1", "--seconds", "0", "--json")
    assert done.exit_code == 0, done.output
    assert not done.stderr
    found = json.loads(done.stdout)
    assert found["threads"] == 1
    assert torch.get_num_threads() == before
    kernels = library.find()
    assert found["instruction_set"] == (kernels.isa if kernels else None)
    assert [case["case"] for case in found["cases"]] == [case.name for case in CASES]
    for case in found["cases"]:
        low, middle, high = case["times"]
        assert 0 < low <= middle <= high
        assert case["error"] < bench_cases.TOLERANCE
        assert (case["peak_gflops"] is None) == (kernels is None)


@pytest.mark.usefixtures("tiny")
def test_bench_shows_a_table(gatestack: Run) -> None:
    done = gatestack("bench", "--threads", "1", "--seconds", "0")
    assert done.exit_code == 0, done.output
    opening, empty, *lines = done.stdout.splitlines()
    assert "1 thread;" in opening
    assert not empty
    assert lines[0].split() == ["gatestack", "torch", "times", "GFLOP/s", "of", "peak"]
    assert len(lines) == 1 + len(CASES)
    assert done.stderr.splitlines()[0] == f"{CASES[0].name} {TINY} …"


@pytest.mark.parametrize("train", [True, False])
def test_a_wrong_answer_is_an_error_and_no_time(monkeypatch: pytest.MonkeyPatch, train: bool) -> None:
    right = Stack.forward

    def wrong(stack: Stack, x: torch.Tensor, **rest: object) -> object:
        output, *others = right(stack, x, **rest)
        # Training: right output, a gradient three times too large. Inference: one step too late.
        return (3 * output - 2 * output.detach() if train else output.roll(1, 1), *others)

    case = Case("a case", "lstm", TINY, train=train)
    measure(case, 0)
    monkeypatch.setattr(Stack, "forward", wrong)
    with pytest.raises(KernelError, match=r"^Gatestack, a case, .* off by .* expected at most 0.0002"):
        measure(case, 0)


def test_operations_count_real_steps_only() -> None:
    whole, ragged = (Case("", "gru", (32, 100, 8, 64, 2), ragged=ragged) for ragged in (False, True))
    assert whole.flop() == 3 * 2 * 3200 * 3 * 64 * (8 + 64 + 64 + 64)
    assert int(ragged.lengths().max()) == 100
    assert 0.7 < ragged.flop() / whole.flop() < 0.8


@pytest.mark.skipif(library.find() is None, reason="this installation has no compiled kernels")
def test_the_peak_is_measured() -> None:
    peak = fma_peak(1)
    assert peak is not None
    assert peak > 0
