"""What native/gatestack.h says of pointers and sizes: what may be NULL or equal, how much is needed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from abi_driver import BareCall
from solvers import Case, draw_upstream, needs_kernels
from stacks import CASES, CELLS, Problem, make_problem, make_spec

from gatestack.kernels import abi
from gatestack.kernels.spec import LayerSpec, StackSpec

pytestmark = needs_kernels
ROWS, STEPS = 5, 7
CASE = Case(lengths=(7, 0, 1, 5, 7), training=True, seed=3)
each_cell = pytest.mark.parametrize("cell", CELLS)


def make(cell: str, option: str = "plain", directions: int = 1, rows: int = ROWS) -> Problem:
    return make_problem(
        make_spec(cell, option, directions=directions, size=9), rows, STEPS, dtype=torch.float32
    )


def assert_all_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_array_equal(one, other, err_msg=f"number {index}")


# Memory.


def sizes(spec: StackSpec, rows: int, steps: int, case: Case, *, save: bool) -> abi.Bytes:
    return BareCall(make_problem(spec, rows, steps, dtype=torch.float32), case, save=save).sizes


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(("layers", "hidden"), [(1, 32), (2, 64), (4, 50), (2, 128)])
@pytest.mark.parametrize(("recompute", "bytes_per_unit"), [(False, 24), (True, 8)])
def test_a_step_of_training_saves_so_much_and_no_more(
    directions, layers, hidden, recompute, bytes_per_unit
) -> None:
    """At most 24 bytes per real step, layer, direction and unit of an LSTM in float32; 8 without gates.

    4 gates, c and h in float32 are 24 bytes; c and h alone 8. Arrays begin at multiples of 64 bytes, hence
    the constant.
    """
    spec = make_spec("lstm", layers=layers, directions=directions, size=hidden, width=8)
    for lengths in (None, (20, 0, 7, 20, 1, 3)):
        case = Case(lengths=lengths, recompute=recompute)
        real = 120 if lengths is None else sum(lengths)
        saved = sizes(spec, 6, 20, case, save=True).saved
        assert saved <= bytes_per_unit * real * layers * directions * hidden + 64 * 6 * layers * directions
        assert sizes(spec, 6, 20, case, save=False).saved == 0


@each_cell
@pytest.mark.parametrize("layers", [1, 3])
def test_inference_needs_no_more_for_more_steps(cell, layers) -> None:
    spec = make_spec(cell, layers=layers, size=32, width=8)
    needed = [sizes(spec, 4, steps, Case(), save=False).scratch_forward for steps in (100, 1000, 10_000)]
    assert len(set(needed)) == 1


@each_cell
def test_packed_weights_are_the_same_for_every_batch(cell) -> None:
    """Packed once, they serve calls of other sizes, in training and in inference."""
    problem = make(cell, directions=2)
    packing = BareCall(problem, Case())
    packing.forward()
    for rows, save in ((1, False), (3, True)):
        other = make(cell, directions=2, rows=rows)
        other.weights = problem.weights
        expected = BareCall(other, Case(), save=save).forward()
        call = BareCall(other, Case(), save=save)
        assert call.sizes.packed == packing.sizes.packed
        call.call.packed = packing.packed.ctypes.data
        scratch = call.memory.bytes(call.sizes.scratch_forward)
        call.call.scratch = scratch.ctypes.data
        call.raw.forward(call.call)
        np.testing.assert_array_equal(call.y[:, :, :-3], expected[0])


# Pointers that may be NULL.


@each_cell
def test_without_states_and_biases_is_with_zeros(cell) -> None:
    given = make(cell, directions=2)
    zero = make(cell, directions=2)
    given.states = [None, None]
    zero.states = [tuple(torch.zeros_like(part) for part in state) for state in zero.states]
    zero.weights = [
        [
            one._replace(bias_ih=torch.zeros_like(one.bias_ih), bias_hh=torch.zeros_like(one.bias_hh))
            for one in two
        ]
        for two in zero.weights
    ]
    given.weights = [[one._replace(bias_ih=None, bias_hh=None) for one in two] for two in given.weights]
    upstream = draw_upstream(given, CASE)
    left, right = BareCall(given, CASE), BareCall(zero, CASE)
    assert_all_equal(left.forward(), right.forward())
    found = left.backward(upstream)
    states = sum(len(layer.state_sizes) for layer in zero.spec.layers)
    named = ["x", *["state"] * states, *["weight_ih", "weight_hh", "bias_ih", "bias_hh"] * 4]
    expected = [
        part
        for name, part in zip(named, right.backward(upstream), strict=True)
        if name in ("x", "weight_ih", "weight_hh")
    ]
    assert_all_equal(found, expected)


@each_cell
@pytest.mark.parametrize("directions", [1, 2])
def test_inference_without_an_output_gives_the_final_states(cell, directions) -> None:
    problem = make(cell, directions=directions)
    expected = BareCall(problem, CASE, save=False).forward()
    call = BareCall(problem, CASE, save=False)
    call.call.y = None
    assert_all_equal(call.forward()[1:], expected[1:])
    assert np.isnan(call.y).all()


@each_cell
@pytest.mark.parametrize("directions", [1, 2])
def test_final_states_may_take_the_place_of_the_initial_ones(cell, directions) -> None:
    problem = make(cell, directions=directions)
    expected = BareCall(problem, CASE, save=False).forward()
    call = BareCall(problem, CASE, save=False)
    for number, (at, finals) in enumerate(zip(call.layers, call.finals, strict=True)):
        for name, final, initial in zip("hc", finals, problem.states[number], strict=False):
            final[...] = initial.numpy()
            setattr(at, f"{name}0", getattr(at, f"{name}n"))
    assert_all_equal(call.forward(), expected)


@pytest.mark.parametrize(("cell", "option"), CASES)
@pytest.mark.parametrize("directions", [1, 2])
def test_a_gradient_that_is_not_wanted_changes_no_other(cell, option, directions) -> None:
    """Each pointer in turn, or all but one, are NULL; the rest are as with all of them."""
    problem = make(cell, option, directions)
    upstream = draw_upstream(problem, CASE)
    full = BareCall(problem, CASE)
    full.forward()
    expected = full.backward(upstream)
    for wanted in [*range(len(expected)), *(~index for index in range(len(expected)))]:
        call = BareCall(problem, CASE)
        call.forward()
        call.wanted = {wanted} if wanted >= 0 else set(range(len(expected))) - {~wanted}
        for index, (one, other) in enumerate(zip(call.backward(upstream), expected, strict=True)):
            if index in call.wanted:
                np.testing.assert_array_equal(one, other, err_msg=f"number {index} of {call.wanted}")
            else:
                assert np.isnan(one).all(), f"number {index} was written, though nobody asked"


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("directions", [1, 2])
def test_upstream_gradients_that_are_missing_are_zeros(cell, directions) -> None:
    problem = make(cell, directions=directions)
    case = Case(lengths=CASE.lengths, cells=cell == "lstm")
    upstream = draw_upstream(problem, case)
    for missing in range(len(upstream)):
        given = [np.zeros_like(part) if index == missing else part for index, part in enumerate(upstream)]
        call = BareCall(problem, case)
        call.forward()
        expected = call.backward(given)
        call = BareCall(problem, case)
        call.forward()
        call.missing = {missing}
        assert_all_equal(call.backward(given), expected)


# Calls that are refused.


def spoil_layer(**values: object):
    def spoil(call: BareCall) -> None:
        for name, value in values.items():
            setattr(call.layers[0], name, value)

    return spoil


def spoil_call(**values: object):
    def spoil(call: BareCall) -> None:
        for name, value in values.items():
            setattr(call.call, name, value)

    return spoil


def spoil_lengths(call: BareCall) -> None:
    call.lengths[3] = STEPS + 1


REFUSED = {
    "size": (spoil_call(size=8), abi.Status.BAD_SIZE),
    "version": (spoil_call(version=99), abi.Status.BAD_SIZE),
    "dtype": (spoil_call(dtype=7), abi.Status.BAD_ARGUMENT),
    "flags": (spoil_call(flags=1 << 20), abi.Status.BAD_ARGUMENT),
    "threads": (spoil_call(threads=0), abi.Status.BAD_ARGUMENT),
    "directions": (spoil_call(directions=3), abi.Status.BAD_ARGUMENT),
    "batch": (spoil_call(batch=-1), abi.Status.BAD_ARGUMENT),
    "no layers": (spoil_call(layer_count=0), abi.Status.BAD_ARGUMENT),
    "cell": (spoil_layer(cell=9), abi.Status.BAD_ARGUMENT),
    "probability of one": (spoil_layer(hidden_dropout=1.0), abi.Status.BAD_ARGUMENT),
    "probability that is NaN": (spoil_layer(zoneout_hidden=float("nan")), abi.Status.BAD_ARGUMENT),
    "projection of a GRU": (spoil_layer(projection_size=2), abi.Status.BAD_ARGUMENT),
    "zoneout of the cell of a GRU": (spoil_layer(zoneout_cell=0.5), abi.Status.BAD_ARGUMENT),
    "residual of another width": (spoil_layer(residual=1), abi.Status.BAD_ARGUMENT),
    "width of the layer above": (spoil_layer(hidden_size=8), abi.Status.BAD_ARGUMENT),
    "length beyond the steps": (spoil_lengths, abi.Status.BAD_ARGUMENT),
    "lengths and mask": (lambda call: setattr(call.call, "mask", call.call.lengths), abi.Status.BAD_ARGUMENT),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_call_that_does_not_fit_is_refused_and_nothing_written(name) -> None:
    spoil, status = REFUSED[name]
    call = BareCall(make("gru"), CASE)
    spoil(call)
    raw = call.raw.raw
    for function in (raw.gatestack_sizes, raw.gatestack_pack, raw.gatestack_forward, raw.gatestack_backward):
        arguments = (call.call, abi.Bytes()) if function is raw.gatestack_sizes else (call.call,)
        assert function(*arguments) == status
    assert np.isnan(call.y).all()
    assert (call.packed == 0xFF).all()


def test_a_backward_pass_without_what_forward_saved_is_refused() -> None:
    call = BareCall(make("gru"), CASE, save=False)
    assert call.raw.raw.gatestack_backward(call.call) == abi.Status.BAD_ARGUMENT


def test_layer_norm_of_a_gru_with_the_reset_before_is_refused() -> None:
    spec = StackSpec((LayerSpec("gru", 3, 4, layer_norm=True),))
    call = BareCall(make_problem(spec), Case())
    call.layers[0].cell = abi.CELLS["gru_reset_before"]
    assert call.raw.raw.gatestack_forward(call.call) == abi.Status.BAD_ARGUMENT


# The driver itself.


def test_the_guards_notice_a_write_beyond_an_array() -> None:
    call = BareCall(make("gru"), CASE)
    for offset in (-1, call.packed.nbytes):
        whole = next(block for block in call.memory.blocks if np.shares_memory(block, call.packed))
        place = call.packed.ctypes.data - whole.ctypes.data + offset
        kept, whole[place] = whole[place], 0
        with pytest.raises(AssertionError, match="was written"):
            call.memory.check()
        whole[place] = kept
    call.memory.check()
