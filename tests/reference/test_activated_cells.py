"""The cells with other functions, and the deep transition: slopes, gradients, the plain cells inside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gatestack.reference import (
    ACTIVATIONS,
    ActivatedGRUCell,
    ActivatedLSTMCell,
    ActivatedRNNCell,
    DeepTransitionCell,
    GRUCell,
    LayerMasks,
    LSTMCell,
    RNNCell,
    layer_backward,
    layer_forward,
)

N, T, C, H = 3, 4, 2, 3
LENGTHS = (4, 0, 2)
EVERY = list(ACTIVATIONS)


def draw(gates: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = [(gates * H, C), (gates * H, H), (gates * H,), (gates * H,)]
    return [rng.normal(size=shape, scale=0.4) for shape in shapes]


def deep_transition(activation: str = "tanh", *, shortcut: bool = True, depth: int = 3) -> DeepTransitionCell:
    rng = np.random.default_rng(0)
    pairs = tuple((rng.normal(size=(H, H), scale=0.4), rng.normal(size=H)) for _ in range(depth))
    return DeepTransitionCell(
        rng.normal(size=(H, C)),
        rng.normal(size=H),
        pairs,
        rng.normal(size=(H, H), scale=0.4) if shortcut else None,
        activation,
    )


CELLS = {
    "lstm": lambda a: ActivatedLSTMCell(*draw(4), a, "hard_sigmoid"),
    "lstm gate": lambda a: ActivatedLSTMCell(*draw(4), "softsign", a),
    "gru after": lambda a: ActivatedGRUCell(*draw(3), a, "hard_sigmoid_2"),
    "gru before": lambda a: ActivatedGRUCell(*draw(3), a, "softsign", reset="before"),
    "gru gate": lambda a: ActivatedGRUCell(*draw(3), "elu", a),
    "rnn": lambda a: ActivatedRNNCell(*draw(1), a),
    "deep transition": lambda a: deep_transition(a),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_slope_is_that_of_the_function(name: str) -> None:
    a = np.random.default_rng(0).uniform(-8.0, 8.0, size=200)
    value, slope = ACTIVATIONS[name]
    step = 1e-6
    measured = (value(a + step) - value(a - step)) / (2 * step)
    np.testing.assert_allclose(slope(a), measured, rtol=1e-6, atol=1e-6)
    assert np.ptp(measured) > 1e-3 or name == "linear"


def loss_of(cell, x, state, upstream, masks) -> float:
    result = layer_forward(cell, x, state, lengths=LENGTHS, masks=masks)
    parts = (result.output, *result.final)
    return float(sum((part * weight).sum() for part, weight in zip(parts, upstream, strict=True)))


def slope_of(loss, array: np.ndarray) -> np.ndarray:
    """The slope of a loss with respect to an array that it reads, entry by entry."""
    found, step = np.zeros_like(array), 1e-6
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = loss()
        array[index] = kept - step
        found[index] = (above - loss()) / (2 * step)
        array[index] = kept
    return found


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("activation", ["gelu", "hard_sigmoid", "selu"])
def test_gradients_are_slopes(kind: str, activation: str) -> None:
    cell = CELLS[kind](activation)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(N, T, C))
    state = tuple(rng.normal(size=(N, size)) for size in cell.state_sizes)
    upstream = [rng.normal(size=(N, T, H)), *(rng.normal(size=(N, size)) for size in cell.state_sizes)]
    masks = LayerMasks(hidden=rng.uniform(0.5, 1.5, size=(N, H)))
    if kind != "rnn" and kind != "deep transition":
        masks = replace(masks, candidate=rng.uniform(0.5, 1.5, size=(N, T, H)))
    tape = layer_forward(cell, x, state, lengths=LENGTHS, masks=masks).tape
    found = layer_backward(tape, upstream[0], tuple(upstream[1:]))
    pairs = [("x", x, found.x)]
    pairs += [(f"state {n}", part, d) for n, (part, d) in enumerate(zip(state, found.initial, strict=True))]
    pairs += [(name, weight, found.weights[name]) for name, weight in cell.weights.items()]
    for name, array, gradient in pairs:
        measured = slope_of(lambda: loss_of(cell, x, state, upstream, masks), array)
        assert np.abs(measured).max() > 1e-3, name
        # A gate that is not bounded lets the state of the GRU grow, and the rounding of the loss with it.
        noise = 1e-7 * max(1.0, np.abs(measured).max())
        np.testing.assert_allclose(gradient, measured, rtol=1e-6, atol=noise, err_msg=name)


@pytest.mark.parametrize(
    ("cell", "plain"),
    [
        (ActivatedLSTMCell(*draw(4)), LSTMCell(*draw(4))),
        (ActivatedGRUCell(*draw(3)), GRUCell(*draw(3))),
        (ActivatedGRUCell(*draw(3), reset="before"), GRUCell(*draw(3), reset="before")),
        (ActivatedRNNCell(*draw(1), "relu"), RNNCell(*draw(1), "relu")),
    ],
    ids=["lstm", "gru after", "gru before", "rnn"],
)
def test_with_the_usual_functions_they_are_the_plain_cells(cell, plain) -> None:
    rng = np.random.default_rng(2)
    x, state = rng.normal(size=(N, T, C)), tuple(rng.normal(size=(N, H)) for _ in cell.state_sizes)
    found, expected = (layer_forward(one, x, state, lengths=LENGTHS) for one in (cell, plain))
    for a, b in zip((found.output, *found.final), (expected.output, *expected.final), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)


def test_a_transition_of_one_layer_is_the_plain_cell() -> None:
    deep = deep_transition(shortcut=False, depth=1)
    ((weight, bias),) = deep.transition
    plain = RNNCell(deep.weight_ih, weight, deep.bias_ih, bias)
    x = np.random.default_rng(3).normal(size=(N, T, C))
    found, expected = (layer_forward(cell, x, lengths=LENGTHS).output for cell in (deep, plain))
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


def test_the_shortcut_carries_the_state_past_the_layers_between() -> None:
    """With the layers between shut, only the shortcut is left: h' = φ(b_L + W_s h)."""
    deep = deep_transition(depth=2)
    (first, bias), (_, last_bias) = deep.transition
    shut = replace(deep, transition=((first, bias), (np.zeros((H, H)), last_bias)))
    h = np.random.default_rng(4).normal(size=(N, H))
    ((found,), _) = shut.step(np.zeros((N, C)), (h,))
    assert shut.shortcut is not None
    np.testing.assert_allclose(found, np.tanh(last_bias + h @ shut.shortcut.T), rtol=1e-13)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(deep_transition(), transition=()), "transition is empty"),
        (lambda: deep_transition(depth=1), "a shortcut with L = 1"),
        (lambda: replace(deep_transition(), shortcut=np.zeros((H, C))), "weight_hh_shortcut has shape"),
        (lambda: ActivatedGRUCell(*draw(3), reset="never"), "reset is 'never'"),
        (lambda: ActivatedLSTMCell(*draw(3)), "weight_hh has shape"),
    ],
)
def test_weights_that_do_not_fit_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
