"""What the kernels promise to the bit: rows, threads, chunks, masks, repetition; NaN; the ends of rows.

Every comparison here is of bits, in float32, but for those with the reference in the tests of Inf and NaN.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from solvers import KERNELS, Arrays, Case, Solution, draw_upstream, solve, solve_by_reference
from stacks import CASES, OPTIONS, Problem, make_problem, make_spec

from gatestack.kernels.spec import DirectionWeights, LayerSpec, StackSpec

ROWS, STEPS = 13, 9
LENGTHS = (9, 0, 1, 4, 9, 2, 7, 9, 3, 3, 9, 5, 8)
# Through the seam; that the bare ABI gives the same is seen in test_against_reference.py.
each_kernel = pytest.mark.parametrize("solver", KERNELS[:1])
# The mask of a dropout belongs to a row's place in its batch, and a row alone has another place.
EVAL_CASES = [case for case in CASES if "dropout" not in case[1]]
each_case = pytest.mark.parametrize(("cell", "option"), CASES)
each_eval_case = pytest.mark.parametrize(("cell", "option"), EVAL_CASES)
each_direction = pytest.mark.parametrize("directions", [1, 2])


def make(cell: str, option: str, directions: int = 1, *, size: int = 19, rows: int = ROWS) -> Problem:
    """Two layers with a size that no vector divides."""
    return make_problem(
        make_spec(cell, option, directions=directions, size=size, width=5), rows, STEPS, dtype=torch.float32
    )


def part_of(problem: Problem, rows: list[int], steps: slice = slice(None)) -> Problem:
    """Some rows, in any order, and some steps."""
    states = [state and tuple(part[:, rows] for part in state) for state in problem.states]
    return Problem(problem.spec, problem.x[rows][:, steps], states, problem.weights)


def assert_same_bits(found: np.ndarray, expected: np.ndarray, name: str) -> None:
    """Equal, and NaN where the other is NaN; float64 holds every float32, so nothing is lost on the way."""
    np.testing.assert_array_equal(found, expected, err_msg=name, strict=True)


def assert_same(found: Solution, expected: Solution) -> None:
    """The same bits in all results and all gradients."""
    for index, (one, other) in enumerate(zip(found.results, expected.results, strict=True)):
        assert_same_bits(one, other, f"result {index}")
    for index, (one, other) in enumerate(zip(found.gradients, expected.gradients, strict=True)):
        assert_same_bits(one, other, f"gradient {index}")


def rows_of(problem: Problem, values: Arrays, rows: list[int]) -> Arrays:
    """Results, or gradients of them, for some rows; in final states they are the second axis."""
    count = sum(len(layer.state_sizes) for layer in problem.spec.layers)
    return [part[:, rows] if 1 <= index <= count else part[rows] for index, part in enumerate(values)]


@each_kernel
@each_eval_case
@each_direction
def test_a_row_alone_is_the_row_in_any_batch(solver, cell, option, directions) -> None:
    problem = make(cell, option, directions)
    case = Case(lengths=LENGTHS, cells=cell == "lstm")
    upstream = draw_upstream(problem, case)
    batch = solve(problem, case, upstream, solver)
    turned = list(range(ROWS))[::-1]
    for rows in ([0], [1], [5], [12], [4, 5, 6, 7], turned, [2, 2, 2, 0, 2]):
        some = replace(case, lengths=tuple(LENGTHS[row] for row in rows))
        found = solve(part_of(problem, rows), some, rows_of(problem, upstream, rows), solver)
        for one, other in zip(found.results, rows_of(problem, batch.results, rows), strict=True):
            assert_same_bits(one, other, f"rows {rows}")


@each_kernel
@each_case
@each_direction
def test_threads_and_repetition_change_nothing(solver, cell, option, directions) -> None:
    for rows, size in ((ROWS, 19), (2, 33), (1, 8)):
        problem = make(cell, option, directions, size=size, rows=rows)
        case = Case(lengths=LENGTHS[-rows:], cells=cell == "lstm", training=True, seed=11)
        upstream = draw_upstream(problem, case)
        once = solve(problem, case, upstream, solver)
        for threads in (1, 2, 3):
            assert_same(solve(problem, case, upstream, solver, threads=threads), once)


@each_kernel
@each_case
@each_direction
def test_gates_computed_again_are_the_same(solver, cell, option, directions) -> None:
    problem = make(cell, option, directions)
    case = Case(lengths=LENGTHS, cells=cell == "lstm", training=True, seed=11)
    upstream = draw_upstream(problem, case)
    kept = solve(problem, case, upstream, solver)
    assert_same(solve(problem, replace(case, recompute=True), upstream, solver), kept)


@each_kernel
@each_eval_case
@pytest.mark.parametrize("edges", [list(range(STEPS + 1)), [0, 1, 5, 9], [0, 8, 9]], ids=str)
def test_a_sequence_in_pieces_is_the_sequence(solver, cell, option, edges) -> None:
    problem = make(cell, option, rows=4)
    case = Case(cells=cell == "lstm")
    upstream = draw_upstream(problem, case)
    whole = solve(problem, case, upstream, solver)
    states, outputs = problem.states, []
    for first, last in pairwise(edges):
        piece = Problem(problem.spec, problem.x[:, first:last], states, problem.weights)
        found = solve(piece, case, draw_upstream(piece, case), solver)
        outputs.append(found.results[0])
        finals = iter(found.results[1:])
        states = [
            tuple(torch.from_numpy(next(finals)).float() for _ in layer.state_sizes)
            for layer in problem.spec.layers
        ]
    assert_same_bits(np.concatenate(outputs, axis=1), whole.results[0], "output")
    count = sum(len(layer.state_sizes) for layer in problem.spec.layers)
    for one, other in zip(found.results[1 : 1 + count], whole.results[1 : 1 + count], strict=True):
        assert_same_bits(one, other, "final state")


@each_kernel
@each_case
@each_direction
def test_a_row_with_gaps_is_the_row_without_them(solver, cell, option, directions) -> None:
    problem = make(cell, option, directions)
    mask = np.random.default_rng(3).random((ROWS, STEPS)) < 0.6
    mask[2], mask[3] = False, True
    case = Case(mask=mask, cells=cell == "lstm", training=True, seed=2)
    upstream = draw_upstream(problem, case)
    found = solve(problem, case, upstream, solver)
    order = np.argsort(~mask, axis=1, kind="stable")

    def compacted(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, order[:, :, None], axis=1)

    def moved(index: int, values: np.ndarray) -> np.ndarray:
        states = sum(len(layer.state_sizes) for layer in problem.spec.layers)
        return values if 1 <= index <= states else compacted(values)

    front = Problem(
        problem.spec, torch.from_numpy(compacted(problem.x.numpy())), problem.states, problem.weights
    )
    lengths = replace(case, mask=None, lengths=tuple(int(n) for n in mask.sum(axis=1)))
    expected = solve(front, lengths, [moved(i, part) for i, part in enumerate(upstream)], solver)
    found.results[:] = [moved(index, part) for index, part in enumerate(found.results)]
    found.gradients[0] = compacted(found.gradients[0])
    assert_same(found, expected)


@each_kernel
@each_case
@each_direction
def test_zeros_stand_where_no_step_is(solver, cell, option, directions) -> None:
    problem = make(cell, option, directions)
    mask = np.random.default_rng(4).random((ROWS, STEPS)) < 0.6
    for case in (Case(lengths=LENGTHS), Case(mask=mask)):
        case = replace(case, cells=cell == "lstm", training=True, seed=2)
        found = solve(problem, case, draw_upstream(problem, case), solver)
        real = case.real(ROWS, STEPS)
        every = found.results[1 + sum(len(layer.state_sizes) for layer in problem.spec.layers) :]
        for values in (found.results[0], found.gradients[0], *every):
            assert not values[~real].any()


@each_kernel
@each_eval_case
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_go_through_their_row_and_no_further(solver, cell, option, bad) -> None:
    problem = make(cell, option)
    case = Case(cells=cell == "lstm")
    upstream = draw_upstream(problem, case)
    clean = solve(problem, case, upstream, solver)
    problem.x[5, 4, 2] = bad
    found = solve(problem, case, upstream, solver)
    others = [row for row in range(ROWS) if row != 5]
    pairs = zip(rows_of(problem, found.results, others), rows_of(problem, clean.results, others), strict=True)
    for one, other in pairs:
        assert_same_bits(one, other, "other rows")
    assert_same_bits(found.gradients[0][others], clean.gradients[0][others], "gradients of other rows")
    assert_same_bits(found.results[0][5, :4], clean.results[0][5, :4], "steps before")
    with np.errstate(all="ignore"):
        expected = solve_by_reference(problem, case, upstream)
    for one, other in zip(found.results, expected.results, strict=True):
        np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    if np.isnan(bad):
        assert np.isnan(found.results[0][5, 4]).all()
        if (
            cell != "rnn_relu"
        ):  # its slope is 1 or 0, at NaN 0 as in the reference, so nothing goes further back
            assert np.isnan(found.gradients[0][5, :5]).all()
            weight = found.gradients[1 + sum(len(layer.state_sizes) for layer in problem.spec.layers)]
            assert np.isnan(weight).all(), "a gradient of weights is a sum over all rows"


@each_kernel
@pytest.mark.parametrize("cell", OPTIONS["plain"][1])
@pytest.mark.parametrize("scale", [1e4, 1e20, 1e36])
def test_huge_inputs_saturate_as_they_should(solver, cell, scale) -> None:
    problem = make(cell, "plain")
    problem.x.mul_(scale)
    case = Case()
    upstream = draw_upstream(problem, case)
    found = solve(problem, case, upstream, solver)
    with np.errstate(all="ignore"):
        expected = solve_by_reference(problem, case, upstream)
    for one, other in zip(found.results, expected.results, strict=True):
        scales = max(1.0, float(np.abs(other).max()))
        np.testing.assert_allclose(one / scales, other / scales, rtol=1e-3, atol=1e-4)


@each_kernel
@each_case
@each_direction
@pytest.mark.parametrize(("rows", "steps"), [(0, 4), (3, 0), (0, 0)])
def test_nothing_to_compute(solver, cell, option, directions, rows, steps) -> None:
    problem = make_problem(make_spec(cell, option, directions=directions), rows, steps, dtype=torch.float32)
    for training in (False, True):
        case = Case(training=training, cells=cell == "lstm")
        upstream = draw_upstream(problem, case)
        found = solve(problem, case, upstream, solver)
        assert found.results[0].shape == (rows, steps, problem.spec.output_size)
        states = [part.numpy() for state in problem.states for part in state]
        for one, other in zip(found.results[1:], states, strict=False):
            assert_same_bits(one, other.astype(np.float64), "final state")
        for one, other in zip(found.gradients[1:], upstream[1 : 1 + len(states)], strict=False):
            assert_same_bits(one, other.astype(np.float32).astype(np.float64), "gradient of a state")
        assert not any(part.any() for part in found.gradients[1 + len(states) :])


@each_kernel
@pytest.mark.parametrize("cell", OPTIONS["plain"][1])
def test_weights_of_one_direction_do_not_reach_the_other(solver, cell) -> None:
    spec = StackSpec((LayerSpec(cell, 5, 19),), 2)
    problem = make_problem(spec, ROWS, STEPS, dtype=torch.float32)
    case = Case()
    output = solve(problem, case, draw_upstream(problem, case), solver).results[0]
    alone = []
    for direction in (0, 1):
        given = problem.weights[0][0]
        zeros = DirectionWeights(*(None if part is None else torch.zeros_like(part) for part in given))
        weights = [zeros, zeros]
        weights[direction] = problem.weights[0][direction]
        one = Problem(spec, problem.x, problem.states, [weights])
        alone.append(solve(one, case, draw_upstream(one, case), solver).results[0])
    assert_same_bits(output[:, :, :19], alone[0][:, :, :19], "forward half")
    assert_same_bits(output[:, :, 19:], alone[1][:, :, 19:], "reverse half")
