"""What a layer refuses, what it does at the edges, and the numbers of a hand calculation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from gatestack.reference import GRUCell, LSTMCell, RNNCell, layer_backward, layer_forward, real_steps, sigmoid

from .adapter import reference_implementation
from .checks import check_finite_differences, check_parity_mask
from .problems import VARIANTS, make_problem


def weights(gates: int, inputs: int = 2, hidden: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = gates * hidden
    return {
        "weight_ih": rng.normal(size=(rows, inputs)),
        "weight_hh": rng.normal(size=(rows, hidden)),
        "bias_ih": rng.normal(size=rows),
        "bias_hh": rng.normal(size=rows),
    }


def test_one_step_of_an_lstm_with_peepholes_by_hand() -> None:
    # One unit, one input; every number of the step is worked out with `math` alone.
    cell = LSTMCell(
        weight_ih=np.array([[0.1], [0.2], [0.3], [0.4]]),
        weight_hh=np.array([[0.5], [0.6], [0.7], [0.8]]),
        bias_ih=np.array([0.01, 0.02, 0.03, 0.04]),
        bias_hh=np.array([0.05, 0.06, 0.07, 0.08]),
        peephole=np.array([[1.1], [1.2], [1.3]]),
    )
    x, h, c = 2.0, -1.0, 0.5

    def s(a: float) -> float:
        return 1 / (1 + math.exp(-a))

    i = s(0.1 * x + 0.5 * h + 0.06 + 1.1 * c)
    f = s(0.2 * x + 0.6 * h + 0.08 + 1.2 * c)
    g = math.tanh(0.3 * x + 0.7 * h + 0.10)
    c_new = f * c + i * g
    o = s(0.4 * x + 0.8 * h + 0.12 + 1.3 * c_new)
    (h_found, c_found), _ = cell.step(np.array([[x]]), (np.array([[h]]), np.array([[c]])))
    assert c_found[0, 0] == pytest.approx(c_new, rel=1e-14)
    assert h_found[0, 0] == pytest.approx(o * math.tanh(c_new), rel=1e-14)


def test_the_two_resets_of_a_gru_by_hand() -> None:
    # Two units, so that gating before and after the product differ even without biases.
    h = np.array([[0.5, -0.25]])
    zeros = np.zeros((6, 1)), np.zeros(6)
    weight_hh = np.zeros((6, 2))
    weight_hh[:2] = [[1.0, 0.0], [0.0, 2.0]]  # r = σ(0.5), σ(-0.5)
    weight_hh[4:] = [[0.3, 0.7], [0.2, 0.4]]
    bias_hh = np.array([0.0, 0.0, 0.0, 0.0, 0.1, 0.2])
    r = [1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(0.5))]
    after = [
        math.tanh(r[0] * (0.3 * 0.5 + 0.7 * -0.25 + 0.1)),
        math.tanh(r[1] * (0.2 * 0.5 + 0.4 * -0.25 + 0.2)),
    ]
    before = [
        math.tanh(0.3 * r[0] * 0.5 + 0.7 * r[1] * -0.25 + 0.1),
        math.tanh(0.2 * r[0] * 0.5 + 0.4 * r[1] * -0.25 + 0.2),
    ]
    for reset, n in (("after", after), ("before", before)):
        cell = GRUCell(zeros[0], weight_hh, zeros[1], bias_hh, reset=reset)
        (found,), _ = cell.step(np.zeros((1, 1)), (h,))
        np.testing.assert_allclose(found, 0.5 * np.array([n]) + 0.5 * h, rtol=1e-14)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_time_at_all_returns_the_initial_state(variant: str) -> None:
    problem = make_problem(reference_implementation(variant), rows=2)
    made = {"lstm": LSTMCell, "gru": GRUCell, "rnn": RNNCell}[problem.variant.cell](**problem.weights)
    state = tuple(np.full((2, size), 0.5 + k) for k, size in enumerate(made.state_sizes))
    result = layer_forward(made, np.zeros((2, 0, 2)), state)
    assert result.output.shape == (2, 0, made.state_sizes[0])
    gradients = layer_backward(result.tape, d_final=state)
    for found, given in zip((*result.final, *gradients.initial), (*state, *state), strict=True):
        np.testing.assert_array_equal(found, given)
    assert not any(gradient.any() for gradient in gradients.weights.values())


def test_a_missing_gradient_is_a_zero_gradient() -> None:
    rng = np.random.default_rng(1)
    cell = LSTMCell(**weights(4))
    tape = layer_forward(cell, rng.normal(size=(2, 4, 2)), lengths=[4, 2]).tape
    d_output, d_cells = rng.normal(size=(2, 2, 4, 3))
    d_final = tuple(rng.normal(size=(2, 2, 3)))
    alone = [
        layer_backward(tape, d_output),
        layer_backward(tape, d_final=d_final),
        layer_backward(tape, d_cells=d_cells),
    ]
    together = layer_backward(tape, d_output, d_final, d_cells)
    np.testing.assert_allclose(together.x, sum(one.x for one in alone), rtol=1e-12, atol=1e-14)
    for name, gradient in together.weights.items():
        np.testing.assert_allclose(gradient, sum(one.weights[name] for one in alone), rtol=1e-12, atol=1e-14)
    nothing = layer_backward(tape)
    assert not nothing.x.any()


def test_inputs_are_left_as_they_were() -> None:
    rng = np.random.default_rng(2)
    cell = LSTMCell(**weights(4))
    x, mask = rng.normal(size=(2, 4, 2)), rng.random((2, 4)) < 0.5
    state = (rng.normal(size=(2, 3)), rng.normal(size=(2, 3)))
    d_output = rng.normal(size=(2, 4, 3))
    given = [x, mask, *state, d_output, *cell.weights.values()]
    copies = [array.copy() for array in given]
    layer_backward(layer_forward(cell, x, state, mask=mask).tape, d_output, state)
    for array, copy in zip(given, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_sigmoid_at_its_ends_neither_warns_nor_leaves_its_range() -> None:
    a = np.array([-1e4, -750.0, -1.0, 0.0, 1.0, 750.0, 1e4])
    value = sigmoid(a)
    assert value[0] == 0.0
    assert value[-1] == 1.0
    np.testing.assert_allclose(value + sigmoid(-a), 1.0, rtol=1e-15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": [1, 2], "mask": np.ones((2, 3), dtype=bool)}, "both given"),
        ({"lengths": [1, 4]}, "a length is 4 — expected 0 to 3"),
        ({"lengths": [1, -1]}, "a length is -1"),
        ({"lengths": [1]}, r"of shape \(1,\) — expected whole numbers of shape \(2,\)"),
        ({"lengths": [1.0, 2.0]}, "lengths is float64"),
        ({"mask": np.ones((2, 3))}, "mask is float64"),
        ({"mask": np.ones((2, 4), dtype=bool)}, r"expected bool of shape \(2, 3\)"),
    ],
)
def test_lengths_and_masks_that_do_not_fit(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        real_steps(2, 3, **options)


def test_lengths_of_an_empty_batch() -> None:
    assert real_steps(0, 3, lengths=[]).shape == (0, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_hh": np.zeros((12, 4))}, r"weight_hh has shape \(12, 4\) — expected \(4\*H, H\)"),
        ({"weight_ih": np.zeros((9, 2))}, r"weight_ih has shape \(9, 2\) — expected \(12, C\)"),
        ({"bias_ih": np.zeros(3)}, r"bias_ih has shape \(3,\) — expected \(12,\)"),
        ({"bias_hh": np.zeros((12, 1))}, r"bias_hh has shape \(12, 1\)"),
        ({"bias_hh": np.zeros(12, dtype=np.float32)}, "bias_hh is float32"),
        ({"bias_hh": [0.0] * 12}, "bias_hh is list"),
        ({"peephole": np.zeros((3, 4))}, r"peephole has shape \(3, 4\) — expected \(3, 3\)"),
    ],
)
def test_weights_that_do_not_fit(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LSTMCell(**{**weights(4), **changes})


def test_options_by_name_only() -> None:
    with pytest.raises(ValueError, match="reset is 'Before'"):
        GRUCell(**weights(3), reset="Before")
    with pytest.raises(ValueError, match="activation is 'gelu'"):
        RNNCell(**weights(1), activation="gelu")


def test_calls_that_do_not_fit() -> None:
    cell = GRUCell(**weights(3))
    x = np.zeros((2, 4, 2))
    with pytest.raises(ValueError, match=r"x has shape \(4, 2\) — expected \(batch, time, 2\)"):
        layer_forward(cell, x[0])
    with pytest.raises(ValueError, match=r"state has the shapes \[\(2, 4\)\] — expected \[\(2, 3\)\]"):
        layer_forward(cell, x, (np.zeros((2, 4)),))
    tape = layer_forward(cell, x).tape
    with pytest.raises(ValueError, match="this cell has no c"):
        layer_backward(tape, d_cells=np.zeros((2, 4, 3)))
    with pytest.raises(ValueError, match=r"d_output has shape \(2, 4, 4\) — expected \(2, 4, 3\)"):
        layer_backward(tape, np.zeros((2, 4, 4)))
    with pytest.raises(ValueError, match="d_final has the shapes"):
        layer_backward(tape, d_final=(np.zeros((2, 3)), np.zeros((2, 3))))


def test_the_checks_work_without_cell_states() -> None:
    # As an adapter for a layer that gives no cell states would do it.
    full = reference_implementation("lstm")
    without = replace(full, run=lambda problem: replace(full.run(problem), cells=None), cells=False)
    check_parity_mask(without)
    check_finite_differences(without)
