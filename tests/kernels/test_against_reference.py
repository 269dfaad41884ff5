"""Every result and every gradient of the kernels against the reference: cells, options, lengths, masks.

**What is compared.** The reference computes in float64 whatever the problem's dtype, from the same numbers: a
float32 weight is a float64 weight, too. The error of an array is the largest difference of its entries, over
the largest entry of the array in the reference (or 1, if that is smaller): an entry that is a small
difference of large terms carries the rounding of these terms, so its own size is no measure.

**Tolerance.** In units of the dtype's epsilon. A product over K terms that are added up one by one in one
order errs by at most K epsilons of the sum of their magnitudes, in practice by about sqrt(K), here up to 11;
sums over all steps and rows (gradients of weights) likewise. Each layer and each step hands its error on, in
both passes. So 64 epsilons; the largest error found is a third of it. Layer normalisation divides by the
spread of a row and multiplies an error by one over it; where the input has a single feature near zero that is
a large factor, once per layer. So 2048 epsilons with it, twice what was found. Over 70 steps, four times as
much.

What these tests can see is therefore any fault larger than 1.4e-14 of an array in float64 (4.5e-13 with layer
normalisation), and 7.6e-6 in float32 (2.4e-4).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from solvers import SOLVERS, Arrays, Case, Solution, draw_upstream, solve, solve_by_reference
from stacks import CASES, OPTIONS, Problem, make_problem, make_spec

from gatestack.kernels.spec import DirectionWeights, LayerSpec, StackSpec

TOLERANCE_EPSILONS = {False: 64, True: 2048}  # by whether there is layer normalisation


@dataclass(frozen=True)
class Setting:
    """Sizes and what is real; a letter of `real` is a row, or all of them."""

    layers: int
    size: int
    width: int
    rows: int
    steps: int
    lengths: tuple[int, ...] | None = None
    mask: tuple[str, ...] | None = None
    recompute: bool = False

    def case(self, **options: object) -> Case:
        """All that `Case` wants to know."""
        mask = None
        if self.mask is not None:
            mask = np.array([[sign == "1" for sign in row] for row in self.mask])
        return Case(lengths=self.lengths, mask=mask, recompute=self.recompute, **options)


SETTINGS = {
    "one of everything": Setting(1, 1, 1, 1, 1),
    "lengths with 0 and 1": Setting(2, 7, 3, 5, 6, lengths=(6, 0, 1, 4, 2)),
    "no row has a step": Setting(2, 3, 2, 2, 4, lengths=(0, 0)),
    "mask: left, right, middle, nothing, all": Setting(
        3, 15, 5, 7, 6, mask=("001111", "110000", "011001", "000000", "111111", "000001", "101010")
    ),
    "one more than a vector": Setting(2, 17, 16, 13, 5, lengths=(5, 5, 3, 0, 1, 5, 2, 4, 5, 5, 1, 3, 5)),
    "between vectors": Setting(2, 50, 65, 9, 4),
    "long, narrow input": Setting(2, 65, 1, 3, 9, lengths=(9, 1, 6)),
    "gates computed again": Setting(2, 9, 4, 5, 6, lengths=(6, 0, 1, 4, 2), recompute=True),
}
# Longer than the chunks of steps in which the kernels work; these take time, so for these options, and on the
# kernels, alone.
LONG_OPTIONS = ("plain", "layer_norm", "everything")
LONG_SETTINGS = {
    "one row, many steps": Setting(1, 8, 3, 1, 70),
    "many rows, many steps": Setting(2, 33, 3, 10, 70, lengths=(70, 69, 1, 0, 33, 64, 65, 66, 70, 12)),
}
SETTINGS |= LONG_SETTINGS


def everything(cell: str, directions: int, *, layers: int, size: int, width: int) -> StackSpec:
    """Every option that the cell has, at once."""
    options: dict[str, object] = {}
    for option, (values, cells) in OPTIONS.items():
        if cell in cells and option != "residual":
            options |= values
    residual = bool(layers > 1)
    made: list[LayerSpec] = []
    for number in range(layers):
        made.append(LayerSpec(cell, width, size, **options, residual=residual and number > 0))
        width = directions * made[-1].output_size
    return StackSpec(tuple(made), directions)


def spec_of(cell: str, option: str, directions: int, setting: Setting) -> StackSpec:
    """Layers of the sizes of a setting, projected to half their units where they are projected."""
    make = everything if option == "everything" else make_spec
    arguments = (cell, directions) if option == "everything" else (cell, option)
    sizes = {"layers": setting.layers, "size": setting.size, "width": setting.width}
    if option != "everything":
        sizes["directions"] = directions
    spec = make(*arguments, **sizes)
    if any(layer.projection_size for layer in spec.layers):
        projected, width = [], setting.width
        for layer in spec.layers:
            P = (layer.hidden_size + 1) // 2
            projected.append(dataclasses.replace(layer, input_size=width, projection_size=P))
            width = directions * P
        spec = StackSpec(tuple(projected), directions)
    return spec


def as_dtype(problem: Problem, dtype: torch.dtype) -> Problem:
    """The same numbers in another dtype."""
    weights = [
        [DirectionWeights(*(None if part is None else part.to(dtype) for part in one)) for one in layer]
        for layer in problem.weights
    ]
    states = [state and tuple(part.to(dtype) for part in state) for state in problem.states]
    return Problem(problem.spec, problem.x.to(dtype), states, weights)


def largest_error(found: np.ndarray, expected: np.ndarray, dtype: torch.dtype) -> float:
    """In epsilons of the dtype, over the largest entry of the array; infinite where one is not finite."""
    assert found.shape == expected.shape
    if not found.size:
        return 0.0
    if not np.isfinite(found).all():
        return float("inf")
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(found - expected).max()) / scale / torch.finfo(dtype).eps


@cache
def expected_of(
    spec: StackSpec, name: str, training: bool, cells: bool
) -> tuple[Problem, Case, Arrays, Solution]:
    """The problem, from numbers that float32 can hold, and what the reference makes of it."""
    setting = SETTINGS[name]
    problem = make_problem(spec, setting.rows, setting.steps, dtype=torch.float32, seed=setting.size)
    case = setting.case(training=training, seed=5, cells=cells)
    upstream = [part.astype(np.float32).astype(np.float64) for part in draw_upstream(problem, case)]
    return problem, case, upstream, solve_by_reference(problem, case, upstream)


def compare(problem: Problem, case: Case, upstream: Arrays, expected: Solution, solver: str) -> float:
    """The largest error of all results and gradients."""
    found = solve(problem, case, upstream, solver)
    pairs = ((found.results, expected.results), (found.gradients, expected.gradients))
    return max(
        largest_error(one, other, problem.x.dtype)
        for mine, theirs in pairs
        for one, other in zip(mine, theirs, strict=True)
    )


# The kernels in both; torch and the bare ABI, which only have their own ways in and out to show, in one.
DTYPES = {"native": (torch.float64, torch.float32), "torch": (torch.float64,), "abi": (torch.float32,)}
ALL_CASES = [*CASES, *((cell, "everything") for cell in OPTIONS["plain"][1])]


@pytest.mark.parametrize(("cell", "option"), ALL_CASES)
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("solver", SOLVERS)
def test_like_the_reference(solver, directions, cell, option) -> None:
    for name, setting in SETTINGS.items():
        if name in LONG_SETTINGS and (option not in LONG_OPTIONS or solver != "native"):
            continue
        spec = spec_of(cell, option, directions, setting)
        for training in {False, spec.draws}:
            problem, *given = expected_of(spec, name, training, cell == "lstm" and setting.size % 2 == 1)
            for dtype in DTYPES[solver]:
                error = compare(as_dtype(problem, dtype), *given, solver)
                bound = TOLERANCE_EPSILONS[spec.layers[0].layer_norm] * (4 if name in LONG_SETTINGS else 1)
                assert error < bound, f"{name}, training={training}, {dtype}: {error:.0f} epsilons"


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("solver", SOLVERS)
def test_cells_of_all_kinds_in_one_stack(solver, directions) -> None:
    """Each of its own width and options: nothing of one layer may stand for another."""
    D = directions
    layers = (
        LayerSpec("gru", 3, 5, zoneout_hidden=0.2, candidate_dropout=0.1),
        LayerSpec("lstm", 5 * D, 9, projection_size=4, peepholes=True, hidden_dropout=0.3),
        LayerSpec("rnn_tanh", 4 * D, 17, input_dropout=0.2),
        LayerSpec("gru_reset_before", 17 * D, 6),
        LayerSpec("rnn_relu", 6 * D, 6, residual=True, layer_norm=True),
        LayerSpec("lstm", 6 * D, 2, layer_norm=True, zoneout_cell=0.3, input_dropout=0.4),
    )
    setting = SETTINGS["mask: left, right, middle, nothing, all"]
    problem = make_problem(StackSpec(layers, directions), setting.rows, setting.steps)
    for training in (False, True):
        case = setting.case(training=training, seed=8)
        upstream = draw_upstream(problem, case)
        expected = solve_by_reference(problem, case, upstream)
        assert compare(problem, case, upstream, expected, solver) < TOLERANCE_EPSILONS[True]


@pytest.mark.parametrize("cell", OPTIONS["plain"][1])
@pytest.mark.parametrize("solver", SOLVERS)
def test_without_states_and_biases(solver, cell) -> None:
    problem = make_problem(make_spec(cell, directions=2, size=9), 5, 6)
    problem.states = [None, None]
    problem.weights = [[one._replace(bias_ih=None, bias_hh=None) for one in two] for two in problem.weights]
    case = Case(lengths=(6, 0, 1, 4, 2))
    upstream = draw_upstream(problem, case)
    expected = solve_by_reference(problem, case, upstream)
    assert compare(problem, case, upstream, expected, solver) < TOLERANCE_EPSILONS[False]
