"""GATESTACK_BFLOAT16: operands of the products with weights rounded to bfloat16, everything else in float32.

bfloat16 has 8 bits, so an operand is off by up to 2^-9 of itself. Where an emulation rounds the same
operands, sums are the same but for the order of adding, and for a value now and then that a tie sends to the
other side.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from abi_driver import BareCall
from solvers import Case, draw_upstream, needs_kernels, solve_by_reference
from stacks import CASES, CELLS, Problem, make_problem, make_spec
from test_exact_promises import EVAL_CASES, part_of

from gatestack import reference
from gatestack.kernels import abi
from gatestack.reference import affine

pytestmark = needs_kernels
LENGTHS = (6, 0, 1, 4, 2, 6, 5)
HALF_EPSILON = 2.0**-8
EMULATED = [
    (cell, option)
    for cell, option in CASES
    if cell != "gru_reset_before" and option != "projection"  # their products are not all of the form W v + b
]
each_case = pytest.mark.parametrize(("cell", "option"), CASES)


def make(cell: str, option: str, size: int = 19) -> Problem:
    return make_problem(
        make_spec(cell, option, directions=2, size=size, width=7), len(LENGTHS), 6, dtype=torch.float32
    )


def rounded(values: np.ndarray) -> np.ndarray:
    return torch.from_numpy(values).float().bfloat16().double().numpy()


def error(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.abs(found - expected) / max(1.0, np.abs(expected).max(initial=0.0))


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The length of the difference, over the length of what is expected."""
    return float(np.linalg.norm(found - expected) / max(np.linalg.norm(expected), 1e-30))


@each_case
def test_results_and_gradients_are_near_those_of_float64(cell, option) -> None:
    problem = make(cell, option)
    case = Case(lengths=LENGTHS, training=True, seed=3)
    upstream = draw_upstream(problem, case)
    expected = solve_by_reference(problem, case, upstream)
    call = BareCall(problem, case, half=True)
    found = call.forward()
    for one, other in zip(found, expected.results, strict=True):
        assert distance(one, other) < 0.02
    for one, other in zip(call.backward(upstream), expected.gradients, strict=True):
        # A relu near zero is on in one and off in the other: its whole slope is the difference.
        assert distance(one, other) < (0.5 if cell == "rnn_relu" else 0.06)
    assert np.abs(found[0] - expected.results[0]).max() > 1e-5, "nothing was rounded"


@pytest.mark.parametrize(("cell", "option"), EMULATED)
def test_results_are_those_of_rounded_operands(cell, option, monkeypatch) -> None:
    def rounding(weight, bias, gain, v):
        return affine(rounded(weight), bias, gain, rounded(v))

    for module in ("lstm", "gru", "rnn"):
        monkeypatch.setattr(getattr(reference, module), "affine", rounding)
    problem = make(cell, option)
    case = Case(lengths=LENGTHS, training=True, seed=3)
    expected = solve_by_reference(problem, case, draw_upstream(problem, case)).results
    found = BareCall(problem, case, half=True).forward()
    for one, other in zip(found, expected, strict=True):
        assert np.median(error(one, other)) < 1e-5
        assert error(one, other).max() < (16 if option == "layer_norm" else 4) * HALF_EPSILON


@pytest.mark.parametrize(("cell", "option"), EVAL_CASES)
def test_a_row_alone_is_the_row_in_any_batch_to_the_bit(cell, option) -> None:
    problem = make(cell, option)
    batch = BareCall(problem, Case(lengths=LENGTHS), half=True).forward()
    for rows in ([0], [3], [4, 5, 6], [6, 3, 0]):
        case = Case(lengths=tuple(LENGTHS[row] for row in rows))
        found = BareCall(part_of(problem, rows), case, half=True).forward()
        np.testing.assert_array_equal(found[0], batch[0][rows])
        for one, other in zip(found[1:], batch[1:], strict=True):
            np.testing.assert_array_equal(one, other[:, rows])


@pytest.mark.parametrize("cell", CELLS)
def test_threads_and_recomputed_gates_change_nothing(cell) -> None:
    problem = make(cell, "plain", size=33)
    upstream = draw_upstream(problem, Case())
    runs = []
    for threads, recompute in ((1, False), (2, False), (3, False), (1, True)):
        call = BareCall(problem, Case(lengths=LENGTHS, recompute=recompute), threads=threads, half=True)
        runs.append([*call.forward(), *call.backward(upstream)])
    for run in runs[1:]:
        for one, other in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("cell", CELLS)
def test_nan_goes_through(cell) -> None:
    problem = make(cell, "plain")
    problem.x[0, 2, 1] = np.nan
    output = BareCall(problem, Case(), half=True).forward()[0]
    assert np.isnan(output[0, 2]).all()
    assert np.isfinite(output[1:]).all()


def test_float64_is_refused() -> None:
    call = BareCall(make_problem(make_spec("lstm")), Case())
    call.call.flags |= abi.Flag.BFLOAT16
    assert call.raw.raw.gatestack_forward(call.call) == abi.Status.BAD_ARGUMENT
