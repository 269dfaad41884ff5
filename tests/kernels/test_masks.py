"""The masks of dropout and zoneout: the same bits from the kernels, from torch and from the reference.

What random masks must be beside that (shares, independence) is tested on those of the reference.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from solvers import KERNELS, Case, draw_upstream, needs_kernels, solve
from stacks import make_problem

from gatestack.kernels import dropout, library
from gatestack.kernels.spec import LayerSpec, StackSpec
from gatestack.reference import MaskKind, kept_units

PLACES = [
    pytest.param(
        seed, kind, layer, direction, id=f"seed{seed}-{kind.name.lower()}-layer{layer}-direction{direction}"
    )
    for seed, kind, layer, direction in (
        (0, MaskKind.INPUT, 0, 0),
        (1, MaskKind.HIDDEN, 0, 1),
        (12345678901234567, MaskKind.CANDIDATE, 3, 0),
        (2**63 - 1, MaskKind.ZONEOUT_HIDDEN, 63, 1),
        (2**32, MaskKind.ZONEOUT_CELL, 1, 1),
    )
]
each_place = pytest.mark.parametrize(("seed", "kind", "layer", "direction"), PLACES)
each_probability = pytest.mark.parametrize("probability", [0.0, 1e-9, 0.1, 0.5, 0.999999999999])


def from_reference(
    seed: int, kind: int, layer: int, direction: int, shape: tuple[int, ...], p: float
) -> np.ndarray:
    positions = np.tile(np.arange(shape[1]), (shape[0], 1))
    place = {"seed": seed, "layer": layer, "direction": direction}
    return kept_units(MaskKind(kind), p, positions, shape[2], **place)


@needs_kernels
@each_place
@each_probability
def test_the_kernels_draw_the_bits_of_the_reference(seed, kind, layer, direction, probability) -> None:
    for units in (1, 7, 16, 37):
        shape = (5, 4, units)
        found = np.full((*shape[:2], units), 255, dtype=np.uint8)
        library.load().raw.gatestack_mask(
            seed, int(kind), layer, direction, *shape, probability, found.ctypes.data
        )
        expected = from_reference(seed, kind, layer, direction, shape, probability)
        np.testing.assert_array_equal(found, expected.astype(np.uint8))


@each_place
@each_probability
def test_torch_draws_the_bits_of_the_reference(seed, kind, layer, direction, probability) -> None:
    found = dropout.keep_mask(seed, int(kind), layer, direction, (5, 4, 37), probability)
    expected = from_reference(seed, kind, layer, direction, (5, 4, 37), probability)
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("solver", ["torch", *KERNELS])
def test_the_share_that_a_stack_drops_and_zones_out(solver) -> None:
    """Weights of zero and inputs of one make the masks visible in the results of a stack.

    Every input that is kept is 1/(1-p); a relu with the unit matrix hands it on. In zoneout with weights of
    zero, a unit that is kept takes zero and another keeps its state of one.
    """
    units, rows, steps, p = 32, 16, 8, 0.3
    spread = 6 * np.sqrt(p * (1 - p) / (rows * units * steps))
    case = Case(training=True, seed=9)

    layer = LayerSpec("rnn_relu", units, units, input_dropout=p, input_dropout_per_step=True)
    problem = make_problem(StackSpec((layer,)), rows, steps)
    (weights,) = problem.weights[0]
    weights.weight_ih.copy_(torch.eye(units))
    for part in (weights.weight_hh, weights.bias_ih, weights.bias_hh):
        part.zero_()
    problem.x.fill_(1.0)
    output = solve(problem, case, draw_upstream(problem, case), solver).results[0]
    assert set(np.unique(output)) == {0.0, 1 / (1 - p)}
    assert abs((output == 0).mean() - p) < spread

    layer = LayerSpec("rnn_relu", units, units, zoneout_hidden=p)
    problem = make_problem(StackSpec((layer,)), rows, 1)
    for part in problem.weights[0][0][:4]:
        part.zero_()
    problem.states[0][0].fill_(1.0)
    output = solve(problem, case, draw_upstream(problem, case), solver).results[0]
    assert set(np.unique(output)) == {0.0, 1.0}
    assert abs(output.mean() - p) < spread * np.sqrt(steps)


@pytest.mark.parametrize("solver", ["torch", *KERNELS])
@pytest.mark.parametrize("change", ["seed", "layer", "direction"])
def test_another_seed_layer_or_direction_has_other_masks(solver, change) -> None:
    """With the same weights everywhere, what differs comes from the masks alone."""
    options = {"hidden_dropout": 0.5, "zoneout_hidden": 0.3, "input_dropout": 0.2}
    spec = StackSpec((LayerSpec("gru", 8, 8, **options),))
    problem = make_problem(spec, 3, 4)

    def run(seed: int) -> np.ndarray:
        case = Case(training=True, seed=seed)
        return solve(problem, case, draw_upstream(problem, case), solver).results[0]

    if change == "seed":
        assert (run(1) != run(2)).mean() > 0.9
        np.testing.assert_array_equal(run(1), run(1))
        return
    directions = 2 if change == "direction" else 1
    layers = (LayerSpec("gru", 8, 8, **options),) * (1 if directions == 2 else 2)
    two = make_problem(StackSpec(layers, directions), 1, 1)
    one = two.weights[0][0]
    two.weights = [[one] * directions] * len(layers)
    two.x.fill_(0.5)
    for state in two.states:
        state[0].fill_(0.5)
    case = Case(training=True, seed=1)
    results = solve(two, case, draw_upstream(two, case), solver).results
    first, second = (results[1][0], results[1][1]) if directions == 2 else (results[1][0], results[2][0])
    assert (first != second).any()
